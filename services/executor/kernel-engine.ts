/** The engine of ours: guests linked to a kernel in WebAssembly, on pooled memories that are zeroed after each call. */
import { Arena } from "./arena.ts";
import { Ending, type EngineCall, type EngineEnd, ended, endOfThrow, failed, type RunGuest } from "./engine.ts";
import { importedMemory, type MemoryImport, MemoryPool } from "./guest-memory.ts";
import { Kernel } from "./kernel.ts";

/** An arena of which more was in use is left to its last guests, because WebAssembly memory never shrinks. */
const ARENA_MAX_BYTES = 64 << 20;
const MAX_IDLE_KERNELS = 256;
/** Imports that suspend their guest; a module without them runs to its end at once, on the stack of the lane. */
const SUSPENDING = new Set(["host_call", "http_request"]);

interface ModuleFacts {
  readonly memory: MemoryImport | undefined;
  readonly suspends: boolean;
}

/** A guest that has ended, before its memory is zeroed. */
interface Remains {
  readonly kernel: Kernel;
  readonly memory: WebAssembly.Memory | undefined;
  readonly facts: ModuleFacts;
}

export function openKernelEngine(): RunGuest {
  const known = new WeakMap<WebAssembly.Module, ModuleFacts>();
  const memories = new MemoryPool();
  const remains: Remains[] = [];
  let idle: Kernel[] = [];
  let arena = new Arena();

  const factsOf = (module: WebAssembly.Module): ModuleFacts => {
    let facts = known.get(module);
    if (!facts) {
      const suspends = WebAssembly.Module.imports(module).some(({ name }) => SUSPENDING.has(name));
      facts = { memory: importedMemory(module), suspends };
      known.set(module, facts);
    }
    return facts;
  };
  const takeKernel = (): Kernel => {
    if (arena.reservedBytes > ARENA_MAX_BYTES) {
      arena = new Arena();
      idle = [];
    }
    return idle.pop() ?? new Kernel(arena);
  };
  const clean = () => {
    for (const { kernel, memory, facts } of remains.splice(0)) {
      kernel.forget();
      if (memory && facts.memory) memories.give(facts.memory, memory);
      if (kernel.arena !== arena || idle.length >= MAX_IDLE_KERNELS) kernel.release();
      else idle.push(kernel);
    }
  };
  /** After the answer has left, so that the caller does not wait for it. */
  const bury = (dead: Remains) => {
    if (remains.push(dead) === 1) setImmediate(clean);
  };

  return async (call) => {
    clean();
    const facts = factsOf(call.module);
    const kernel = takeKernel();
    let memory: WebAssembly.Memory | undefined;
    try {
      memory = facts.memory && memories.take(facts.memory);
      kernel.begin(call, memory);
      return await run(call, facts, kernel, memory);
    } catch (thrown) {
      return thrown instanceof Ending ? ended(thrown) : endOfThrow(call, thrown, 0, undefined);
    } finally {
      bury({ kernel, memory, facts });
    }
  };
}

async function run(
  call: EngineCall,
  { memory: limits, suspends }: ModuleFacts,
  kernel: Kernel,
  memory: WebAssembly.Memory | undefined,
): Promise<EngineEnd> {
  try {
    const { exports } = new WebAssembly.Instance(call.module, {
      "extism:host/env": kernel.env,
      "extism:host/user": kernel.user,
      ...(limits && { [limits.module]: { [limits.name]: memory } }),
    });
    kernel.watch(exports);
    const exported = exports[call.export];
    if (typeof exported !== "function") return failed("guest_error", "not_found", `no export named "${call.export}"`);
    initialise(exports);
    return kernel.end(suspends ? await WebAssembly.promising(exported)() : (exported() as number));
  } catch (thrown) {
    return kernel.broken(thrown);
  }
}

/** What compilers want called before any other export; as Extism's SDK does it. */
function initialise(exports: Readonly<Record<string, unknown>>): void {
  const name = ["hs_init", "_initialize", "_start"].find((one) => typeof exports[one] === "function");
  if (name) (exports[name] as () => void)();
}
