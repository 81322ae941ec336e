/**
 * Writes a count of instructions into a module: a global `__gas` that its code counts down and traps below zero. Each
 * function charges for its instructions at its entry and each loop for those of its body at every turn, so the count
 * is that of the longest way and the same in every run; bulk operations are charged by their length. Pure.
 */
import type { Mistake } from "../kit/fault.ts";
import { FIELD, leb, type Reading, SECTIONS } from "./wasm-sections.ts";

export const GAS_EXPORT = "__gas";
/** What code at instantiation may use, before the host sets the real limit. */
const START_GAS = 1_000_000_000;
/** Bytes of a bulk operation that cost as much as one instruction: 2^5. */
const BULK_SHIFT = 5;

const LOOP = 0x03;
const BLOCKS = new Set([0x02, LOOP, 0x04, 0x06, 0x1f]);
const END = 0x0b;
/** Ends a `try` without an `end`. */
const DELEGATE = 0x18;
/** Instructions that begin with the type of a block: none, that of a value (a negative number), or an index. */
const TYPED = new Set([0x02, LOOP, 0x04, 0x06]);
const ATOMIC_FENCE = 3;
/** Bulk operations, under 0xfc, that take a length from the stack: init, copy, fill of memory or table; table.grow. */
const BULK = new Set([8, 10, 11, 12, 14, 15, 17]);

/** The code cannot be followed; one sentence for the author. */
export class Unknown extends Error {}

/** Mistakes: an instruction that is not known here, or an export that has the name already. */
export function meteringMistakes(bytes: Uint8Array, reading: Reading): Mistake[] {
  if (reading.exports.some(({ name }) => name === GAS_EXPORT)) {
    const fix = "rename it";
    return [{ field: `${FIELD} export "${GAS_EXPORT}"`, problem: "is the name of the meter", fix }];
  }
  try {
    meterModule(bytes, reading);
    return [];
  } catch (thrown) {
    if (!(thrown instanceof Unknown)) throw thrown;
    const fix = 'build without that feature, or leave "metered" out';
    return [{ field: FIELD, problem: `cannot be metered: ${thrown.message}`, fix }];
  }
}

/** Needs a valid module whose functions are all its own or the host's, and no mistakes of `meteringMistakes`. */
export function meterModule(bytes: Uint8Array, reading: Reading): Uint8Array {
  const gas = reading.globals;
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  let added = false;
  const addGlobal = (rest: Uint8Array) => {
    const entry = [0x7e, 1, 0x42, ...signed(START_GAS), END];
    parts.push(section(6, [Buffer.from(leb(gas + 1)), rest, Buffer.from(entry)]));
    added = true;
  };
  for (const { id, start, bodyStart, end } of reading.sections) {
    const name = SECTIONS[id] as string;
    if (!added && name === "global") addGlobal(bytes.subarray(afterNumber(bytes, bodyStart), end));
    else {
      if (!added && AFTER_GLOBALS.has(name)) addGlobal(new Uint8Array(0));
      if (name === "export") {
        const entry = [GAS_EXPORT.length, ...Buffer.from(GAS_EXPORT), 3, ...leb(gas)];
        const count = Buffer.from(leb(reading.exports.length + 1));
        parts.push(section(id, [count, bytes.subarray(afterNumber(bytes, bodyStart), end), Buffer.from(entry)]));
      } else if (name === "code") parts.push(codeSection(bytes, bodyStart, reading, gas));
      else parts.push(bytes.subarray(start, end));
    }
  }
  return new Uint8Array(Buffer.concat(parts));
}

const AFTER_GLOBALS = new Set(["export", "start", "element", "code", "data", "data count"]);

function codeSection(bytes: Uint8Array, at: number, { functionTypes, types }: Reading, gas: number): Uint8Array {
  const reader = new Code(bytes, at);
  const count = reader.number();
  const bodies: Uint8Array[] = [Buffer.from(leb(count))];
  for (let i = 0; i < count; i += 1) {
    const length = reader.number();
    const parameters = parametersOf(types[functionTypes[i] ?? -1] ?? "");
    const body = meterBody(reader, reader.at + length, parameters, gas);
    bodies.push(Buffer.from(leb(body.byteLength)), body);
  }
  return section(10, bodies);
}

