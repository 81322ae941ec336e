/** The guest side of ABI v1: blocks in and out, eight bytes at a time, and the two ways a call can end badly. */
import { encodeUtf8 } from "./utf8";

// @ts-ignore: decorators
@external("extism:host/env", "input_length") declare function inputLength(): i64;
// @ts-ignore: decorators
@external("extism:host/env", "input_load_u8") declare function inputLoadU8(offset: i64): i32;
// @ts-ignore: decorators
@external("extism:host/env", "input_load_u64") declare function inputLoadU64(offset: i64): i64;
// @ts-ignore: decorators
@external("extism:host/env", "length") declare function blockLength(block: i64): i64;
// @ts-ignore: decorators
@external("extism:host/env", "alloc") declare function alloc(bytes: i64): i64;
// @ts-ignore: decorators
@external("extism:host/env", "free") declare function free(block: i64): void;
// @ts-ignore: decorators
@external("extism:host/env", "load_u8") declare function loadU8(address: i64): i32;
// @ts-ignore: decorators
@external("extism:host/env", "load_u64") declare function loadU64(address: i64): i64;
// @ts-ignore: decorators
@external("extism:host/env", "store_u8") declare function storeU8(address: i64, value: i32): void;
// @ts-ignore: decorators
@external("extism:host/env", "store_u64") declare function storeU64(address: i64, value: i64): void;
// @ts-ignore: decorators
@external("extism:host/env", "output_set") declare function outputSet(block: i64, length: i64): void;
// @ts-ignore: decorators
@external("extism:host/env", "error_set") declare function errorSet(block: i64): void;
// @ts-ignore: decorators
@external("extism:host/user", "host_call") declare function hostCall(name: i64, request: i64): i64;
// @ts-ignore: decorators
@external("extism:host/user", "now") declare function hostNow(): f64;
// @ts-ignore: decorators
@external("extism:host/user", "random") declare function hostRandom(bytes: i32): i64;

/** The whole input of this call. */
export function readInput(): ArrayBuffer {
  const length = inputLength();
  const bytes = new ArrayBuffer(<i32>length);
  const to = changetype<usize>(bytes);
  let at: i64 = 0;
  for (; at + 8 <= length; at += 8) store<i64>(to + <usize>at, inputLoadU64(at));
  for (; at < length; at++) store<u8>(to + <usize>at, <u8>inputLoadU8(at));
  return bytes;
}

/** Sets the output of this call: `length` bytes at `from`. */
export function writeOutput(from: usize, length: i32): void {
  const block = storeBlock(from, length);
  outputSet(block, length);
}

/** Sets the error of this call. The export must then return something other than 0. */
export function writeError(json: string): void {
  const bytes = encodeUtf8(json);
  errorSet(storeBlock(changetype<usize>(bytes), bytes.byteLength));
}

/** One host call: request bytes in, answer bytes out. Suspends the guest until the host has answered. */
export function callHost(name: string, from: usize, length: i32): ArrayBuffer {
  const label = encodeUtf8(name);
  const nameBlock = storeBlock(changetype<usize>(label), label.byteLength);
  const requestBlock = storeBlock(from, length);
  const answerBlock = hostCall(nameBlock, requestBlock);
  free(nameBlock);
  free(requestBlock);
  return takeBlock(answerBlock);
}

/** Milliseconds since the epoch, by the host's clock. */
export function now(): f64 {
  return hostNow();
}

/** `count` random bytes from the host. */
export function random(count: i32): ArrayBuffer {
  return takeBlock(hostRandom(count));
}

function storeBlock(from: usize, length: i32): i64 {
  const block = alloc(length);
  const whole = length & ~7;
  let at = 0;
  for (; at < whole; at += 8) storeU64(block + at, load<i64>(from + at));
  for (; at < length; at++) storeU8(block + at, load<u8>(from + at));
  return block;
}

function takeBlock(block: i64): ArrayBuffer {
  const length = <i32>blockLength(block);
  const bytes = new ArrayBuffer(length);
  const to = changetype<usize>(bytes);
  const whole = length & ~7;
  let at = 0;
  for (; at < whole; at += 8) store<i64>(to + at, loadU64(block + at));
  for (; at < length; at++) store<u8>(to + at, <u8>loadU8(block + at));
  free(block);
  return bytes;
}

/** What `assert`, `throw` and failed bounds checks call, by the builder's `--use abort=…`: says where, then traps. */
export function abortCall(message: string | null, file: string | null, line: u32, column: u32): void {
  const where = `${file ? file! : "unknown"}:${line}:${column}`;
  const text = `${message ? message! : "aborted"} (at ${where})`;
  writeError(`{"code":"aborted","message":${quote(text)},"retryable":false,"details":{"at":${quote(where)}}}`);
  unreachable();
}

/** Seeds `Math.random`, by the builder's `--use seed=…`. */
export function seedFromHost(): f64 {
  return load<f64>(changetype<usize>(random(8)));
}

/** `console.log` would need another host; this one text helper keeps `abortCall` free of the JSON writer. */
function quote(text: string): string {
  let out = '"';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22 || code == 0x5c) out += "\\" + String.fromCharCode(code);
    else out += code < 0x20 ? " " : String.fromCharCode(code);
  }
  return out + '"';
}
