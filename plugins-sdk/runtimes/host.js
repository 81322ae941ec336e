/** The host that an interpreter has while a plugin is built: blocks, a clock that stands, and nobody to call. */

const SHIFT = 48n;
const OFFSET = (1n << SHIFT) - 1n;

/**
 * Imports for `new WebAssembly.Instance`, and what the interpreter said.
 * @param {Uint8Array} [input] For an interpreter that reads its program as the input of a call.
 */
export function buildHost(input = new Uint8Array(0)) {
  /** @type {Uint8Array[]} Block 0 is nothing. */
  const blocks = [new Uint8Array(0)];
  /** @type {string[]} */
  const said = [];
  const store = (/** @type {number} */ bytes) => {
    blocks.push(new Uint8Array(bytes));
    return BigInt(blocks.length - 1) << SHIFT;
  };
  /** @param {bigint} address */
  const at = (address) => {
    const block = /** @type {Uint8Array} */ (blocks[Number(address >> SHIFT)]);
    return { view: new DataView(block.buffer), offset: Number(address & OFFSET) };
  };
  const nothing = () => {
    throw new Error("there is no host at build time");
  };
  const env = {
    input_length: () => BigInt(input.length),
    input_load_u8: (/** @type {bigint} */ at) => input[Number(at)],
    input_load_u64: (/** @type {bigint} */ at) =>
      new DataView(input.buffer, input.byteOffset).getBigInt64(Number(at), true),
    length: (/** @type {bigint} */ address) => BigInt(at(address).view.byteLength),
    alloc: (/** @type {bigint} */ bytes) => store(Number(bytes)),
    free: () => {},
    load_u8: (/** @type {bigint} */ address) => at(address).view.getUint8(at(address).offset),
    load_u64: (/** @type {bigint} */ address) => at(address).view.getBigInt64(at(address).offset, true),
    store_u8: (/** @type {bigint} */ address, /** @type {number} */ value) =>
      at(address).view.setUint8(at(address).offset, value),
    store_u64: (/** @type {bigint} */ address, /** @type {bigint} */ value) =>
      at(address).view.setBigInt64(at(address).offset, value, true),
    output_set: (/** @type {bigint} */ address) => {
      said.push(Buffer.from(/** @type {Uint8Array} */ (blocks[Number(address >> SHIFT)])).toString("utf8"));
    },
    error_set: nothing,
  };
  // The same numbers on every build, so that the same sources give the same bytes.
  const user = { host_call: nothing, now: () => 0, random: (/** @type {number} */ count) => store(count) };
  return { imports: { "extism:host/env": env, "extism:host/user": user }, said };
}
