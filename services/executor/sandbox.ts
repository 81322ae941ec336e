/** The sandbox: what a guest call is given, how it can end, and what it used. `openSandbox` makes one from lanes. */
import type { Logger } from "../kit/log.ts";
import { DedicatedLanes } from "./dedicated-lanes.ts";
import { LanePool } from "./lanes.ts";

/** How a guest call ends. Everything a guest can do to itself is one of these; a Fault is never the guest's doing. */
export type GuestOutcome =
  | "ok"
  /** The guest returned an error, or broke the rules of the interface (output over the cap, no such export). */
  | "guest_error"
  | "trap"
  /** Past `deadlineMs`, running or waiting. */
  | "timeout"
  /** One stretch on the CPU longer than `cpuMs`. */
  | "cpu_exceeded"
  | "out_of_memory"
  /** The guest failed with the code `denied` that a host function had answered it. */
  | "denied"
  /** The guest failed with the code of another error that a host function had answered it. */
  | "host_error"
  | "cancelled";

export interface GuestError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details?: unknown;
}

export interface GuestUsage {
  /** From the start in a lane to the end; time in the queue is not in it. */
  readonly wallMs: number;
  /** All stretches on the lane's CPU, instantiation included, by the wall clock. */
  readonly cpuMs: number;
  /** Linear memory and Extism blocks together, at the highest; as of its last host call when its lane was ended. */
  readonly memoryPeakBytes: number;
  /** Instructions of a metered module. */
  readonly gas?: number;
  readonly hostCalls: Readonly<Record<string, number>>;
  /** Bytes into the guest: its input and the answers of host functions. */
  readonly bytesIn: number;
  /** Bytes out of the guest: its output and its requests to host functions. */
  readonly bytesOut: number;
}

export interface GuestResult {
  readonly outcome: GuestOutcome;
  /** Empty unless the outcome is `ok`. The caller owns the bytes. */
  readonly output: Uint8Array;
  /** Present unless the outcome is `ok`. */
  readonly error?: GuestError;
  readonly usage: GuestUsage;
}

export interface GuestModule {
  /** SHA-256 of the normalised bytes, lower-case hex: the key of the cache of compiled modules. */
  readonly digest: string;
  /** The normalised bytes (memory maximum written in); asked for only when the digest is not compiled yet. */
  load(): Promise<Uint8Array>;
}

/**
 * Answers a `host_call`. What it resolves with is the guest's response block as it is: JSON `{"ok": …}`. A Fault that
 * it throws reaches the guest as `{"error": {"code", "message", "retryable"}}`; the call goes on. The signal aborts
 * when the guest call ended meanwhile; whatever the function then returns is dropped.
 */
export type HostFunction = (name: string, request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

/** An instance is kept for calls of the same key; it is dropped after a trap, or when nobody calls it for a minute. */
export interface Reuse {
  /** Names plugin version and instance: whoever gives the same key sees what the calls before left in memory. */
  readonly key: string;
  /** Calls of one instance, the first one included. */
  readonly calls: number;
}

export interface GuestCall {
  readonly module: GuestModule;
  /** Name of an export of type `() -> i32`. */
  readonly export: string;
  readonly input: Uint8Array;
  /** Wall time in milliseconds, from the start in a lane. Time in the queue is bounded by the same figure again. */
  readonly deadlineMs: number;
  /**
   * Longest stretch on the CPU between two waits, in milliseconds. Default: `deadlineMs`. Other guests of the lane
   * stand still for as long, so keep it to a second or two.
   */
  readonly cpuMs?: number;
  /** Cap in 64 KiB pages on linear memory together with Extism blocks; linear memory alone is capped by the module. */
  readonly memoryMaxPages: number;
  readonly maxOutputBytes: number;
  readonly maxHostCalls: number;
  /** Runs in a lane of its own, which only calls with the same name share. Absent: in the lanes of all. */
  readonly lane?: string;
  /** Absent: a fresh instance for this call, and nothing of it stays. */
  readonly reuse?: Reuse;
  /** Of a metered module: instructions that it may run, by the count that was written into it. */
  readonly maxGas?: number;
  readonly host: HostFunction;
  /**
   * What the guest's `now` answers, in milliseconds since the epoch. Asked as the guest is sent to a lane and with each
   * answer of the host: its clock stands still while it computes, which a replay needs and a timing attack does not
   * like. Default: the real time.
   */
  readonly now?: () => number;
  /** What the guest's `random` is drawn from: the same seed, the same bytes. Default: a new one. */
  readonly seed?: string;
  readonly signal?: AbortSignal;
  /**
   * Called by a guest that waits in a lane for it: takes its place beyond those that are counted. If it had to wait for
   * a place, guests that wait for each other could fill every lane.
   */
  readonly nested?: boolean;
  /** Told when this guest's thread did not end although it was told to: only the end of the process ends it. */
  readonly onStuck?: () => void;
  /** Who this is, for the log: "weather/fetch". */
  readonly label: string;
}

export interface SandboxStats {
  readonly lanes: number;
  /** Calls in lanes now, and calls waiting for room. */
  readonly running: number;
  readonly queued: number;
  /** Lanes ended by the watchdog since the start. */
  readonly lanesKilled: number;
  /** Lanes that were replaced because of their wear. */
  readonly lanesRecycled: number;
  readonly modulesCached: number;
}

export interface Sandbox extends AsyncDisposable {
  /**
   * Runs one export on a fresh instance. Resolves for everything the guest did. Errors: `exhausted` when the queue is
   * full, the call waited longer than `deadlineMs` in it, or no instance more fits the process; `unavailable` when the
   * lane was ended because of another guest, was too busy to begin the call in time, or the sandbox is closing (the
   * call may have run in part: dispatch it again); `invalid` when the module does not compile; whatever `load` throws.
   */
  call(call: GuestCall): Promise<GuestResult>;
  /** How many more calls would start at once. Admission: take no more work than this. */
  free(): number;
  stats(): SandboxStats;
}

/** What a lane may serve, in calls, and how long it may live. */
export interface Wear {
  readonly calls: number;
  readonly ageMs: number;
}

/** `kernel` is ours; `sdk` is Extism's JavaScript SDK, slower, against which ours is compared. */
export type EngineName = "kernel" | "sdk";

export interface SandboxOptions {
  /** Default `kernel`. */
  readonly engine?: EngineName;
  /** Worker threads for guests, beside one warm spare. */
  readonly lanes: number;
  /** Calls in one lane at a time: they share a thread, so only one computes while the others wait for hosts. */
  readonly callsPerLane: number;
  /** Calls waiting for room; one more is refused with `exhausted`. Default: as many as can run. */
  readonly maxQueued?: number;
  /** How long closing waits for running calls before their lanes are ended. Default 10 s. */
  readonly closeGraceMs?: number;
  /** A thread that lives so long after it was told to end cannot be ended. Default 5 s. */
  readonly stuckMs?: number;
  /** When a lane is replaced though nothing is wrong with it. Default: never. */
  readonly wear?: Wear;
  /** Told of each such thread: it takes a core until the process ends, and ending that in order waits for it. */
  readonly onStuck?: () => void;
  readonly log: Logger;
}

/** Resolves once every lane and the spare are up. Sets V8 flags: call it before the process compiles any wasm. */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  const pool = new LanePool(options);
  await pool.ready();
  return new DedicatedLanes(options, pool);
}
