/** What a run has used so far: the sum over its guest calls. */
import type { Tape } from "./recording/tape.ts";
import type { GuestUsage } from "./sandbox.ts";

export class Tally {
  /** What the run was told, while it is not known yet whether that is kept. */
  readonly tape: Tape | undefined;
  wallMs = 0;
  cpuMs = 0;
  memoryPeakBytes = 0;
  bytesIn = 0;
  bytesOut = 0;
  /** Instructions; 0 unless the plugin is metered. */
  gas = 0;
  readonly hostCalls: Record<string, number> = {};

  constructor(tape?: Tape) {
    this.tape = tape;
  }

  add(usage: GuestUsage): void {
    this.wallMs += usage.wallMs;
    this.cpuMs += usage.cpuMs;
    this.memoryPeakBytes = Math.max(this.memoryPeakBytes, usage.memoryPeakBytes);
    this.bytesIn += usage.bytesIn;
    this.bytesOut += usage.bytesOut;
    this.gas += usage.gas ?? 0;
    for (const [name, calls] of Object.entries(usage.hostCalls)) this.#count(name, calls);
  }

  /** A host function refused because it was not granted; shown among the host calls as `denied`. */
  denied(): void {
    this.#count("denied", 1);
  }

  #count(name: string, calls: number): void {
    this.hostCalls[name] = (this.hostCalls[name] ?? 0) + calls;
  }
}
