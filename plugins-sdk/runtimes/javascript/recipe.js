/** QuickJS-ng as an interpreter for plugins: real JavaScript (ES2023 and later), no WASI, our ABI only. */

/** @type {import("../runtime.js").Recipe} */
export const javascript = {
  name: "javascript",
  interpreter: {
    package: "quickjs-wasi",
    version: "3.6.2",
    file: "quickjs.wasm",
    sha256: "d4c9375f2b1ca4dc95f72c8aa2982a7a9951ac8011490d79c6582df732b4bbd9",
  },
  module: "engine",
  glue: [
    { file: "javascript/glue.wat", module: "env" },
    { file: "javascript/wasi.wat", module: "wasi_snapshot_preview1" },
    { file: "json.wat", module: "json" },
    { file: "javascript/rows.wat", module: "rows" },
  ],
  exports: ["boot", "allocate", "release", "guard", "eval", "thrown", "seal", "drain", "invoke"],
};

/** The engine's stack lies below its data, so that running out of it is a trap and not a corrupted heap. */
export const STACK = { from: 0, to: 1_048_576 };