/** A place where gas is charged, and for how many instructions. */
interface Charge {
  readonly at: number;
  instructions: number;
}

function meterBody(code: Code, end: number, parameters: number, gas: number): Uint8Array {
  const { bytes } = code;
  const localsStart = code.at;
  const groups = code.number();
  const groupsStart = code.at;
  let locals = parameters;
  for (let i = 0; i < groups; i += 1) {
    locals += code.number();
    code.valueType();
  }
  const entry: Charge = { at: code.at, instructions: 0 };
  const charges: Charge[] = [entry];
  const bulks: number[] = [];
  const stack: Charge[] = [entry];
  while (code.at < end) {
    const at = code.at;
    const opcode = bytes[at] as number;
    const charge = stack.at(-1) as Charge;
    charge.instructions += 1;
    const isBulk = code.skip();
    if (isBulk) bulks.push(at);
    if (opcode === LOOP) {
      const turn = { at: code.at, instructions: 1 };
      charges.push(turn);
      stack.push(turn);
    } else if (BLOCKS.has(opcode)) stack.push(charge);
    else if (opcode === END || opcode === DELEGATE) stack.pop();
  }
  const parts: Uint8Array[] = [];
  if (bulks.length) {
    const added = Buffer.from([...leb(1), 0x7f]);
    parts.push(Buffer.from(leb(groups + 1)), bytes.subarray(groupsStart, entry.at), added);
  } else parts.push(bytes.subarray(localsStart, entry.at));
  const bulkCharge = Buffer.from(chargeForLength(gas, locals));
  const inserts = [
    ...charges.map(({ at, instructions }) => ({ at, code: Buffer.from(chargeFor(gas, instructions)) })),
    ...bulks.map((at) => ({ at, code: bulkCharge })),
  ].sort((a, b) => a.at - b.at);
  let from = entry.at;
  for (const insert of inserts) {
    parts.push(bytes.subarray(from, insert.at), insert.code);
    from = insert.at;
  }
  parts.push(bytes.subarray(from, end));
  return Buffer.concat(parts);
}

/** `gas -= n; if (gas < 0) unreachable`. */
const chargeFor = (gas: number, instructions: number) => [
  ...[0x23, ...leb(gas), 0x42, ...signed(instructions), 0x7d, 0x24, ...leb(gas)],
  ...trapWhenEmpty(gas),
];

/** The same for the length on top of the stack, which stays there. */
const chargeForLength = (gas: number, local: number) => [
  ...[0x22, ...leb(local), 0x23, ...leb(gas), 0x20, ...leb(local), 0xad],
  ...[0x42, BULK_SHIFT, 0x88, 0x7d, 0x24, ...leb(gas)],
  ...trapWhenEmpty(gas),
];

const trapWhenEmpty = (gas: number) => [0x23, ...leb(gas), 0x42, 0, 0x53, 0x04, 0x40, 0x00, END];

/** Walks over instructions without understanding more of them than their length. */
export class Code {
  readonly bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.bytes[this.at];
      // Only a module that is read wrongly ends here: nothing it says may cost time.
      if (byte === undefined) throw new Unknown("its code could not be followed to the end");
      this.at += 1;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  /** Moves behind the type of a value, or that of a block that is written as one. */
  valueType(): void {
    const byte = this.bytes[this.at] as number;
    if (byte === 0x63 || byte === 0x64) throw new Unknown("it uses typed references");
    this.at += 1;
  }

  /** Moves behind the instruction at `at`. Returns whether it is a bulk operation. */
  skip(): boolean {
    const opcode = this.bytes[this.at] as number;
    this.at += 1;
    const numbers = (count: number) => {
      for (let i = 0; i < count; i += 1) this.number();
    };
    if (opcode === 0xfc) return this.#skipBulk(numbers);
    if (opcode === 0xfd) this.#skipVector();
    else if (opcode === 0x0e) numbers(this.number() + 1);
    else if (opcode === 0x1c) for (let types = this.number(); types > 0; types -= 1) this.valueType();
    else if (opcode === 0xfe) this.#skipAtomic();
    else if (TYPED.has(opcode) && ((this.bytes[this.at] as number) & 0xc0) === 0x40) this.valueType();
    else if (opcode === 0x1f) this.#skipTryTable();
    else if (opcode === 0x43) this.at += 4;
    else if (opcode === 0x44) this.at += 8;
    else {
      const count = immediates[opcode];
      if (count === undefined) {
        throw new Unknown(`instruction 0x${opcode.toString(16)} at byte ${this.at - 1} is not known`);
      }
      if (opcode >= 0x28 && opcode <= 0x3e) this.#skipAddress();
      else numbers(count);
    }
    return false;
  }

