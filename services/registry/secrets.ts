/** Secrets: sealed when they come in, never opened for anybody who asks. */
import type { SealedSecret, Secret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import type { SecretsServer } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import {
  HOST_FIX,
  MAX_SECRET_BYTES,
  MIN_SECRET_BYTES,
  parseSecretHost,
  parseSecretKeys,
  SECRET_KEY_ENV,
  SECRET_KEY_FIX,
  type SecretKey,
  seal,
  unseal,
} from "../../proto/secrets.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import type { Logger } from "../kit/log.ts";
import { keeperMistakes } from "./masks.ts";
import { idOf, nameMistakes, shown } from "./names.ts";
import { pageOf } from "./paging.ts";
import { type Store, stale } from "./store.ts";

const MAX_HOSTS = 20;

/** The first key seals. Errors: `invalid`, without the text. */
export function readSecretKeys(text: string): readonly SecretKey[] {
  const keys = parseSecretKeys(text);
  if (keys) return keys;
  throw Fault.invalid("bad configuration", [
    { field: SECRET_KEY_ENV, problem: "(hidden) is not a key", fix: SECRET_KEY_FIX },
  ]);
}

export function secretMethods(store: Store, keys: readonly SecretKey[]): Methods<SecretsServer> {
  const { secrets } = store;
  return {
    async setSecret({ name, value, hosts, etag, managedBy, validateOnly = false }) {
      refuse([
        ...nameMistakes(idOf(name, "secrets"), "name"),
        ...valueMistakes(value),
        ...hostMistakes(hosts),
        ...keeperMistakes(managedBy ?? ""),
      ]);
      const [key] = keys;
      if (!key) {
        throw new Fault("precondition", `secrets cannot be sealed: ${SECRET_KEY_ENV} of the registry is not set`);
      }
      const sealed = { name, hosts, ...seal(key, { name, hosts }, value) };
      return await store.alone(async () => {
        const now = store.now();
        const known = await secrets.find(name);
        if (etag !== "" && etag !== known?.etag) throw stale(name, etag, known?.etag);
        const before = known && JSON.stringify([unseal(keys, known), known.hosts, known.managedBy]);
        // Who sets a value by hand leaves it to its keeper.
        const kept = managedBy ?? known?.managedBy ?? "";
        const changed = before !== JSON.stringify([value, hosts, kept]);
        if (validateOnly) return { secret: known && withoutValue(known), changed };
        const stored = known
          ? await secrets.change(name, etag, now, (current) => ({ ...current, ...sealed, managedBy: kept }))
          : await secrets.create(
              { ...sealed, managedBy: kept, createTime: undefined, updateTime: undefined, etag: "" },
              now,
            );
        return { secret: withoutValue(stored), changed };
      });
    },

    async listSecrets(request) {
      const { items, nextPageToken } = pageOf(await secrets.list(), request);
      return { secrets: items.map(withoutValue), nextPageToken };
    },

    async deleteSecret({ name, etag }) {
      const { etag: current } = await secrets.get(name);
      if (etag !== "" && etag !== current) throw stale(name, etag, current);
      await secrets.remove(name, etag);
      return {};
    },
  };
}

/** After a change of keys: what an older key sealed is sealed anew, so that the older one can be taken away. */
export async function sealAnew(store: Store, keys: readonly SecretKey[], log: Logger): Promise<void> {
  const [key] = keys;
  if (!key) return;
  for (const secret of await store.secrets.list()) {
    if (secret.keyId === key.id) continue;
    const value = unseal(keys, secret);
    if (value === undefined) log.error({ name: secret.name }, "a secret cannot be opened: its key is not here");
    else {
      const again = (current: SealedSecret) => ({ ...current, ...seal(key, current, value) });
      await store.secrets.change(secret.name, secret.etag, store.now(), again);
    }
  }
}

function withoutValue({ name, hosts, createTime, updateTime, etag, managedBy }: SealedSecret): Secret {
  return { name, hosts, createTime, updateTime, etag, managedBy };
}

/** Says nothing of the value but its length. */
function valueMistakes(value: string): Mistake[] {
  const bytes = Buffer.byteLength(value);
  if (bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES && value.isWellFormed()) return [];
  const problem = `has ${bytes} bytes`;
  return [{ field: "value", problem, fix: `${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes of UTF-8` }];
}

function hostMistakes(hosts: readonly string[]): Mistake[] {
  const many = { field: "hosts", problem: `has ${hosts.length} entries`, fix: `at most ${MAX_HOSTS}` };
  const bad = hosts.slice(0, MAX_HOSTS).flatMap((host, i) => {
    return parseSecretHost(host) ? [] : [{ field: `hosts[${i}]`, problem: `${shown(host)} is no host`, fix: HOST_FIX }];
  });
  return hosts.length > MAX_HOSTS ? [many, ...bad] : bad;
}

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("secret", mistakes);
}
