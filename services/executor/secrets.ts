/** The secrets that instances were granted: opened here, from what the registry sealed on the bus, by the same key. */
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { bare } from "../../proto/names.ts";
import {
  parseSecretHost,
  parseSecretKeys,
  SECRET_KEY_ENV,
  SECRET_KEY_FIX,
  type SecretKey,
  unseal,
} from "../../proto/secrets.ts";
import { decodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { type MirrorChange, mirror } from "../kit/mirror.ts";
import type { EffectiveGrants } from "./grants.ts";
import { NO_SCRUBBER, type Scrubber, scrubberOf } from "./scrub.ts";

const SYNC_MS = 30_000;
/** Values of one name that are still scrubbed after they were replaced: what runs may have got the older one. */
const REMEMBERED = 4;

/** What one instance may do with secrets. */
export interface InstanceSecrets {
  /**
   * The value, to be put into a request to this URL. Errors: `denied` when it is not granted, or not for this host;
   * `not_found`; `precondition` when it cannot be opened here.
   */
  valueFor(name: string, url: URL): string;
  /** The value for the guest itself. Errors: as above; `denied` unless both sides say `name!`. */
  plainValue(name: string): string;
  readonly scrubber: Scrubber;
}

export const NO_SECRETS: InstanceSecrets = {
  valueFor: (name) => refuse(name),
  plainValue: (name) => refuse(name),
  scrubber: NO_SCRUBBER,
};

export interface Vault extends AsyncDisposable {
  of(grants: Pick<EffectiveGrants, "secrets">): InstanceSecrets;
}

interface Opened {
  /** Undefined when no key here opens it. */
  readonly value: string | undefined;
  readonly hosts: readonly string[];
}

/** Resolves once all are known. Errors: `invalid` for a text that is no key, without the text; `deadline`. */
export async function openVault(kv: Kv, keysText: string, log: Logger): Promise<Vault> {
  const keys = parseSecretKeys(keysText);
  if (!keys) {
    const mistake = { field: SECRET_KEY_ENV, problem: "(hidden) is not a key", fix: SECRET_KEY_FIX };
    throw Fault.invalid("bad configuration", [mistake]);
  }
  const seen = new Map<string, string[]>();
  const entries = mirror<Opened>("secrets", (signal) => openedChanges(kv, keys, seen, signal), log);
  let version = 0;
  entries.onChange(() => {
    version += 1;
  });
  await entries.whenSynced(SYNC_MS);
  const made = new WeakMap<object, { readonly version: number; readonly secrets: InstanceSecrets }>();
  return {
    of(grants) {
      if (grants.secrets.size === 0) return NO_SECRETS;
      const known = made.get(grants);
      if (known?.version === version) return known.secrets;
      const values = [...grants.secrets.keys()].flatMap((name) => seen.get(name) ?? []);
      const find = (name: string) => entries.get(name);
      const secrets = { ...granted(grants.secrets, find), scrubber: scrubberOf(values) };
      made.set(grants, { version, secrets });
      return secrets;
    },
    [Symbol.asyncDispose]: () => entries[Symbol.asyncDispose](),
  };
}

function granted(
  names: EffectiveGrants["secrets"],
  find: (name: string) => Opened | undefined,
): Omit<InstanceSecrets, "scrubber"> {
  const open = (name: string) => {
    if (!names.has(name)) refuse(name);
    const secret = find(name);
    if (!secret) throw new Fault("not_found", `the secret ${name} is granted, but there is none; set it first`);
    const { value, hosts } = secret;
    if (value === undefined) {
      throw new Fault("precondition", `the secret ${name} cannot be opened: ${SECRET_KEY_ENV} of the executor differs`);
    }
    return { value, hosts };
  };
  return {
    valueFor(name, url) {
      const { value, hosts } = open(name);
      if (hosts.some((host) => parseSecretHost(host)?.(url))) return value;
      if (hosts.length) throw new Fault("denied", `the secret ${name} may not be sent to ${url.host}`);
      if (url.protocol === "https:") return value;
      throw new Fault("denied", `the secret ${name} is sent without TLS only to hosts that it names`);
    },
    plainValue(name) {
      if (names.get(name)) return open(name).value;
      const why = names.has(name) ? "may be used, but not read" : "is not granted";
      throw new Fault("denied", `the secret ${name} ${why}; manifest and operator must both say "${name}!"`);
    },
  };
}

function refuse(name: string): never {
  const fix = "the manifest must name it and the operator allow it";
  throw new Fault("denied", `the secret ${name} is not granted; ${fix}`);
}

async function* openedChanges(
  kv: Kv,
  keys: readonly SecretKey[],
  seen: Map<string, string[]>,
  signal: AbortSignal,
): AsyncGenerator<MirrorChange<Opened>> {
  for await (const change of kv.watch("", signal)) {
    if (change.type !== "put") {
      yield change.type === "synced" ? change : { type: "delete", key: decodeKeyPart(change.key) };
      continue;
    }
    const sealed = SealedSecret.decode(change.value);
    const name = bare(sealed.name);
    // An entry moved to another key would pass for another secret.
    const value = name === decodeKeyPart(change.key) ? unseal(keys, sealed) : undefined;
    const before = seen.get(name) ?? [];
    if (value !== undefined && !before.includes(value)) seen.set(name, [...before, value].slice(-REMEMBERED));
    yield { type: "put", key: decodeKeyPart(change.key), value: { value, hosts: sealed.hosts } };
  }
}