  #skipBulk(numbers: (count: number) => void): boolean {
    const opcode = this.number();
    const count = opcode <= 7 ? 0 : BULK_IMMEDIATES[opcode];
    if (count === undefined) throw new Unknown(`instruction 0xfc ${opcode} at byte ${this.at} is not known`);
    numbers(count);
    return BULK.has(opcode);
  }

  /** Alignment, with a flag for the index of a memory, and offset. */
  #skipAddress(): void {
    if (this.number() & 0x40) this.number();
    this.number();
  }

  #skipVector(): void {
    const opcode = this.number();
    if (opcode > 275) throw new Unknown(`instruction 0xfd ${opcode} at byte ${this.at} is not known`);
    if (opcode === 12 || opcode === 13) this.at += 16;
    else if (opcode >= 21 && opcode <= 34) this.at += 1;
    else if (opcode <= 11 || opcode === 92 || opcode === 93) this.#skipAddress();
    else if (opcode >= 84 && opcode <= 91) {
      this.#skipAddress();
      this.at += 1;
    }
  }

  #skipAtomic(): void {
    const opcode = this.number();
    if (opcode > 0x4e) throw new Unknown(`instruction 0xfe ${opcode} at byte ${this.at} is not known`);
    if (opcode === ATOMIC_FENCE) this.at += 1;
    else this.#skipAddress();
  }

  #skipTryTable(): void {
    if (((this.bytes[this.at] as number) & 0xc0) === 0x40) this.valueType();
    else this.number();
    for (let clauses = this.number(); clauses > 0; clauses -= 1) {
      const kind = this.bytes[this.at] as number;
      this.at += 1;
      this.number();
      if (kind < 2) this.number();
    }
  }
}

/** First and last opcode, and how many LEB128 numbers follow. Block types and constants are such numbers too. */
const IMMEDIATES: readonly (readonly [first: number, last: number, numbers: number])[] = [
  [0x00, 0x01, 0],
  [0x02, 0x04, 1],
  [0x05, 0x05, 0],
  [0x06, 0x09, 1], // try, catch, throw, rethrow
  [0x0a, 0x0b, 0],
  [0x0c, 0x0d, 1],
  [0x0f, 0x0f, 0],
  [0x10, 0x10, 1],
  [0x11, 0x11, 2],
  [0x12, 0x12, 1],
  [0x13, 0x13, 2],
  [0x18, 0x18, 1], // delegate
  [0x19, 0x1b, 0], // catch_all, drop, select
  [0x20, 0x26, 1],
  [0x28, 0x3e, 2],
  [0x3f, 0x42, 1],
  [0x45, 0xc4, 0],
  [0xd0, 0xd0, 1],
  [0xd1, 0xd1, 0],
  [0xd2, 0xd2, 1],
];
const immediates: readonly (number | undefined)[] = Array.from(
  { length: 256 },
  (_, opcode) => IMMEDIATES.find(([first, last]) => opcode >= first && opcode <= last)?.[2],
);
/** memory.init, data.drop, memory.copy, memory.fill, table.init, elem.drop, table.copy, grow, size, fill. */
const BULK_IMMEDIATES: Readonly<Record<number, number>> = {
  ...{ 8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1 },
};

/** Of `(i32,i64)->i32`. */
const parametersOf = (type: string) => (type.startsWith("()") ? 0 : type.slice(0, type.indexOf(")")).split(",").length);

function afterNumber(bytes: Uint8Array, at: number): number {
  const code = new Code(bytes, at);
  code.number();
  return code.at;
}

/** A section with its header. */
export function section(id: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  return Buffer.concat([Buffer.from([id, ...leb(length)]), ...parts]);
}

/** LEB128 of a positive number that is read with a sign. */
function signed(value: number): number[] {
  return value < 64 ? [value] : [(value & 127) | 128, ...signed(Math.floor(value / 128))];
}
