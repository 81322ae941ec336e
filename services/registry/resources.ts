/** Resources: what can be polled, made by hand or found by a discovery. */
import { filteredFields, RESOURCE_VARIABLE } from "../../proto/catalog.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import type { ResourcesServer } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { compilePredicate } from "../kit/predicate.ts";
import { changedFields, keeperMistakes } from "./masks.ts";
import { nameMistakes } from "./names.ts";
import { pageOf } from "./paging.ts";
import { expired, replacement, resourceMistakes } from "./replacement.ts";
import { type Store, stale } from "./store.ts";

const TEXTS = ["id", "site", "class", "subclass", "type", "endpoint", "ttl"] as const;
const CHANGEABLE = [...TEXTS, "labels", "managed_by"];
/** Writes at once, of up to 10,000. */
const PARALLEL_WRITES = 64;

export function resourceMethods(store: Store): Methods<ResourcesServer> {
  return {
    async createResource({ resource: given, resourceId }) {
      if (!given) throw Fault.invalid("resource", [{ field: "resource", problem: "is not set" }]);
      refuse([
        ...nameMistakes(resourceId, "resource_id", "resource"),
        ...resourceMistakes(given, ""),
        ...keeperMistakes(given.managedBy),
      ]);
      const made = { ...given, name: `resources/${resourceId}`, id: given.id || resourceId, origin: "", etag: "" };
      return { resource: await store.resources.create(made, store.now()) };
    },

    async getResource({ name }) {
      return { resource: await store.resources.get(name) };
    },

    async listResources(request) {
      const all = await store.resources.list();
      const holds = request.filter && compilePredicate(request.filter, RESOURCE_VARIABLE, "filter");
      const { items, nextPageToken } = pageOf(holds ? all.filter((one) => holds(filteredFields(one))) : all, request);
      return { resources: items, nextPageToken };
    },

    async updateResource({ resource: given, updateMask }) {
      if (!given) throw Fault.invalid("resource", [{ field: "resource", problem: "is not set" }]);
      const isSet = (path: string) => {
        if (path === "labels") return Object.keys(given.labels).length > 0;
        return path === "managed_by" ? given.managedBy !== "" : TEXTS.some((t) => t === path && given[t] !== "");
      };
      const fields = changedFields(updateMask, CHANGEABLE, isSet);
      const resource = await store.resources.change(given.name, given.etag, store.now(), (current) => {
        if (current.origin !== "") {
          throw new Fault("precondition", `${current.name} belongs to the discovery of ${current.origin}`);
        }
        const next = { ...current };
        for (const text of TEXTS) if (fields.has(text)) next[text] = given[text];
        if (fields.has("labels")) next.labels = given.labels;
        if (fields.has("managed_by")) next.managedBy = given.managedBy;
        refuse([...resourceMistakes(next, ""), ...keeperMistakes(next.managedBy)]);
        return next;
      });
      return { resource };
    },

    async deleteResource({ name, etag }) {
      const resource = await store.resources.get(name);
      if (etag !== "" && etag !== resource.etag) throw stale(name, etag, resource.etag);
      await store.resources.remove(name, etag);
      return {};
    },

    async replaceResources({ origin, resources, complete }) {
      return await store.alone(async () => {
        await store.instances.get(origin);
        const now = store.now();
        const stored = await store.resources.list();
        const { create, update, changed, remove } = replacement(stored, origin, resources, complete, now);
        await inParallel(create, (resource) => store.resources.create(resource, now));
        await inParallel(update, (resource) => {
          const seen = (current: Resource) => ({ ...resource, createTime: current.createTime });
          return store.resources.change(resource.name, "", now, seen, true);
        });
        await inParallel(remove, (name) => store.resources.remove(name));
        return { created: create.length, updated: changed, removed: remove.length };
      });
    },
  };
}

/** Forgets what is past its ttl, again and again, until the signal aborts. */
export async function sweepResources(store: Store, everyMs: number, log: Logger, signal: AbortSignal): Promise<void> {
  while (await pause(everyMs, signal)) {
    try {
      const gone = await store.alone(async () => {
        const late = expired(await store.resources.list(), store.now());
        await inParallel(late, ({ name, etag }) => store.resources.remove(name, etag));
        return late;
      });
      if (gone.length) log.info({ resources: gone.length }, "resources past their ttl forgotten");
    } catch (thrown) {
      log.warn({ err: Fault.from(thrown) }, "looking for resources past their ttl failed; trying again");
    }
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < items.length; i += PARALLEL_WRITES) {
    await Promise.all(items.slice(i, i + PARALLEL_WRITES).map(work));
  }
}

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("resource", mistakes);
}
