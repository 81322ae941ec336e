/** Rows that a guest returned in its answer, as NDJSON: their own bytes, so that no digit of a number is lost. */

const [QUOTE, BACKSLASH, OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY, COMMA, NEWLINE, BLANK] = [
  0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c, 0x0a, 0x20,
];

/**
 * `json` must be a JSON object that a parser has accepted. Undefined when it has no array `rows` at its top.
 * Of two members `rows` the last counts, as for the parser.
 */
export function returnedRows(json: Uint8Array): Uint8Array | undefined {
  let span: { readonly start: number; readonly end: number } | undefined;
  let at = skipBlanks(json, 0) + 1;
  for (;;) {
    at = skipBlanks(json, at);
    if (json[at] === COMMA) at = skipBlanks(json, at + 1);
    if (json[at] !== QUOTE) break;
    const keyEnd = skipValue(json, at);
    const isRows = JSON.parse(Buffer.from(json.subarray(at, keyEnd)).toString("utf8")) === "rows";
    const start = skipBlanks(json, skipBlanks(json, keyEnd) + 1);
    at = skipValue(json, start);
    if (isRows) span = json[start] === OPEN_ARRAY ? { start, end: at } : undefined;
  }
  return span && toLines(json, span.start, span.end);
}

/** The elements of an array, a line each. */
function toLines(json: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start);
  let length = 0;
  let at = skipBlanks(json, start + 1);
  while (at < end - 1) {
    const next = skipValue(json, at);
    out.set(json.subarray(at, next), length);
    // A parsed string holds no raw newline, so every one of them is a blank between tokens.
    for (let i = length; i < length + next - at; i += 1) if ((out[i] as number) < BLANK) out[i] = BLANK;
    length += next - at;
    out[length++] = NEWLINE;
    at = skipBlanks(json, next);
    if (json[at] === COMMA) at = skipBlanks(json, at + 1);
  }
  return out.subarray(0, length);
}

function skipBlanks(json: Uint8Array, at: number): number {
  while (at < json.length && (json[at] as number) <= BLANK) at += 1;
  return at;
}

/** Behind the value that begins at `at`. */
function skipValue(json: Uint8Array, at: number): number {
  let depth = 0;
  for (let i = at; i < json.length; i += 1) {
    const byte = json[i];
    if (byte === QUOTE) {
      for (i += 1; json[i] !== QUOTE; i += 1) if (json[i] === BACKSLASH) i += 1;
      if (depth === 0) return i + 1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      if (depth === 0) return i;
      depth -= 1;
      if (depth === 0) return i + 1;
    } else if (depth === 0 && (byte === COMMA || (byte as number) <= BLANK)) return i;
  }
  return json.length;
}
