/** The part of the WebAssembly global that running guests needs; Node's own types leave it out. */
declare namespace WebAssembly {
  interface Module {
    readonly [Symbol.toStringTag]: "WebAssembly.Module";
  }
  const Module: {
    new (bytes: Uint8Array): Module;
    imports(module: Module): { readonly module: string; readonly name: string; readonly kind: string }[];
    exports(module: Module): { readonly name: string; readonly kind: string }[];
  };
  class Instance {
    constructor(module: Module, imports?: object);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  class Memory {
    constructor(limits: { readonly initial: number; readonly maximum: number });
    /** Detached by every growth. */
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  /** JSPI: an import that suspends the guest until the promise settles. What is no promise comes back at once. */
  class Suspending {
    constructor(imported: (...args: never[]) => unknown);
  }
  class RuntimeError extends Error {}
  function compile(bytes: Uint8Array): Promise<Module>;
  /** JSPI: the returned function gives a promise, and Suspending imports may suspend the guest's stack. */
  function promising<Given extends unknown[] = []>(exported: unknown): (...given: Given) => Promise<number>;
}
