/** Calls an export of an instance in the sandbox, with its limits and the host functions that it was granted. */
import type { Blobs } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Results } from "../results/results.ts";
import type { Subject } from "./catalog.ts";
import type { Dialer } from "./host/dialer.ts";
import { type Capabilities, hostFunctions } from "./host/functions.ts";
import { httpCapability } from "./host/http.ts";
import type { GuestKv } from "./host/kv.ts";
import { queryCapability } from "./host/query.ts";
import type { CallLimits, HttpGate } from "./limits.ts";
import type { GuestResult, Sandbox } from "./sandbox.ts";
import type { Tally } from "./tally.ts";

export interface GuestRun {
  readonly subject: Subject;
  readonly export: string;
  /** JSON. */
  readonly input: Uint8Array;
  readonly limits: CallLimits;
  readonly signal: AbortSignal;
  readonly tally: Tally;
  /** Beside those of every call (http, kv, query): what this kind of run has. */
  readonly extra: Capabilities;
  /** Called by another guest. */
  readonly nested?: boolean;
  /** Told before each host call: from then on the call may have had effects. */
  readonly onHostCall?: () => void;
}

/** The guest did not run, or was stopped through no fault of its own: the work can be done again elsewhere. */
export interface NotRun {
  readonly outcome: "not_run";
  readonly fault: Fault;
}

export interface Guests {
  call(run: GuestRun): Promise<GuestResult | NotRun>;
}

export function guestsOf(sandbox: Sandbox, blobs: Blobs, results: Results, dialer: Dialer, kv: GuestKv): Guests {
  const gates = new WeakMap<Subject, HttpGate>();
  const gateOf = (subject: Subject) => {
    const gate = gates.get(subject) ?? { open: 0 };
    gates.set(subject, gate);
    return gate;
  };
  return {
    async call({ subject, export: name, input, limits, signal, tally, extra, nested = false, onHostCall }) {
      const { instance, grants, release } = subject;
      const denied = () => tally.denied();
      const capabilities: Capabilities = {
        http: httpCapability(grants, dialer, denied),
        kv: kv.of(instance, grants.kv, denied),
        query: queryCapability(results, grants.query, denied),
        ...extra,
      };
      const host = hostFunctions(capabilities, limits, gateOf(subject));
      try {
        const result = await sandbox.call({
          module: { digest: release.moduleDigest, load: () => blobs.get(release.moduleDigest) },
          export: name,
          input,
          deadlineMs: limits.timeoutMs,
          cpuMs: limits.cpuMs,
          memoryMaxPages: limits.memoryMaxPages,
          maxOutputBytes: limits.maxOutputBytes,
          maxHostCalls: limits.maxHostCalls,
          host: (called, request, ended) => {
            onHostCall?.();
            return host(called, request, ended);
          },
          signal,
          nested,
          label: `${instance}/${name}`,
        });
        tally.add(result.usage);
        return result;
      } catch (thrown) {
        const fault = Fault.from(thrown);
        if (fault.code === "unavailable" || fault.code === "exhausted") return { outcome: "not_run", fault };
        throw fault;
      }
    },
  };
}
