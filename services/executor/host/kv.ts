/** `kv`: an instance's own small values, with compare-and-set. */
import { decodeKeyPart, encodeKeyPart } from "../../bus/keys.ts";
import type { Kv, KvEntry } from "../../bus/ports.ts";
import { Fault } from "../../kit/fault.ts";
import { type Capability, readRequest } from "./functions.ts";

export const MAX_KV_KEYS = 1_000;
export const MAX_KV_VALUE_BYTES = 64 * 1_024;
export const MAX_KV_KEY_BYTES = 256;
/** Of one `list`. */
const MAX_LIST_BYTES = 4 << 20;
/** How long a count of keys is trusted. Executors count for themselves, so the quota may be overshot by a few keys. */
const COUNT_FOR_MS = 10_000;

const OPERATIONS = ["get", "put", "create", "update", "delete", "list"];

/** For all instances of an executor. */
export interface GuestKv {
  of(instance: string, granted: boolean, onDenied: () => void): Capability;
}

export function guestKv(kv: Kv): GuestKv {
  const counts = new Map<string, { keys: number; readonly atMs: number }>();

  /** Errors: `exhausted` when the instance has as many keys as it may. */
  const admit = async (prefix: string, key: string) => {
    if (await kv.get(key)) return;
    let count = counts.get(prefix);
    if (!count || performance.now() - count.atMs > COUNT_FOR_MS) {
      count = { keys: (await kv.list(prefix)).length, atMs: performance.now() };
      counts.set(prefix, count);
    }
    if (count.keys >= MAX_KV_KEYS)
      throw new Fault("exhausted", `${count.keys} keys are stored; at most ${MAX_KV_KEYS}`);
    count.keys += 1;
  };

  return {
    of: (instance, granted, onDenied) => async (bytes) => {
      if (!granted) {
        onDenied();
        throw new Fault("denied", "kv is not granted; the manifest must ask for it and the operator allow it");
      }
      const asked = readRequest("kv", bytes);
      const op = OPERATIONS.find((name) => name === asked.op);
      const name = asked.key ?? "";
      if (
        !op ||
        typeof name !== "string" ||
        Buffer.byteLength(name) > MAX_KV_KEY_BYTES ||
        (name === "" && op !== "list")
      ) {
        throw Fault.invalid("kv", [
          { field: "op", problem: `${JSON.stringify(asked.op)}`, fix: OPERATIONS.join(" ") },
          { field: "key", problem: "text", fix: `1 to ${MAX_KV_KEY_BYTES} bytes` },
        ]);
      }
      const prefix = encodeKeyPart(instance);
      const key = `${prefix}.${encodeKeyPart(name)}`;
      switch (op) {
        case "get": {
          const entry = await kv.get(key);
          return entry ? { value: storedValue(entry), revision: Number(entry.revision) } : {};
        }
        case "list":
          return { entries: listed(await kv.list(prefix), prefix, name) };
        case "delete":
          await kv.delete(key, asked.revision === undefined ? undefined : revisionOf(asked.revision));
          counts.delete(prefix);
          return {};
        case "update":
          return { revision: Number(await kv.update(key, encodeValue(asked.value), revisionOf(asked.revision))) };
        default: {
          const value = encodeValue(asked.value);
          await admit(prefix, key);
          return { revision: Number(await (op === "create" ? kv.create(key, value) : kv.put(key, value))) };
        }
      }
    },
  };
}

function listed(entries: readonly KvEntry[], prefix: string, wanted: string) {
  const found = entries
    .map((entry) => ({ entry, key: decodeKeyPart(entry.key.slice(prefix.length + 1)) }))
    .filter(({ key }) => key.startsWith(wanted));
  const bytes = found.reduce((sum, { entry }) => sum + entry.value.byteLength, 0);
  if (bytes > MAX_LIST_BYTES) {
    throw new Fault(
      "too_large",
      `the values below ${JSON.stringify(wanted)} are ${bytes} bytes; at most ${MAX_LIST_BYTES}`,
    );
  }
  return found.map(({ entry, key }) => ({ key, value: storedValue(entry), revision: Number(entry.revision) }));
}

const storedValue = (entry: KvEntry) => JSON.parse(Buffer.from(entry.value).toString("utf8")) as unknown;

function encodeValue(value: unknown): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(value ?? null));
  if (bytes.byteLength <= MAX_KV_VALUE_BYTES) return bytes;
  throw new Fault("too_large", `the value is ${bytes.byteLength} bytes; at most ${MAX_KV_VALUE_BYTES}`);
}

function revisionOf(raw: unknown): bigint {
  const revision = Number(raw);
  if (Number.isSafeInteger(revision) && revision >= 0) return BigInt(revision);
  throw Fault.invalid("kv", [
    { field: "revision", problem: `${JSON.stringify(raw)} is not one`, fix: "as `get` gave it" },
  ]);
}
