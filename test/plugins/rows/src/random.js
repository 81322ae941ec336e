/** Rows out of a seed: every kind of value, in every place. */

const ODD = ['"', "\\", "\n", "\u0000", "\u001f", "é", "☃", "\ud834\udd1e", "\ud800", "\udc00", "\u2028", "a", " ", "~"];
const KEYS = ["time", "name", "n", "value", "größe", 'k"', "12", "toJSON", ""];

/** mulberry32: numbers from 0 to 1. */
function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomRow(seed) {
  const roll = dice(seed);
  const upTo = (count) => Math.floor(roll() * count);
  const text = () => Array.from({ length: upTo(24) }, () => (roll() < 0.7 ? "abcdefgh"[upTo(8)] : ODD[upTo(14)])).join("");
  const bits = new DataView(new ArrayBuffer(8));
  const anyFloat = () => {
    bits.setUint32(0, upTo(2 ** 32));
    bits.setUint32(4, upTo(2 ** 32));
    return bits.getFloat64(0);
  };
  const kinds = [
    () => upTo(1_000) - 500,
    () => (upTo(2 ** 32) - 2 ** 31) * (1 + upTo(4)),
    () => Math.round(roll() * 1e9) / 10 ** upTo(10),
    () => roll() * 10 ** (upTo(40) - 20),
    anyFloat,
    text,
    text,
    () => roll() < 0.5,
    () => null,
    () => undefined,
    () => BigInt(upTo(2 ** 32)) ** BigInt(upTo(4)),
    () => new Date(Math.floor((roll() - 0.5) * 2 * 10 ** upTo(17))),
    (depth) => (depth > 4 ? [] : Array.from({ length: upTo(5) }, () => value(depth + 1))),
    (depth) => (depth > 4 ? {} : object(depth + 1)),
    () => Object(upTo(9)),
    () => new Map(),
  ];
  const value = (depth) => kinds[upTo(kinds.length)](depth);
  const object = (depth) => Object.fromEntries(Array.from({ length: upTo(7) }, () => [KEYS[upTo(9)], value(depth)]));
  return object(0);
}
