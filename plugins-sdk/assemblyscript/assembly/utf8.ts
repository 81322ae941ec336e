/** UTF-8 to AssemblyScript's UTF-16 strings and back. What is malformed becomes U+FFFD; nothing traps. */

const REPLACEMENT: u16 = 0xfffd;
/** The high bit of each of eight bytes: no bit set means eight ASCII bytes. */
const NOT_ASCII: u64 = 0x8080808080808080;

/** Decodes as browsers do: each maximal malformed sequence becomes one U+FFFD. */
export function decodeUtf8(bytes: ArrayBuffer): string {
  return decodeUtf8At(changetype<usize>(bytes), bytes.byteLength);
}

export function decodeUtf8At(from: usize, length: i32): string {
  if (length == 0) return "";
  // UTF-16 never needs more units than UTF-8 needs bytes.
  const text = changetype<string>(__new(<usize>length << 1, idof<string>()));
  const start = changetype<usize>(text);
  let to = start;
  let at = from;
  const end = from + length;
  while (at < end) {
    while (at + 8 <= end && (load<u64>(at) & NOT_ASCII) == 0) {
      for (let i = 0; i < 8; i++) store<u16>(to + (<usize>i << 1), load<u8>(at + i));
      at += 8;
      to += 16;
    }
    if (at >= end) break;
    const first = <u32>load<u8>(at++);
    if (first < 0x80) {
      store<u16>(to, <u16>first);
      to += 2;
      continue;
    }
    let more = 0;
    let low: u32 = 0x80; // bounds of the next continuation byte: they exclude overlong forms and surrogates
    let high: u32 = 0xbf;
    let code: u32 = 0;
    if (first >= 0xc2 && first <= 0xdf) {
      more = 1;
      code = first & 0x1f;
    } else if (first >= 0xe0 && first <= 0xef) {
      more = 2;
      code = first & 0x0f;
      if (first == 0xe0) low = 0xa0;
      if (first == 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      more = 3;
      code = first & 0x07;
      if (first == 0xf0) low = 0x90;
      if (first == 0xf4) high = 0x8f;
    } else {
      store<u16>(to, REPLACEMENT);
      to += 2;
      continue;
    }
    while (more > 0 && at < end) {
      const next = <u32>load<u8>(at);
      if (next < low || next > high) break;
      low = 0x80;
      high = 0xbf;
      code = (code << 6) | (next & 0x3f);
      at++;
      more--;
    }
    if (more > 0) {
      store<u16>(to, REPLACEMENT);
      to += 2;
    } else if (code < 0x10000) {
      store<u16>(to, <u16>code);
      to += 2;
    } else {
      code -= 0x10000;
      store<u16>(to, <u16>(0xd800 | (code >> 10)));
      store<u16>(to, <u16>(0xdc00 | (code & 0x3ff)), 2);
      to += 4;
    }
  }
  const used = to - start;
  return used == <usize>length << 1 ? text : changetype<string>(__renew(start, used));
}

/** A lone surrogate becomes U+FFFD, as UTF-8 cannot carry it. */
export function encodeUtf8(text: string): ArrayBuffer {
  const bytes = new ArrayBuffer(text.length * 3);
  const start = changetype<usize>(bytes);
  let to = start;
  for (let i = 0, n = text.length; i < n; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      store<u8>(to++, <u8>unit);
    } else {
      const code = codePointAt(text, i);
      if (code > 0xffff) i++;
      to = storeCodePoint(to, code);
    }
  }
  return bytes.slice(0, <i32>(to - start));
}

/** The code point at `i`, with U+FFFD for a lone surrogate. */
export function codePointAt(text: string, i: i32): u32 {
  const unit = <u32>text.charCodeAt(i);
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit > 0xdbff || i + 1 >= text.length) return REPLACEMENT;
  const next = <u32>text.charCodeAt(i + 1);
  if (next < 0xdc00 || next > 0xdfff) return REPLACEMENT;
  return 0x10000 + ((unit & 0x3ff) << 10) + (next & 0x3ff);
}

/** Stores a code point as UTF-8 at `to` and returns where the next one goes. */
export function storeCodePoint(to: usize, code: u32): usize {
  if (code < 0x80) {
    store<u8>(to, <u8>code);
    return to + 1;
  }
  if (code < 0x800) {
    store<u8>(to, <u8>(0xc0 | (code >> 6)));
    store<u8>(to, <u8>(0x80 | (code & 0x3f)), 1);
    return to + 2;
  }
  if (code < 0x10000) {
    store<u8>(to, <u8>(0xe0 | (code >> 12)));
    store<u8>(to, <u8>(0x80 | ((code >> 6) & 0x3f)), 1);
    store<u8>(to, <u8>(0x80 | (code & 0x3f)), 2);
    return to + 3;
  }
  store<u8>(to, <u8>(0xf0 | (code >> 18)));
  store<u8>(to, <u8>(0x80 | ((code >> 12) & 0x3f)), 1);
  store<u8>(to, <u8>(0x80 | ((code >> 6) & 0x3f)), 2);
  store<u8>(to, <u8>(0x80 | (code & 0x3f)), 3);
  return to + 4;
}
