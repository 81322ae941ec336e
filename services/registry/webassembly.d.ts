/** The part of the WebAssembly global that judging a module needs; Node's own types leave it out. */
declare namespace WebAssembly {
  function validate(bytes: Uint8Array): boolean;
  class Module {
    constructor(bytes: Uint8Array);
  }
}
