/** The catalogue stream: everything the registry owns, then every change, for one reader at its own pace. */
import type { CatalogServer, WatchCatalogResponse } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { Fault } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import type { CollectionChange, Store } from "./store.ts";

type Change = NonNullable<WatchCatalogResponse["change"]>;

export function catalogMethods(store: Store): Methods<CatalogServer> {
  return {
    async *watchCatalog(_, { signal }): AsyncGenerator<WatchCatalogResponse> {
      // Nothing of what refers to something comes before it.
      const sources = [
        changes(store.plugins.watch(signal), (value) => ({ $case: "plugin", value })),
        changes(store.versions.watch(signal), (value) => ({ $case: "version", value })),
        changes(store.instances.watch(signal), (value) => ({ $case: "instance", value })),
        changes(store.pipes.watch(signal), (value) => ({ $case: "pipe", value })),
        changes(store.pollers.watch(signal), (value) => ({ $case: "poller", value })),
        changes(store.resources.watch(signal), (value) => ({ $case: "resource", value })),
      ];
      for (const source of sources) {
        for (;;) {
          const next = await source.next();
          if (next.done) throw broken();
          const change = next.value;
          if (change.$case === "synced") break;
          yield { change };
        }
      }
      yield { change: { $case: "synced", value: true } };
      for await (const change of together(sources, signal)) yield { change };
    },
  };
}

const broken = () => new Fault("unavailable", "the bus ended the watch; start anew");

async function* changes<T>(
  source: AsyncIterable<CollectionChange<T>>,
  put: (value: T) => Change,
): AsyncGenerator<Change, void> {
  for await (const change of source) {
    if (change.type === "put") yield put(change.value);
    else if (change.type === "delete") yield { $case: "removed", value: change.name };
    else yield { $case: "synced", value: true };
  }
}

/**
 * Several streams as one. Holds at most one change of each: what waits, waits in the bus, which keeps only the newest.
 */
async function* together<T>(sources: readonly AsyncGenerator<T>[], signal: AbortSignal): AsyncGenerator<T> {
  const waiting: { readonly change: T; readonly taken: () => void }[] = [];
  let failure: Fault | undefined;
  let wake = () => {};
  const pump = async (source: AsyncGenerator<T>) => {
    try {
      for await (const change of source) {
        await new Promise<void>((taken) => {
          waiting.push({ change, taken });
          wake();
        });
      }
      failure ??= broken();
    } catch (thrown) {
      failure ??= Fault.from(thrown);
    }
    wake();
  };
  for (const source of sources) void pump(source);
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      const next = waiting.shift();
      if (next) {
        yield next.change;
        next.taken();
      } else if (failure) throw failure;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    for (const { taken } of waiting) taken();
  }
}
