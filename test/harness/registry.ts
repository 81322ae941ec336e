/** A registry on a free port over a given bus, and a client for it. */
import type { MethodDefinition } from "@grpc/grpc-js";
import { type CatalogChange, catalogChange } from "../../proto/catalog.ts";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import type { Bus } from "../../services/bus/ports.ts";
import type { Config } from "../../services/kit/config.ts";
import { readConfig } from "../../services/kit/config.ts";
import { ask, connect, listen } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { settings, start } from "../../services/registry/main.ts";

export interface TestRegistry extends AsyncDisposable {
  readonly address: string;
  call<I, O>(method: MethodDefinition<I, O>, request: I, deadlineMs?: number): Promise<O>;
  /** Follows the catalogue until the signal aborts. */
  watch(signal: AbortSignal): { readonly changes: CatalogChange[]; readonly ended: Promise<void> };
}

export async function startRegistry(bus: Bus, over: Partial<Config<typeof settings>> = {}): Promise<TestRegistry> {
  const config = readConfig(settings, {}, { listen: "127.0.0.1:0", ...over });
  const registry = await start(config, { bus, log: silentLog });
  const channel = connect(registry.address);
  return {
    address: registry.address,
    call: (method, request, deadlineMs = 10_000) => ask(channel, method, request, { deadlineMs }),
    watch(signal) {
      const changes: CatalogChange[] = [];
      const follow = async () => {
        for await (const response of listen(channel, CatalogService.watchCatalog, {}, { signal })) {
          const change = catalogChange(response);
          if (change) changes.push(change);
        }
      };
      return { changes, ended: follow() };
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      channel.close();
    },
  };
}
