/** Names of exports that AssemblyScript cannot write: `function_convert` becomes `function:convert`. */

const PREFIX = "function_";
const EXPORT_SECTION = 7;
const HEADER_BYTES = 8;

/**
 * The same module with its exports renamed, in place: both names have the same length.
 * @param {Uint8Array} wasm A module that a compiler made.
 * @returns {Uint8Array}
 */
export function nameFunctions(wasm) {
  const named = Uint8Array.from(wasm);
  for (let at = HEADER_BYTES; at < named.length; ) {
    const id = named[at];
    const size = readLeb(named, at + 1);
    if (id === EXPORT_SECTION) renameEntries(named, size.end);
    at = size.end + size.value;
  }
  return named;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} start
 */
function renameEntries(bytes, start) {
  const count = readLeb(bytes, start);
  let at = count.end;
  for (let i = 0; i < count.value; i++) {
    const length = readLeb(bytes, at);
    const name = Buffer.from(bytes.subarray(length.end, length.end + length.value)).toString("utf8");
    if (name.startsWith(PREFIX)) bytes[length.end + PREFIX.length - 1] = ":".charCodeAt(0);
    at = readLeb(bytes, length.end + length.value + 1).end;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {number} start
 */
function readLeb(bytes, start) {
  let value = 0;
  let at = start;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] ?? 0;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, end: at };
  }
}
