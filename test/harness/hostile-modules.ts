/** Hostile modules that no text can write: byte by byte. */

const uleb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...uleb(value >>> 7)]);
const sleb = (value: number): number[] => (value < 64 ? [value] : [(value & 127) | 128, ...sleb(value >>> 7)]);
const section = (id: number, content: Uint8Array) => Buffer.concat([Buffer.of(id, ...uleb(content.length)), content]);

/** A module with one function `run: () -> i32` of these instructions. */
export function bodyModule(body: Uint8Array, before: readonly Uint8Array[] = []): Uint8Array {
  const code = Buffer.concat([Buffer.of(0), body, Buffer.of(0x41, 0, 0x0b)]);
  return Buffer.concat([
    Buffer.from("\0asm\x01\0\0\0", "latin1"),
    ...before,
    section(1, Buffer.of(1, 0x60, 0, 1, 0x7f)),
    section(3, Buffer.of(1, 0)),
    section(7, Buffer.of(1, 3, ...Buffer.from("run"), 0, 0)),
    section(10, Buffer.concat([Buffer.of(1, ...uleb(code.length)), code])),
  ]);
}

/**
 * A row of `fills` times 64 MiB of `memory.fill`, without a loop: V8 looks for interrupts at loops and calls only, so a
 * thread that runs it as it is does not end before its last one, whatever flags are set. Each takes 2 to 3 ms.
 */
export function unendingModule(fills: number, name = "run"): Uint8Array {
  return filling(fills, name, [section(5, Buffer.of(1, 1, ...uleb(1_024), ...uleb(1_024)))]);
}

/** The same as it was stored before publishing wrote in where it can be ended. */
export function unendingAsStored(fills: number, name: string): Uint8Array {
  const [from, limits] = [Buffer.from("millrace:host/memory"), Buffer.from("1024:1024")];
  const memory = Buffer.of(2, 1, ...uleb(1_024), ...uleb(1_024));
  const entry = Buffer.concat([Buffer.of(1, from.length), from, Buffer.of(limits.length), limits, memory]);
  return filling(fills, name, [], [section(2, entry)]);
}

function filling(fills: number, name: string, memory: readonly Uint8Array[], imports: readonly Uint8Array[] = []) {
  const one = Buffer.of(0x41, 0, 0x41, 0, 0x20, 0, 0xfc, 0x0b, 0);
  const bytes = Buffer.of(0x41, ...sleb(64 << 20), 0x21, 0);
  const code = Buffer.concat([
    Buffer.of(1, 1, 0x7f),
    bytes,
    Buffer.alloc(fills * one.length, one),
    Buffer.of(0x41, 0, 0x0b),
  ]);
  return Buffer.concat([
    Buffer.from("\0asm\x01\0\0\0", "latin1"),
    section(1, Buffer.of(1, 0x60, 0, 1, 0x7f)),
    ...imports,
    section(3, Buffer.of(1, 0)),
    ...memory,
    section(7, Buffer.of(1, name.length, ...Buffer.from(name), 0, 0)),
    section(10, Buffer.concat([Buffer.of(1, ...uleb(code.length)), code])),
  ]);
}

/**
 * `run` calls one function so many times in a row, which divides so many times in a row. Once V8 has optimised what
 * calls nobody, it looks for interrupts nowhere in it.
 */
export function callingModule(calls: number, divisions: number): Uint8Array {
  const divide = Buffer.of(0x20, 0, 0x42, 3, 0x80, 0x42, 0xff, 0, 0x7c, 0x21, 0);
  const leaf = Buffer.concat([Buffer.of(0), Buffer.alloc(divisions * divide.length, divide), Buffer.of(0x20, 0, 0x0b)]);
  const call = Buffer.of(0x20, 0, 0x10, 0, 0x21, 0);
  const row = Buffer.alloc(calls * call.length, call);
  const run = Buffer.concat([Buffer.of(1, 1, 0x7e), row, Buffer.of(0x20, 0, 0xa7, 0x0b)]);
  return Buffer.concat([
    Buffer.from("\0asm\x01\0\0\0", "latin1"),
    section(1, Buffer.of(2, 0x60, 1, 0x7e, 1, 0x7e, 0x60, 0, 1, 0x7f)),
    section(3, Buffer.of(2, 0, 1)),
    section(7, Buffer.of(1, 3, ...Buffer.from("run"), 0, 1)),
    section(10, Buffer.concat([Buffer.of(2, ...uleb(leaf.length)), leaf, Buffer.of(...uleb(run.length)), run])),
  ]);
}

const repeated = (times: number, ...bytes: number[]) => Buffer.concat(Array(times).fill(Buffer.of(...bytes)));
export const nested = (depth: number) =>
  bodyModule(Buffer.concat([repeated(depth, 0x02, 0x40), repeated(depth, 0x0b)]));
export const customSections = (count: number, bytes: number) =>
  bodyModule(Buffer.alloc(0), Array(count).fill(section(0, Buffer.concat([Buffer.of(1, 120), Buffer.alloc(bytes)]))));
