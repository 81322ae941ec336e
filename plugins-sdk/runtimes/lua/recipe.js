/** Lua 5.4 as an interpreter for plugins: no WASI, our ABI only. */

/** @type {import("../runtime.js").Recipe} */
export const lua = {
  name: "lua",
  interpreter: {
    package: "wasmoon",
    version: "1.16.0",
    file: "dist/glue.wasm",
    sha256: "95f3f19ddb740125883bc41d5ec670cd0828e7b58c8bdad385323cbff497b55c",
  },
  module: "l",
  glue: [
    { file: "lua/glue.wat", module: "env" },
    { file: "lua/wasi.wat", module: "wasi_snapshot_preview1" },
  ],
  exports: ["boot", "allocate", "release", "execute", "seal", "invoke"],
  features: ["--enable-exception-handling"],
};

/** The stack of C lies between the data and the heap; nothing is on it while the interpreter is at rest. */
export const STACK = { from: 35_136, to: 1_083_712 };
