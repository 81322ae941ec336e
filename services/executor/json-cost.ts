/** What parsing a guest's JSON would cost the main thread, which everybody shares, told without parsing it. */
import { randomInt } from "node:crypto";

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_ARRAY, OPEN_OBJECT, CLOSE_OBJECT, BLANK] = [0x5b, 0x7b, 0x7d, 0x20];
/** A parser makes an object of each list and record: with its comma, about ten times as long as a number. */
const CONTAINER = 9;
/** A key that no record had after the same keys before it makes a new shape: 1 to 3 µs, where a number takes 13 ns. */
const NEW_SHAPE = 29;
/** A record with more keys than this is a dictionary: its keys make no shapes, and take a third of a µs each. */
const SHAPED_KEYS = 1_000;
const DICTIONARY_KEY = 9;
/** Longer keys are told apart by their beginning, their last bytes and their length. */
const HASHED_BYTES = 48;
/** Less is parsed at once, whatever it is. */
const SMALL_BYTES = 32_768;

/** Of a request to a host function: 20,000 lists and records, or 200,000 values in few, or 6,600 shapes. */
export const MAX_REQUEST_COST = 200_000;
/** Of an answer: 600,000 rows, or 6,000,000 values in few, or 200,000 shapes. */
export const MAX_ANSWER_COST = 6_000_000;

/** For each shape the round that saw it last. Two that share a place count once; which do, nobody outside can know. */
const SHAPE_BITS = 20;
const shapes = new Uint8Array(2 ** SHAPE_BITS);
const seed = randomInt(2 ** 32) | 0;
/** One round is one text; 1 to 255. */
let round = 0;

/** 24 MiB of `[],` take a parser seconds, and are refused here within 4 ms. Text within quotes costs nothing. */
export function costsMore(json: Uint8Array, most: number): boolean {
  if (json.byteLength <= SMALL_BYTES) return false;
  let cost = 0;
  round = (round % 255) + 1;
  if (round === 1) shapes.fill(0);
  /** The shape of each record that is open, and its keys so far. */
  const outer: number[] = [];
  let shape = seed;
  let keys = 0;
  for (let at = 0; at < json.byteLength; at += 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      const from = at + 1;
      for (at += 1; at < json.byteLength && json[at] !== QUOTE; at += 1) if (json[at] === BACKSLASH) at += 1;
      let after = at + 1;
      while (after < json.byteLength && (json[after] as number) <= BLANK) after += 1;
      if (json[after] !== COLON) continue;
      keys += 1;
      if (keys > SHAPED_KEYS) cost += DICTIONARY_KEY;
      else {
        shape = hashed(shape, json, from, at);
        const place = shape >>> (32 - SHAPE_BITS);
        if (shapes[place] !== round) cost += NEW_SHAPE;
        shapes[place] = round;
      }
    } else if (byte === COMMA) cost += 1;
    else if (byte === OPEN_ARRAY) cost += CONTAINER;
    else if (byte === OPEN_OBJECT) {
      cost += CONTAINER;
      outer.push(shape, keys);
      shape = seed;
      keys = 0;
    } else if (byte === CLOSE_OBJECT && outer.length > 0) {
      keys = outer.pop() as number;
      shape = outer.pop() as number;
    }
    if (cost > most) return true;
  }
  return false;
}

function hashed(before: number, bytes: Uint8Array, from: number, to: number): number {
  let hash = before ^ (to - from);
  const head = Math.min(to, from + HASHED_BYTES);
  for (let at = from; at < head; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), 0x9e37_79b1);
  for (let at = Math.max(head, to - HASHED_BYTES); at < to; at += 1) {
    hash = Math.imul(hash ^ (bytes[at] as number), 0x9e37_79b1);
  }
  return hash ^ (hash >>> 15);
}
