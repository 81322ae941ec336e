/** Calls an export of an instance in the sandbox, with its limits and the host functions that it was granted. */
import type { Blobs } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Results } from "../results/results.ts";
import type { Subject } from "./catalog.ts";
import { type Capabilities, hostFunctions } from "./host/functions.ts";
import { type HttpPorts, httpCapability } from "./host/http.ts";
import type { GuestKv } from "./host/kv.ts";
import { pingCapability } from "./host/ping.ts";
import { queryCapability } from "./host/query.ts";
import type { Network } from "./host/reach.ts";
import { secretCapability } from "./host/secret.ts";
import { snmpCapability } from "./host/snmp.ts";
import { socketCapability } from "./host/socket.ts";
import { costsMore, MAX_ANSWER_COST } from "./json-cost.ts";
import type { CallLimits, HttpGate } from "./limits.ts";
import type { Quarantines } from "./quarantine.ts";
import type { GuestCall, GuestResult, Sandbox } from "./sandbox.ts";
import { scrubbedHost, scrubbedResult } from "./scrub.ts";
import type { Vault } from "./secrets.ts";
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

export interface GuestPorts {
  readonly sandbox: Sandbox;
  readonly blobs: Blobs;
  readonly results: Pick<Results, "query">;
  readonly http: HttpPorts;
  readonly network: Network;
  readonly kv: GuestKv;
  readonly vault: Vault;
  readonly quarantines: Pick<Quarantines, "note" | "stop">;
}

export function guestsOf({ sandbox, blobs, results, http, network, kv, vault, quarantines }: GuestPorts): Guests {
  const gates = new WeakMap<Subject, HttpGate>();
  const gateOf = (subject: Subject) => {
    const gate = gates.get(subject) ?? { open: 0 };
    gates.set(subject, gate);
    return gate;
  };
  return {
    async call({ subject, export: name, input, limits, signal, tally, extra, nested = false, onHostCall }) {
      const { instance, grants, release } = subject;
      const { manifest } = release;
      const denied = () => tally.denied();
      const secrets = vault.of(grants);
      const reach = network.of({ instance, grants, secrets, onDenied: denied });
      const capabilities: Capabilities = {
        http: httpCapability({ instance, grants, secrets, onDenied: denied }, http),
        secret: secretCapability(secrets, denied),
        kv: kv.of(instance, grants.kv, denied),
        query: queryCapability(results, grants.query, denied),
        socket: socketCapability(reach),
        ping: pingCapability(reach),
        snmp: snmpCapability(reach),
        ...extra,
      };
      const host = scrubbedHost(hostFunctions(capabilities, limits, gateOf(subject)), secrets.scrubber);
      if (release.moduleBytes > limits.maxModuleBytes) return tooLarge(release.moduleBytes, limits);
      const given: GuestCall = {
        module: { digest: release.moduleDigest, load: () => blobs.get(release.moduleDigest) },
        export: name,
        input,
        deadlineMs: limits.timeoutMs,
        cpuMs: limits.cpuMs,
        memoryMaxPages: limits.memoryMaxPages,
        maxOutputBytes: limits.maxOutputBytes,
        maxHostCalls: limits.maxHostCalls,
        ...(manifest &&
          manifest.reuse > 1 && { reuse: { key: `${release.moduleDigest}/${instance}`, calls: manifest.reuse } }),
        ...(manifest?.isolation === "dedicated" && { lane: subject.plugin }),
        ...(manifest?.metered && { maxGas: limits.maxGas }),
        host: (called, request, ended) => {
          onHostCall?.();
          return host(called, request, ended);
        },
        signal,
        nested,
        onStuck: () => quarantines.stop(release, `the thread of a call of "${name}" could not be ended`),
        label: `${instance}/${name}`,
      };
      const taped = tally.tape?.record(given, secrets.scrubber);
      try {
        const result = scrubbedResult(parseable(await sandbox.call(taped?.call ?? given)), secrets.scrubber);
        taped?.end(result);
        tally.add(result.usage);
        quarantines.note(release, result);
        return result;
      } catch (thrown) {
        const fault = Fault.from(thrown);
        if (fault.code === "unavailable" || fault.code === "exhausted") return { outcome: "not_run", fault };
        throw fault;
      }
    },
  };
}

/** Whoever gets the answer parses it, here or in a gateway, on a thread that all share. */
function parseable(result: GuestResult): GuestResult {
  if (result.outcome !== "ok" || !costsMore(result.output, MAX_ANSWER_COST)) return result;
  const message = "the answer has over 600,000 lists and records, 6,000,000 values, or 200,000 different keys";
  const error = { code: "too_large", message, retryable: false };
  return { outcome: "guest_error", output: new Uint8Array(0), error, usage: result.usage };
}

/** Published before the operator lowered the ceiling. */
function tooLarge(bytes: bigint, { maxModuleBytes }: CallLimits): GuestResult {
  const message = `the module has ${bytes} bytes; the limit is ${maxModuleBytes}`;
  return {
    outcome: "guest_error",
    output: new Uint8Array(0),
    error: { code: "too_large", message, retryable: false },
    usage: { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 },
  };
}
