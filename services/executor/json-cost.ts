/** What parsing a guest's JSON would cost the main thread, which everybody shares, told without parsing it. */

const [QUOTE, BACKSLASH, COMMA, OPEN_ARRAY, OPEN_OBJECT] = [0x22, 0x5c, 0x2c, 0x5b, 0x7b];
/** A parser makes an object of each list and record: with its comma, about ten times as long as a number. */
const CONTAINER = 9;
/** Less is parsed at once, whatever it is. */
const SMALL_BYTES = 32_768;

/** Of a request to a host function: 20,000 lists and records, or 200,000 values in few. */
export const MAX_REQUEST_COST = 200_000;
/** Of an answer: 600,000 rows, or 6,000,000 values in few. */
export const MAX_ANSWER_COST = 6_000_000;

/** 24 MiB of `[],` take a parser seconds, and are refused here within 4 ms. Text within quotes costs nothing. */
export function costsMore(json: Uint8Array, most: number): boolean {
  if (json.byteLength <= SMALL_BYTES) return false;
  let cost = 0;
  for (let at = 0; at < json.byteLength; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      for (at += 1; at < json.byteLength && json[at] !== QUOTE; at += 1) if (json[at] === BACKSLASH) at += 1;
    } else if (byte === COMMA) cost += 1;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) cost += CONTAINER;
    if (cost > most) return true;
  }
  return false;
}
