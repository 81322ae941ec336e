/** MicroPython as an interpreter for plugins: no WASI, our ABI only. */

/** @type {import("../runtime.js").Recipe} */
export const python = {
  name: "python",
  interpreter: {
    package: "@micropython/micropython-webassembly-pyscript",
    version: "1.27.0",
    file: "micropython.wasm",
    sha256: "06338c955b03c5700aa0069015d3e392d76836ef8e2ce25bedbe59b88ccd373c",
  },
  module: "engine",
  glue: [
    { file: "python/glue.wat", module: "env" },
    { file: "python/wasi.wat", module: "wasi_snapshot_preview1" },
    { file: "json.wat", module: "json" },
    { file: "python/rows.wat", module: "rows" },
  ],
  exports: ["boot", "allocate", "release", "execute", "seal", "invoke"],
  features: ["--enable-exception-handling"],
};

/** The interpreter's stack lies below its data. */
export const STACK = { from: 0, to: 65_536 };
