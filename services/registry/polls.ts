/**
 * Writes into a module where a thread that runs it can be ended. V8 looks for that at loops, and where a function that
 * calls others begins; so a row of bulk operations, or of calls of one that calls nobody, ran for as long as it liked.
 * An empty loop is such a place, too: one comes after each bulk operation, and one where a function begins that calls
 * nobody and is longer than a little. Pure.
 */
import { Fault } from "../kit/fault.ts";
import { Code, section, Unknown } from "./metering.ts";
import { FIELD, leb, type Reading, SECTIONS } from "./wasm-sections.ts";

/** `loop end`. */
const PLACE = Buffer.of(0x03, 0x40, 0x0b);
/** A million calls of a function of so many bytes take some tenths of a second, and more do not fit into a caller. */
const SHORT_BYTES = 64;
const FIRST_CALL = 0x10;
const LAST_CALL = 0x13;

/** Twice changes nothing. Errors: `invalid` for code that cannot be followed. */
export function withPolls(bytes: Uint8Array, { sections }: Reading): Uint8Array {
  const code = sections.find(({ id }) => SECTIONS[id] === "code");
  if (!code) return bytes;
  try {
    const parts = polledBodies(new Code(bytes, code.bodyStart));
    if (parts.length === 1) return bytes;
    return Buffer.concat([bytes.subarray(0, code.start), section(code.id, parts), bytes.subarray(code.end)]);
  } catch (thrown) {
    if (!(thrown instanceof Unknown)) throw thrown;
    const [problem, fix] = [`cannot be followed: ${thrown.message}`, "build without that feature"];
    throw Fault.invalid(`${FIELD} cannot run in the sandbox`, [{ field: FIELD, problem, fix }]);
  }
}

/** The content of the code section in pieces; one piece when nothing changes. */
function polledBodies(code: Code): Uint8Array[] {
  const { bytes } = code;
  const parts: Uint8Array[] = [];
  let kept = code.at;
  for (let left = code.number(); left > 0; left -= 1) {
    const start = code.at;
    const length = code.number();
    const [from, to] = [code.at, code.at + length];
    const places = placesOf(code, to);
    if (places.length === 0) continue;
    parts.push(bytes.subarray(kept, start), Buffer.from(leb(length + places.length * PLACE.length)));
    let at = from;
    for (const place of places) {
      parts.push(bytes.subarray(at, place), PLACE);
      at = place;
    }
    kept = at;
  }
  parts.push(bytes.subarray(kept, code.at));
  return parts;
}

/** Where in a body one is to be written, in order. */
function placesOf(code: Code, end: number): number[] {
  const { bytes } = code;
  const isThere = (at: number) => PLACE.every((byte, i) => bytes[at + i] === byte);
  const start = code.at;
  for (let groups = code.number(); groups > 0; groups -= 1) {
    code.number();
    code.valueType();
  }
  const entry = code.at;
  const places: number[] = [];
  let calls = false;
  let written = 0;
  while (code.at < end) {
    const opcode = bytes[code.at] as number;
    calls ||= opcode >= FIRST_CALL && opcode <= LAST_CALL;
    if (!code.skip()) continue;
    if (isThere(code.at)) written += PLACE.length;
    else places.push(code.at);
  }
  if (code.at !== end) throw new Unknown("its code could not be followed to the end");
  if (!calls && end - start - written > SHORT_BYTES && !isThere(entry)) places.unshift(entry);
  return places;
}
