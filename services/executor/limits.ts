/** What one guest call may use: the manifest's limits with their defaults and this platform's ceilings. */
import type { Limits } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { parseDuration } from "../kit/time.ts";

const PAGES_PER_MIB = 16;
const DEFAULTS = {
  memoryMib: 64,
  timeoutMs: 30_000,
  cpuMs: 5_000,
  outputMib: 16,
  hostCalls: 10_000,
  rows: 10_000_000n,
} as const;
const CEILINGS = { memoryMib: 1_024, timeoutMs: 900_000, cpuMs: 60_000, outputMib: 64 } as const;

export interface CallLimits {
  readonly memoryMaxPages: number;
  readonly timeoutMs: number;
  readonly cpuMs: number;
  readonly maxOutputBytes: number;
  readonly maxHostCalls: number;
  /** Of a whole run. */
  readonly maxRows: number;
}

/** `timeout` of the interface or pipe wins over the manifest's own; "" means none is given. */
export function callLimits(limits: Limits | undefined, timeout = ""): CallLimits {
  const duration = (raw: string | undefined, fallbackMs: number) => (raw ? parseDuration(raw, "limits") : fallbackMs);
  const timeoutMs = duration(timeout || limits?.timeout, DEFAULTS.timeoutMs);
  const cpuMs = duration(limits?.cpu, DEFAULTS.cpuMs);
  return {
    memoryMaxPages: Math.min(limits?.memoryMib || DEFAULTS.memoryMib, CEILINGS.memoryMib) * PAGES_PER_MIB,
    timeoutMs: Math.min(timeoutMs, CEILINGS.timeoutMs),
    cpuMs: Math.min(cpuMs, CEILINGS.cpuMs),
    maxOutputBytes: Math.min(limits?.outputMib || DEFAULTS.outputMib, CEILINGS.outputMib) << 20,
    maxHostCalls: limits?.hostCalls || DEFAULTS.hostCalls,
    maxRows: Number(limits?.rows || DEFAULTS.rows),
  };
}
