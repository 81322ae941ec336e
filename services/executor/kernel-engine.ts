/** The engine of ours: guests linked to a kernel in WebAssembly, on pooled memories that are zeroed after each call. */
import { Arena } from "./arena.ts";
import { Carriers, type GuestExport } from "./carriers.ts";
import { Ending, type Engine, type EngineCall, ended, endOfThrow, failed, Gas } from "./engine.ts";
import { importedMemory, type MemoryImport, MemoryPool } from "./guest-memory.ts";
import { Kernel } from "./kernel.ts";
import { Spares } from "./spares.ts";

/** An arena of which more was in use is left to its last guests, because WebAssembly memory never shrinks. */
const ARENA_MAX_BYTES = 64 << 20;
const MAX_IDLE_KERNELS = 256;
/** Instances kept for another call, of all plugins: how many, how large together, how long. */
const MAX_KEPT = 64;
const MAX_KEPT_BYTES = 256 << 20;
const KEPT_IDLE_MS = 60_000;
/** What compilers want called before any other export; as Extism's SDK does it. */
const INITIALISERS = ["hs_init", "_initialize", "_start"];
/** Imports that suspend their guest; a module without them runs to its end at once, on the stack of the lane. */
const SUSPENDING = new Set(["host_call", "http_request"]);

interface ModuleFacts {
  readonly memory: MemoryImport | undefined;
  readonly suspends: boolean;
  /** Exports what is called before any other export. */
  readonly initialises: boolean;
}

interface Guest {
  readonly kernel: Kernel;
  readonly memory: WebAssembly.Memory | undefined;
  readonly facts: ModuleFacts;
  /** Undefined until it is instantiated. */
  exports: Readonly<Record<string, unknown>> | undefined;
  callsLeft: number;
  /** When its parts were asked for. */
  readonly takenMs: number;
  idleSinceMs: number;
}

