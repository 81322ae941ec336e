/** `ping`: is something there, how fast, with what certificate. A refusal of the other side is an answer. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { Fault, type Mistake } from "../../kit/fault.ts";
import { openTcp, openTls } from "./connection.ts";
import { type Capability, readRequest } from "./functions.ts";
import type { Endpoint, Reach, Work } from "./reach.ts";

const KINDS = ["tcp", "tls", "icmp"] as const;
const MAX_COUNT = 5;
const DAY_MS = 86_400_000;
/** Node has no ICMP sockets. Looked for here and not on PATH, which somebody else may have set. */
export const PING_BINARIES = ["/usr/bin/ping", "/bin/ping", "/usr/sbin/ping", "/sbin/ping"];
const MAX_OUTPUT_BYTES = 64 * 1_024;

/**
 * `{kind, host, port, count, timeout_ms}` → `{reachable, …}`: a name that does not resolve, a closed port and silence
 * are answers, with a `reason`. What is not granted or not open to guests is an error.
 */
export function pingCapability(reach: Reach): Capability {
  return (bytes, scope) => {
    const raw = readRequest("ping", bytes);
    const { kind, count } = readKind(raw);
    const { host, port, timeout_ms: timeoutMs } = raw;
    const scheme = kind === "icmp" ? "ping" : kind;
    const probe: Work<unknown> = kind === "icmp" ? (at, signal) => echo(at, count, signal) : dial(kind);
    return reach.run("ping", { scheme, host, port, timeoutMs }, scope, probe).catch((thrown) => {
      const { code, message } = Fault.from(thrown);
      if (code !== "unavailable" && code !== "deadline") throw thrown;
      // The guest call itself has ended: nobody hears the answer, and it is none about the other side.
      if (scope.signal.aborted) throw thrown;
      return { reachable: false, reason: code === "deadline" ? "timeout" : "unavailable", message };
    });
  };
}

const dial = (kind: "tcp" | "tls") => async (at: Endpoint, signal: AbortSignal) => {
  const startedMs = performance.now();
  const tcp = await openTcp(at, signal);
  try {
    const connected = { reachable: true, address: tcp.remoteAddress, connect_ms: sinceMs(startedMs) };
    if (kind === "tcp") return connected;
    return { ...connected, ...(await shakeHands(tcp, at.host, signal)) };
  } finally {
    tcp.destroy();
  }
};

/** What the certificate says is reported, whether or not it is to be trusted. */
async function shakeHands(tcp: Socket, host: string, signal: AbortSignal) {
  const startedMs = performance.now();
  const tls = await openTls(tcp, host, false, signal);
  const { name } = tls.getCipher();
  const certificate = certificateFacts(tls, Date.now());
  return { handshake_ms: sinceMs(startedMs), protocol: tls.getProtocol(), cipher: name, certificate };
}

function certificateFacts(tls: TLSSocket, nowMs: number) {
  const shown: Partial<PeerCertificate> = tls.getPeerCertificate();
  const { subject, issuer, valid_from = "", valid_to = "", subjectaltname = "", fingerprint256, serialNumber } = shown;
  const untilMs = Date.parse(valid_to);
  return {
    trusted: tls.authorized,
    ...(!tls.authorized && { problem: String(tls.authorizationError) }),
    subject: subject?.CN ?? "",
    issuer: issuer?.CN ?? "",
    names: subjectaltname === "" ? [] : subjectaltname.split(", "),
    valid_from: timeOf(valid_from),
    valid_until: timeOf(valid_to),
    days_left: Number.isNaN(untilMs) ? null : Math.floor((untilMs - nowMs) / DAY_MS),
    fingerprint256: fingerprint256 ?? "",
    serial: serialNumber ?? "",
  };
}

function timeOf(text: string): string | null {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? null : time.toISOString().replace(".000Z", "Z");
}

async function echo({ addresses }: Endpoint, count: number, signal: AbortSignal) {
  const binary = PING_BINARIES.find((path) => existsSync(path));
  if (!binary) {
    throw new Fault("unimplemented", "this executor has no `ping`: ask with kind tcp, or have it installed");
  }
  // An address, screened and in digits, never a text of the guest's.
  const address = addresses[0] as string;
  const said = await new Promise<string>((resolve, reject) => {
    const options = { signal, env: { LC_ALL: "C" }, maxBuffer: MAX_OUTPUT_BYTES };
    execFile(binary, ["-n", "-c", String(count), address], options, (error, stdout, stderr) => {
      // It ends with 1 when nothing came back, and that is an answer.
      if (!error || (!signal.aborted && /packets transmitted/.test(stdout))) resolve(stdout);
      else reject(signal.aborted ? signal.reason : cannotSend(stderr));
    });
  });
  return { address, ...readEcho(said) };
}

/** In a container without the right to raw sockets there is a `ping`, and it cannot send. */
export function cannotSend(stderr: string): Fault {
  const [why = ""] = stderr.trim().split("\n");
  const fix = "ask with kind tcp, or give it the capability net_raw";
  return new Fault("unimplemented", `the \`ping\` of this executor does not work (${why.slice(0, 200)}): ${fix}`);
}

/** What `ping` prints, of iputils, BusyBox and BSD alike. Pure. */
export function readEcho(said: string) {
  const [, sent = "0", received = "0"] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(said) ?? [];
  const times = /(?:rtt|round-trip)[^=]*= *([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(said);
  const reachable = Number(received) > 0;
  return {
    reachable,
    sent: Number(sent),
    received: Number(received),
    ...(times && { min_ms: Number(times[1]), avg_ms: Number(times[2]), max_ms: Number(times[3]) }),
    ...(!reachable && { reason: "timeout" }),
  };
}

const sinceMs = (startedMs: number) => Math.round((performance.now() - startedMs) * 1_000) / 1_000;

function readKind({ kind: asked = "tcp", count = 1 }: Readonly<Record<string, unknown>>) {
  const mistakes: Mistake[] = [];
  const kind = KINDS.find((known) => known === asked);
  if (!kind) mistakes.push({ field: "kind", problem: `${JSON.stringify(asked)} is not known`, fix: KINDS.join(" ") });
  if (!(Number.isInteger(count) && Number(count) >= 1 && Number(count) <= MAX_COUNT)) {
    mistakes.push({ field: "count", problem: `${JSON.stringify(count)} is not a count`, fix: `1–${MAX_COUNT}` });
  }
  if (mistakes.length || !kind) throw Fault.invalid("ping", mistakes);
  return { kind, count: Number(count) };
}
