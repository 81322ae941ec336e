/** Versions that executors have stopped: listed, and released by an operator. Executors write the entries. */
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import type { QuarantinesServer } from "../../proto/gen/millrace/registry/v1/quarantine_service.ts";
import { quarantineKey } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { microsOf } from "../kit/time.ts";
import { pluginAndVersion } from "./names.ts";
import { pageOf } from "./paging.ts";

/** Those that stand now, by key; of one plugin when it is named. */
export async function quarantinesOf(kv: Kv, nowMs: number, plugin = ""): Promise<Quarantine[]> {
  const all = (await kv.list(plugin)).map(({ value }) => Quarantine.decode(value));
  return all.filter(({ expireTime }) => !expireTime || microsOf(expireTime) > BigInt(nowMs) * 1_000n);
}

export function quarantineMethods(kv: Kv, nowMs: () => number): Methods<QuarantinesServer> {
  return {
    async listQuarantines(request) {
      const all = await quarantinesOf(kv, nowMs());
      const { items, nextPageToken } = pageOf(all, request);
      return { quarantines: items, nextPageToken };
    },

    async releaseQuarantine({ name }) {
      pluginAndVersion(name);
      const key = quarantineKey(name, encodeKeyPart);
      const entry = await kv.get(key);
      if (!entry) throw new Fault("not_found", `${name} is not in quarantine`);
      await kv.delete(key, entry.revision);
      return { quarantine: Quarantine.decode(entry.value) };
    },
  };
}