export function openKernelEngine(): Engine {
  const known = new WeakMap<WebAssembly.Module, ModuleFacts>();
  const memories = new MemoryPool();
  const carriers = new Carriers();
  /** Ended, and not zeroed yet. */
  const dead: Guest[] = [];
  /** By key of reuse, the longest idle first. A guest that runs is not in it, so none is entered twice. */
  const kept = new Map<string, Guest[]>();
  let idle: Kernel[] = [];
  let arena = new Arena();

  const factsOf = (module: WebAssembly.Module): ModuleFacts => {
    let facts = known.get(module);
    if (!facts) {
      const suspends = WebAssembly.Module.imports(module).some(({ name }) => SUSPENDING.has(name));
      const initialises = WebAssembly.Module.exports(module).some(({ name }) => INITIALISERS.includes(name));
      facts = { memory: importedMemory(module), suspends, initialises };
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
    for (const { kernel, memory, facts } of dead.splice(0)) {
      kernel.forget();
      if (memory && facts.memory) memories.give(facts.memory, memory);
      if (kernel.arena !== arena || idle.length >= MAX_IDLE_KERNELS) kernel.release();
      else idle.push(kernel);
    }
  };
  /** After the answer has left, so that the caller does not wait for it. */
  const bury = (guest: Guest) => {
    if (dead.push(guest) === 1) setImmediate(clean);
  };
  const keep = (key: string, guest: Guest) => {
    guest.kernel.wipe();
    guest.idleSinceMs = performance.now();
    const same = kept.get(key) ?? [];
    same.push(guest);
    kept.delete(key);
    kept.set(key, same);
    dropKept(KEPT_IDLE_MS);
  };
  const takeKept = (key: string): Guest | undefined => {
    const same = kept.get(key);
    const guest = same?.pop();
    if (same?.length === 0) kept.delete(key);
    return guest;
  };
  /** What is over the budget, or idle for longer; the key that was called least lately goes first. */
  const dropKept = (idleMs: number) => {
    const all = [...kept].flatMap(([key, guests]) => guests.map((guest) => ({ key, guest })));
    let bytes = all.reduce((sum, { guest }) => sum + guest.kernel.heldBytes, 0);
    for (const [i, { key, guest }] of all.entries()) {
      const idle = performance.now() - guest.idleSinceMs > idleMs;
      if (!idle && all.length - i <= MAX_KEPT && bytes <= MAX_KEPT_BYTES) continue;
      bytes -= guest.kernel.heldBytes;
      const others = kept.get(key)?.filter((other) => other !== guest) ?? [];
      if (others.length) kept.set(key, others);
      else kept.delete(key);
      bury(guest);
    }
  };
  setInterval(() => {
    dropKept(KEPT_IDLE_MS);
    spares.dropIdle();
    carriers.trim();
  }, KEPT_IDLE_MS).unref();

  const spares = new Spares<Guest>(bury);
  const fresh = (facts: ModuleFacts): Guest => {
    const nobody = { facts, exports: undefined, callsLeft: 1, idleSinceMs: 0, takenMs: performance.now() };
    const kernel = takeKernel();
    try {
      return { ...nobody, kernel, memory: facts.memory && memories.take(facts.memory) };
    } catch (thrown) {
      bury({ ...nobody, kernel, memory: undefined });
      throw thrown;
    }
  };
  /** Ahead of its call; nothing when that fails, so that the call fails by itself. */
  const spare = (module: WebAssembly.Module, facts: ModuleFacts): Guest | undefined => {
    let guest: Guest | undefined;
    try {
      guest = fresh(facts);
      guest.exports = instantiate(module, guest);
      return guest;
    } catch {
      if (guest) bury(guest);
      return undefined;
    }
  };
  const begin = (call: EngineCall): Guest => {
    const kept = call.reuse && takeKept(call.reuse.key);
    if (kept) return kept;
    const guest = spares.take(call.module) ?? fresh(factsOf(call.module));
    guest.callsLeft = call.reuse?.calls ?? 1;
    return guest;
  };
  /** Instantiates it, under the call that it is for. */
  const start = ({ module, spareBytes }: EngineCall, guest: Guest): Readonly<Record<string, unknown>> => {
    const { facts, memory, takenMs } = guest;
    const exports = instantiate(module, guest);
    if (spareBytes !== undefined && memory && !facts.initialises) {
      const bytes = memory.buffer.byteLength + spareBytes;
      spares.started(module, performance.now() - takenMs, bytes, () => spare(module, facts));
    }
    return exports;
  };

  const run = async (call: EngineCall) => {
    clean();
    const { reuse } = call;
    let guest: Guest;
    try {
      guest = begin(call);
    } catch (thrown) {
      return endOfThrow(call, thrown, 0, undefined);
    }
    let gas: Gas | undefined;
    try {
      const { kernel, facts } = guest;
      kernel.begin(call, guest.memory);
      guest.callsLeft -= 1;
      const exports = guest.exports ?? start(call, guest);
      const exported = exports[call.export];
      gas = new Gas(call, exports);
      if (typeof exported !== "function") {
        bury(guest);
        return failed("guest_error", "not_found", `no export named "${call.export}"`);
      }
      if (guest.exports !== exports) initialise(exports);
      guest.exports = exports;
      const code = facts.suspends ? await carriers.run(exported as GuestExport) : (exported() as number);
      const end = gas.judge(kernel.end(code));
      if (reuse && guest.callsLeft > 0) keep(reuse.key, guest);
      else bury(guest);
      return end;
    } catch (thrown) {
      bury(guest);
      if (thrown instanceof Ending) return ended(thrown);
      const end = guest.kernel.broken(thrown);
      return gas?.judge(end) ?? end;
    }
  };
  return {
    run,
    prepare() {
      clean();
      return spares.prepare();
    },
    forget: (module) => spares.forget(module),
  };
}

function instantiate(module: WebAssembly.Module, { kernel, memory, facts }: Guest) {
  const limits = facts.memory;
  const { exports } = new WebAssembly.Instance(module, {
    "extism:host/env": kernel.env,
    "extism:host/user": kernel.user,
    ...(limits && { [limits.module]: { [limits.name]: memory } }),
  });
  kernel.watch(exports);
  return exports;
}

function initialise(exports: Readonly<Record<string, unknown>>): void {
  const name = INITIALISERS.find((one) => typeof exports[one] === "function");
  if (name) (exports[name] as () => void)();
}
