/** What is kept of a run while it runs, within a bound: too much, and nothing of it is kept. */
import { createHash } from "node:crypto";
import { Fault } from "../../kit/fault.ts";
import { formatTime } from "../../kit/time.ts";
import type { RunRecord } from "../../results/results.ts";
import { newSeed } from "../randomness.ts";
import type { GuestCall, GuestResult, HostFunction } from "../sandbox.ts";
import { NO_SCRUBBER, type Scrubber } from "../scrub.ts";
import {
  compressLines,
  type Digested,
  digested,
  MAX_KEPT_REQUEST_BYTES,
  packed,
  RECORD_VERSION,
  type RunEnd,
  type RunHeader,
  sha256,
} from "./format.ts";

/** Bytes that all tapes of the process hold. */
export interface TapeStock {
  heldBytes: number;
  readonly maxBytes: number;
}

/** Beside its bytes. */
const ENTRY_BYTES = 200;

interface Host {
  readonly name: string;
  readonly request: Uint8Array | Digested;
  answer: Uint8Array | undefined;
  error: Fault | undefined;
}

interface Call {
  readonly given: GuestCall;
  readonly scrubber: Scrubber;
  readonly seed: string;
  readonly host: Host[];
  readonly clock: number[];
  result: GuestResult | undefined;
}

export class Tape {
  readonly #stock: TapeStock;
  readonly #maxBytes: number;
  #calls: Call[] = [];
  #bytes = 0;
  /** It was more than may be kept, or has been dropped: nothing is written down any more. */
  full = false;

  constructor(stock: TapeStock, maxBytes: number) {
    this.#stock = stock;
    this.#maxBytes = maxBytes;
  }

  get empty(): boolean {
    return this.#calls.length === 0;
  }

  /** The same call, with its world written down as it goes by; `end` takes how it ended. */
  record(
    given: GuestCall,
    scrubber: Scrubber = NO_SCRUBBER,
  ): { readonly call: GuestCall; end(result: GuestResult): void } {
    const call: Call = { given, scrubber, seed: given.seed ?? newSeed(), host: [], clock: [], result: undefined };
    if (!this.full) this.#calls.push(call);
    this.#hold(given.input.byteLength);
    const host: HostFunction = async (name, request, signal) => {
      if (this.full) return given.host(name, request, signal);
      const small = request.byteLength <= MAX_KEPT_REQUEST_BYTES;
      const entry: Host = {
        ...{ name, answer: undefined, error: undefined },
        request: small ? request.slice() : digested(scrubber.bytes(request)),
      };
      call.host.push(entry);
      this.#hold(name.length + (small ? request.byteLength : 0));
      try {
        const answer = await given.host(name, request, signal);
        // What comes after the end of the call did not reach the guest.
        if (!signal.aborted) {
          this.#hold(answer.byteLength);
          if (!this.full) entry.answer = answer;
        }
        return answer;
      } catch (thrown) {
        if (!signal.aborted) entry.error = Fault.from(thrown);
        throw thrown;
      }
    };
    const now = () => {
      const nowMs = given.now ? given.now() : Date.now();
      if (!this.full) call.clock.push(nowMs);
      return nowMs;
    };
    return {
      call: { ...given, host, now, seed: call.seed },
      end: (result) => {
        call.result = result;
        this.#hold(result.output.byteLength);
      },
    };
  }

  /** The file, or undefined when there is nothing to keep. */
  file(run: RunRecord, config: unknown): Buffer | undefined {
    if (this.full || this.empty) return undefined;
    const header: RunHeader = {
      millrace_record: RECORD_VERSION,
      run: run.runId,
      fence: String(run.fence),
      ...{ attempt: run.attempt, kind: run.kind, plugin: run.plugin, version: run.version, instance: run.instance },
      ...{ target: run.target, resource: run.resource, module: run.digest, config: sha256(JSON.stringify(config)) },
      ...{ executor: run.executor, started: formatTime(run.startedUs), node: process.version },
    };
    const emitted = createHash("sha256");
    let [emits, emittedBytes] = [0, 0];
    const lines: object[] = [{ run: header }];
    for (const { given, seed, host, clock, result, scrubber } of this.#calls) {
      // Its guest did not run, or was run again elsewhere.
      if (!result) continue;
      const kept = (bytes: Uint8Array) => packed(scrubber.bytes(bytes));
      const limits = {
        ...{ deadline_ms: given.deadlineMs, cpu_ms: given.cpuMs ?? given.deadlineMs },
        ...{ memory_pages: given.memoryMaxPages, output_bytes: given.maxOutputBytes, host_calls: given.maxHostCalls },
        ...(given.maxGas !== undefined && { gas: given.maxGas }),
      };
      lines.push({
        call: { export: given.export, input: kept(given.input), seed, limits, ...(given.reuse && { reused: true }) },
      });
      for (const { name, request, answer, error } of host) {
        const asked = request instanceof Uint8Array ? digested(scrubber.bytes(request)) : request;
        if (name === "emit") {
          emits += 1;
          emittedBytes += asked.bytes;
          emitted.update(asked.sha256);
        }
        const said = answer
          ? { answer: kept(answer) }
          : error && { error: { code: error.code, message: scrubber.text(error.message) } };
        lines.push({ host: { name: scrubber.text(name), request: asked, ...said } });
      }
      const { outcome, output, error } = result;
      lines.push({
        end: {
          outcome,
          output: kept(output),
          ...(error && { error: { ...error, message: scrubber.text(error.message) } }),
          clock,
        },
      });
    }
    const end: RunEnd = {
      ...{ outcome: run.outcome, message: run.message, rows: run.rows },
      emitted: { calls: emits, bytes: emittedBytes, sha256: emitted.digest("hex") },
    };
    return compressLines([...lines, { run_end: end }]);
  }

  /** Forgets everything, and takes no more. */
  drop(): void {
    this.full = true;
    this.#calls = [];
    this.#stock.heldBytes -= this.#bytes;
    this.#bytes = 0;
  }

  #hold(bytes: number): void {
    if (this.full) return;
    this.#bytes += bytes + ENTRY_BYTES;
    this.#stock.heldBytes += bytes + ENTRY_BYTES;
    if (this.#bytes <= this.#maxBytes && this.#stock.heldBytes <= this.#stock.maxBytes) return;
    this.drop();
  }
}
