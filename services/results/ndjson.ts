/** NDJSON as bytes: counting, cutting and stamping lines without parsing them. */

const NEWLINE = 0x0a;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const ZERO = 0x30;
const NINE = 0x39;

export interface Piece {
  readonly bytes: Uint8Array;
  readonly rows: number;
}

/** Cuts between lines, so that each piece holds at most `maxRows` rows and (one row aside) `maxBytes` bytes. */
export function splitLines(bytes: Uint8Array, maxRows: number, maxBytes: number): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  let rows = 0;
  let at = 0;
  const cut = (end: number) => {
    if (rows > 0) pieces.push({ bytes: bytes.subarray(start, end), rows });
    start = end;
    rows = 0;
  };
  while (at < bytes.length) {
    const found = bytes.indexOf(NEWLINE, at);
    const end = found === -1 ? bytes.length : found + 1;
    if (rows >= maxRows || end - start > maxBytes) cut(at);
    if (!isBlank(bytes, at, end)) rows += 1;
    at = end;
  }
  cut(bytes.length);
  return pieces;
}

function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i += 1) if ((bytes[i] as number) > 0x20) return false;
  return true;
}

/**
 * Puts `envelope` (`"_run_id":"…",…`) in front of the fields of every line. Undefined when a line is not an object in
 * one piece: such rows have to be parsed to say what is wrong with them.
 */
export function stampLines({ bytes, rows }: Piece, envelope: Uint8Array): Buffer | undefined {
  const out = Buffer.allocUnsafe(bytes.length + rows * (envelope.length + 2));
  let length = 0;
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, at);
    const end = found === -1 ? bytes.length : found;
    const first = skipBlank(bytes, at, end);
    if (first < end) {
      if (bytes[first] !== OPEN || bytes[lastSolid(bytes, first, end)] !== CLOSE) return undefined;
      out[length] = OPEN;
      out.set(envelope, length + 1);
      length += 1 + envelope.length;
      // An empty object takes no comma behind the envelope.
      if (bytes[skipBlank(bytes, first + 1, end)] !== CLOSE) out[length++] = 0x2c;
      out.set(bytes.subarray(first + 1, end), length);
      length += end - first - 1;
      out[length++] = NEWLINE;
    }
    at = end + 1;
  }
  return out.subarray(0, length);
}

function skipBlank(bytes: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i < end && (bytes[i] as number) <= 0x20) i += 1;
  return i;
}

function lastSolid(bytes: Uint8Array, start: number, end: number): number {
  let i = end - 1;
  while (i > start && (bytes[i] as number) <= 0x20) i -= 1;
  return i;
}

/** Shortest run of digits that may not fit 64 bits. ClickHouse wraps such numbers round without a word. */
const LONG_DIGITS = 19;

/** Whether a number may be too long for 64 bits. Looks at every 19th byte: a run that long covers one of them. */
export function hasLongDigits(bytes: Uint8Array): boolean {
  const digit = (i: number) => (bytes[i] as number) >= ZERO && (bytes[i] as number) <= NINE;
  for (let i = LONG_DIGITS - 1; i < bytes.length; i += LONG_DIGITS) {
    if (!digit(i)) continue;
    let [low, high] = [i, i];
    while (low > 0 && digit(low - 1)) low -= 1;
    while (high + 1 < bytes.length && digit(high + 1)) high += 1;
    if (high - low + 1 >= LONG_DIGITS) return true;
  }
  return false;
}

/** Whether a number may have more than `digits` behind its point. */
export function mayBeFiner(bytes: Uint8Array, digits: number): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  return new RegExp(`\\d(?:\\.\\d{${digits + 1}}|[eE][+-]?\\d)`).test(text);
}

/** Whether a text ends in a time of day, as one without an offset does. It may be another text than a time. */
export function mayHaveNaiveTime(bytes: Uint8Array): boolean {
  return ENDS_IN_CLOCK.test(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1"));
}
const ENDS_IN_CLOCK = /\d:\d\d(?:\.\d+)?\s?"/;
