/** `snmp`: values of a device by SNMP v2c or v3, single ones or whole subtrees. */
import { isIP } from "node:net";
import snmp, { type Session, type SessionOptions, type Varbind } from "net-snmp";
import { Fault, type Mistake } from "../../kit/fault.ts";
import { NO_SCRUBBER } from "../scrub.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";
import type { Endpoint, Reach } from "./reach.ts";

const DEFAULT_PORT = 161;
const MAX_OIDS = 100;
const MAX_OID_LENGTH = 600;
const MAX_VALUES = 10_000;
const DEFAULT_VALUES = 1_000;
const MAX_REPETITIONS = 50;
const DEFAULT_REPETITIONS = 20;
const MAX_RETRIES = 5;
const OPERATIONS = ["get", "walk"] as const;
const VERSIONS = ["2c", "3"] as const;
/** Keys of SNMP v3 are made of at least so many characters (RFC 3414). */
const MIN_KEY_LENGTH = 8;
const AUTH = ["md5", "sha", "sha224", "sha256", "sha384", "sha512"];
const PRIV = ["des", "aes", "aes256b", "aes256r"];
const NOTHING_THERE = ["NoSuchObject", "NoSuchInstance", "EndOfMibView"];

interface User {
  readonly name: string;
  readonly level: number;
  readonly authProtocol?: number;
  readonly authKey?: string;
  readonly privProtocol?: number;
  readonly privKey?: string;
}

interface Ask {
  readonly op: (typeof OPERATIONS)[number];
  readonly oids: readonly string[];
  readonly community: string;
  /** Of v3; absent: v2c. */
  readonly user: User | undefined;
  readonly retries: number;
  readonly repetitions: number;
  readonly maxValues: number;
}

/**
 * `{op: get|walk, host, port, version: 2c|3, community | user, oids, retries, max_repetitions, max_values, timeout_ms}`
 * → `{values: [{oid, type, value}], truncated}`. Octets that are not text come as `value_base64`; what is not there as
 * type NoSuchObject or NoSuchInstance with null.
 */
export function snmpCapability(reach: Reach): Capability {
  return (bytes, scope) => {
    const raw = readRequest("snmp", bytes);
    const ask = readAsk(raw);
    const { host, port = DEFAULT_PORT, timeout_ms: timeoutMs } = raw;
    return reach.run("snmp", { scheme: "udp", host, port, timeoutMs }, scope, async (at, signal, endMs) => {
      const session = open(at, ask, Math.ceil(endMs / (ask.retries + 1)));
      const { promise: over, reject } = Promise.withResolvers<never>();
      over.catch(() => {});
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      // Without a listener, an answer that is no SNMP would end the process.
      session.on("error", reject);
      try {
        const answer = await Promise.race([ask.op === "get" ? get(session, ask) : walk(session, ask), over]);
        return reach.scrubber === NO_SCRUBBER ? answer : JSON.parse(reach.scrubber.text(JSON.stringify(answer)));
      } catch (thrown) {
        if (signal.aborted) throw signal.reason;
        throw faultOf(at, thrown);
      } finally {
        signal.removeEventListener("abort", abort);
        session.close();
      }
    });
  };
}

function open({ addresses, port, filled }: Endpoint, { community, user, retries }: Ask, timeoutMs: number): Session {
  const address = addresses[0] as string;
  const transport = isIP(address) === 6 ? "udp6" : "udp4";
  const common = { port, timeout: timeoutMs, retries, transport } satisfies Partial<SessionOptions>;
  if (user) return snmp.createV3Session(address, withSecrets(user, filled), { ...common, version: snmp.Version3 });
  return snmp.createSession(address, filled(community), { ...common, version: snmp.Version2c });
}

const withSecrets = (user: User, filled: Endpoint["filled"]): User => ({
  ...user,
  ...(user.authKey !== undefined && { authKey: filled(user.authKey) }),
  ...(user.privKey !== undefined && { privKey: filled(user.privKey) }),
});

function get(session: Session, { oids }: Ask) {
  return new Promise<{ values: unknown[]; truncated: boolean }>((resolve, reject) => {
    session.get([...oids], (error, varbinds) => {
      if (error) reject(error);
      else resolve({ values: varbinds.map(readValue), truncated: false });
    });
  });
}

/** One subtree after the other. */
async function walk(session: Session, { oids, repetitions, maxValues }: Ask) {
  const values: unknown[] = [];
  let truncated = false;
  for (const root of oids) {
    await new Promise<void>((resolve, reject) => {
      let last = root;
      const feed = (varbinds: Varbind[]) => {
        for (const varbind of varbinds) {
          if (values.length >= maxValues) {
            truncated = true;
            return true;
          }
          // A device that goes in circles would keep us for ever.
          if (compareOids(varbind.oid, last) <= 0) {
            reject(new Fault("unavailable", `the device answered ${varbind.oid} after ${last}: it goes in circles`));
            return true;
          }
          last = varbind.oid;
          values.push(readValue(varbind));
        }
        return undefined;
      };
      session.subtree(root, repetitions, feed, (error) => (error ? reject(error) : resolve()));
    });
    if (truncated) break;
  }
  return { values, truncated };
}

