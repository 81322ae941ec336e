/** Base64 (RFC 4648, padded) for bodies that are not text. */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function encodeBase64(bytes: ArrayBuffer): string {
  const length = bytes.byteLength;
  const from = changetype<usize>(bytes);
  const text = changetype<string>(__new(<usize>((length + 2) / 3) << 3, idof<string>()));
  let to = changetype<usize>(text);
  for (let at = 0; at < length; at += 3) {
    const second = at + 1 < length;
    const third = at + 2 < length;
    const word =
      (<u32>load<u8>(from + at) << 16) |
      (second ? <u32>load<u8>(from + at, 1) << 8 : 0) |
      (third ? <u32>load<u8>(from + at, 2) : 0);
    store<u16>(to, <u16>ALPHABET.charCodeAt(word >> 18));
    store<u16>(to, <u16>ALPHABET.charCodeAt((word >> 12) & 63), 2);
    store<u16>(to, second ? <u16>ALPHABET.charCodeAt((word >> 6) & 63) : 0x3d, 4);
    store<u16>(to, third ? <u16>ALPHABET.charCodeAt(word & 63) : 0x3d, 6);
    to += 8;
  }
  return text;
}

/** Null when the text is not base64. */
export function decodeBase64(text: string): ArrayBuffer | null {
  let length = text.length;
  if (length % 4 != 0) return null;
  if (length > 0 && text.charCodeAt(length - 1) == 0x3d) length--;
  if (length > 0 && text.charCodeAt(length - 1) == 0x3d) length--;
  const bytes = new ArrayBuffer(<i32>((<i64>length * 3) >> 2));
  let to = changetype<usize>(bytes);
  let word: u32 = 0;
  let bits = 0;
  for (let at = 0; at < length; at++) {
    const value = sextet(text.charCodeAt(at));
    if (value < 0) return null;
    word = (word << 6) | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      store<u8>(to++, <u8>(word >> bits));
    }
  }
  return bytes;
}

function sextet(unit: i32): i32 {
  if (unit >= 0x41 && unit <= 0x5a) return unit - 0x41;
  if (unit >= 0x61 && unit <= 0x7a) return unit - 0x61 + 26;
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30 + 52;
  return unit == 0x2b ? 62 : unit == 0x2f ? 63 : -1;
}
