/** What an instance made ahead would weigh, read from its module: spares lie on the heap of a lane, among guests. */

const HEADER_BYTES = 8;
const TABLES = 4;
const GLOBALS = 6;
const EXPORTS = 7;
const START = 8;
/** Rounded up from what Node 26 needs. */
const TABLE_ENTRY_BYTES = 32;
const GLOBAL_BYTES = 32;
const EXPORT_BYTES = 512;

/** Bytes beside the memory. Undefined when the module has a start function. The module is valid and normalised. */
export function spareBytes(module: Uint8Array): number | undefined {
  let at = HEADER_BYTES;
  const leb = () => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = module[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return value;
    }
  };
  let bytes = 0;
  while (at < module.length) {
    const id = leb();
    const size = leb();
    const next = at + size;
    if (id === START) return undefined;
    if (id === GLOBALS) bytes += leb() * GLOBAL_BYTES;
    if (id === EXPORTS) bytes += leb() * EXPORT_BYTES;
    if (id === TABLES) {
      for (let tables = leb(); tables > 0; tables -= 1) {
        // The type of its entries, and whether it has a maximum.
        at += 1;
        const bounded = leb() & 1;
        bytes += leb() * TABLE_ENTRY_BYTES;
        if (bounded) leb();
      }
    }
    at = next;
  }
  return bytes;
}