/** In the order of a MIB. Pure. */
export function compareOids(a: string, b: string): number {
  const [left, right] = [a.split("."), b.split(".")];
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
    const difference = Number(left[i]) - Number(right[i]);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Counters of 64 bits come as text: a JSON number would lose digits. */
function readValue({ oid, type: code, value }: Varbind) {
  const type = snmp.ObjectType[code] ?? String(code);
  if (NOTHING_THERE.includes(type)) return { oid, type, value: null };
  if (!(value instanceof Uint8Array)) return { oid, type, value };
  if (type === "Counter64")
    return { oid, type, value: String(BigInt(`0x${Buffer.from(value).toString("hex") || "0"}`)) };
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(value);
    // Text without control characters; a hardware address may happen to be UTF-8 too.
    if (/^[^\p{Cc}]*$/u.test(text.replace(/[\t\r\n]/g, ""))) return { oid, type, value: text };
  } catch {}
  return { oid, type, value_base64: Buffer.from(value).toString("base64") };
}

function faultOf({ host, port }: Endpoint, thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  const { name, message } = thrown as Error;
  const said = `snmp://${host}:${port}: ${message}`;
  return new Fault(name === "RequestTimedOutError" ? "deadline" : "unavailable", said, { cause: thrown });
}

function readAsk(raw: Readonly<Record<string, unknown>>): Ask {
  const mistakes: Mistake[] = [];
  const refuse = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  const whole = (field: string, fallback: number, [low, high]: readonly [number, number]) => {
    const value = raw[field] ?? fallback;
    if (Number.isInteger(value) && Number(value) >= low && Number(value) <= high) return Number(value);
    refuse(field, `${said(value)} is out of range`, `${low}–${high}`);
    return fallback;
  };
  const op = OPERATIONS.find((known) => known === (raw.op ?? "get"));
  if (!op) refuse("op", `${said(raw.op)} is not known`, OPERATIONS.join(" "));
  const version = VERSIONS.find((known) => known === String(raw.version ?? "2c"));
  if (!version) refuse("version", `${said(raw.version)} is not known`, VERSIONS.join(" "));
  const oids = Array.isArray(raw.oids) ? raw.oids.map(String) : [];
  if (oids.length < 1 || oids.length > MAX_OIDS) refuse("oids", `has ${oids.length} entries`, `1–${MAX_OIDS}`);
  for (const [i, oid] of oids.slice(0, MAX_OIDS).entries()) {
    if (oid.length > MAX_OID_LENGTH || !/^[0-2](\.\d{1,10}){1,127}$/.test(oid)) {
      refuse(`oids[${i}]`, `${said(oid)} is not an OID`, 'write "1.3.6.1.2.1.1.3.0"');
    }
  }
  const community = raw.community ?? "public";
  if (typeof community !== "string") refuse("community", "is not text", "the community of the device");
  const user = version === "3" ? readUser(raw.user, refuse) : undefined;
  const ask = {
    retries: whole("retries", 1, [0, MAX_RETRIES]),
    repetitions: whole("max_repetitions", DEFAULT_REPETITIONS, [1, MAX_REPETITIONS]),
    maxValues: whole("max_values", DEFAULT_VALUES, [1, MAX_VALUES]),
  };
  if (mistakes.length || !op) throw Fault.invalid("snmp", mistakes);
  return { op, oids, community: String(community), user, ...ask };
}

/** `{name, auth_protocol, auth_key, priv_protocol, priv_key}`: what is given decides the level. */
function readUser(given: unknown, refuse: (field: string, problem: string, fix: string) => void): User | undefined {
  const user = isObject(given) ? given : {};
  const { name } = user;
  if (typeof name !== "string" || name === "") {
    refuse("user.name", "is not set", "the name of the user");
    return undefined;
  }
  const read = (kind: "auth" | "priv", known: readonly string[], codes: Readonly<Record<string, number>>) => {
    const key = user[`${kind}_key`];
    if (key === undefined) return undefined;
    const protocol = String(user[`${kind}_protocol`] ?? (kind === "auth" ? "sha" : "aes")).toLowerCase();
    if (!known.includes(protocol)) refuse(`user.${kind}_protocol`, `"${protocol}" is not known`, known.join(" "));
    if (typeof key !== "string" || key.length < MIN_KEY_LENGTH) {
      refuse(`user.${kind}_key`, "is too short", `${MIN_KEY_LENGTH} characters at least`);
    }
    return { protocol: codes[protocol] ?? 0, key: String(key) };
  };
  const auth = read("auth", AUTH, snmp.AuthProtocols);
  const priv = read("priv", PRIV, snmp.PrivProtocols);
  if (priv && !auth) refuse("user.auth_key", "is not set, but priv_key is", "encryption needs both");
  const { noAuthNoPriv, authNoPriv, authPriv } = snmp.SecurityLevel;
  return {
    name,
    level: priv ? authPriv : auth ? authNoPriv : noAuthNoPriv,
    ...(auth && { authProtocol: auth.protocol, authKey: auth.key }),
    ...(priv && { privProtocol: priv.protocol, privKey: priv.key }),
  };
}
