/** Plays a recorded run back in the real sandbox, with nothing else: every answer comes from the record. */
import { Fault, type FaultCode, faultCodes } from "../../kit/fault.ts";
import type { GuestResult, HostFunction, Sandbox } from "../sandbox.ts";
import { digested, type HostEntry, type RecordedCall, type RunRecording, sha256, unpacked } from "./format.ts";

/** Where a replay leaves its record. */
export interface Difference {
  /** `call 2, host call 7`. */
  readonly where: string;
  readonly recorded: string;
  readonly replayed: string;
}

export interface Replayed {
  readonly calls: number;
  readonly hostCalls: number;
  readonly differences: readonly Difference[];
}

/** Calls that may differ are not gone on with: after the first difference of a call the record fits no more. */
export async function replayRun(recording: RunRecording, module: Uint8Array, sandbox: Sandbox): Promise<Replayed> {
  const digest = sha256(module);
  const differences: Difference[] = [];
  let hostCalls = 0;
  for (const [at, recorded] of recording.calls.entries()) {
    const replay = new CallReplay(recorded, `call ${at + 1}`);
    differences.push(...(await replay.run({ digest, load: async () => module }, sandbox)));
    hostCalls += replay.asked;
  }
  return { calls: recording.calls.length, hostCalls, differences };
}

class CallReplay {
  readonly #recorded: RecordedCall;
  readonly #where: string;
  readonly #differences: Difference[] = [];
  readonly #stop = new AbortController();
  #clockAt = 0;
  /** The guest has come to where its call was ended from outside. */
  #reachedEnd = false;
  asked = 0;

  constructor(recorded: RecordedCall, where: string) {
    this.#recorded = recorded;
    this.#where = where;
  }

  async run(module: Parameters<Sandbox["call"]>[0]["module"], sandbox: Sandbox): Promise<readonly Difference[]> {
    const { call, end, host } = this.#recorded;
    const { limits } = call;
    const result = await sandbox.call({
      module,
      export: call.export,
      input: unpacked(call.input),
      deadlineMs: limits.deadline_ms,
      cpuMs: limits.cpu_ms,
      memoryMaxPages: limits.memory_pages,
      maxOutputBytes: limits.output_bytes,
      maxHostCalls: limits.host_calls,
      ...(limits.gas !== undefined && { maxGas: limits.gas }),
      host: this.#host,
      now: () => end?.clock[this.#clockAt++] ?? end?.clock.at(-1) ?? 0,
      seed: call.seed,
      signal: this.#stop.signal,
      label: `replay/${call.export}`,
    });
    if (this.#stop.signal.aborted) return this.#differences;
    if (this.asked < host.length) {
      this.#differ(`then`, shownHost(host[this.asked]), "no more host calls");
    }
    if (end) this.#compare(result);
    return this.#differences;
  }

  readonly #host: HostFunction = async (name, request, signal) => {
    const entry = this.#recorded.host[this.asked];
    this.asked += 1;
    const { bytes, sha256: digest, ...kept } = digested(request);
    if (!entry || entry.name !== name || entry.request.sha256 !== digest) {
      const asked: HostEntry = { name, request: { bytes, sha256: digest, ...kept } };
      this.#differ(`host call ${this.asked}`, entry ? shownHost(entry) : "no more host calls", shownHost(asked));
      return this.#end(signal);
    }
    if (entry.answer) return unpacked(entry.answer);
    if (entry.error) throw new Fault(codeOf(entry.error.code), entry.error.message);
    this.#reachedEnd = true;
    return this.#end(signal);
  };

  /** Ends the guest: what comes after is not in the record. */
  #end(signal: AbortSignal): Promise<Uint8Array> {
    const ended = new Promise<Uint8Array>((_, reject) => {
      signal.addEventListener("abort", () => reject(new Fault("cancelled", "the replay ended here")), { once: true });
    });
    this.#stop.abort(new Fault("cancelled", this.#reachedEnd ? "as far as the record goes" : "the replay differs"));
    return ended;
  }

  #compare(result: GuestResult): void {
    const { end } = this.#recorded;
    if (!end) return;
    if (result.outcome !== end.outcome) this.#differ("outcome", said(end), said(result));
    else if (JSON.stringify(result.error?.code) !== JSON.stringify(end.error?.code)) {
      this.#differ("error", said(end), said(result));
    } else if (result.error?.message !== end.error?.message && MESSAGE_COUNTS.includes(result.outcome)) {
      this.#differ("error", said(end), said(result));
    }
    const recorded = unpacked(end.output);
    if (Buffer.compare(recorded, result.output) !== 0) this.#differ("output", ...around(recorded, result.output));
  }

  #differ(what: string, recorded: string, replayed: string): void {
    this.#differences.push({ where: `${this.#where}, ${what}`, recorded, replayed });
  }
}

/** Of the others the message has figures of the machine in it. */
const MESSAGE_COUNTS = ["ok", "guest_error", "denied", "host_error"];
const SHOWN_CHARACTERS = 400;

const codeOf = (code: string): FaultCode => faultCodes.find((one) => one === code) ?? "internal";
const said = ({
  outcome,
  error,
}: Pick<GuestResult, "outcome" | "error"> | { outcome: string; error?: GuestResult["error"] }) =>
  error ? `${outcome}: ${error.code}: ${error.message}` : outcome;

function shownHost(entry: HostEntry | undefined): string {
  if (!entry) return "nothing";
  const { text, bytes, sha256: digest } = entry.request;
  const shown = text === undefined ? `${bytes} bytes, sha256 ${digest}` : text.slice(0, SHOWN_CHARACTERS);
  return `${entry.name} ${shown}`;
}

/** Both from a little before where they part. */
function around(recorded: Uint8Array, replayed: Uint8Array): readonly [string, string] {
  let at = 0;
  while (at < recorded.length && recorded[at] === replayed[at]) at += 1;
  const from = Math.max(0, at - 40);
  const show = (bytes: Uint8Array) => {
    const piece = Buffer.from(bytes.subarray(from, from + SHOWN_CHARACTERS)).toString("utf8");
    return `${bytes.length} bytes, from ${from}: ${piece}`;
  };
  return [show(recorded), show(replayed)];
}
