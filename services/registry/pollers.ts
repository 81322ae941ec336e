/** Pollers: an instance's poll, discover or enrich with a period. */
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { type Poller, PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { PollersServer } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { changedFields, keeperMistakes, noteMistakes, tagMistakes } from "./masks.ts";
import { durationMistakes, filterMistakes, scheduleMistakes } from "./mistakes.ts";
import { idOf, nameMistakes } from "./names.ts";
import { pageOf } from "./paging.ts";
import { MAX_CALL_MS } from "./parameters.ts";
import { parseSelector, stateWord } from "./selector.ts";
import { running } from "./settling.ts";
import { type Store, stale, versionsOf } from "./store.ts";

const CHANGEABLE = ["schedule", "timeout", "filter", "site", "state", "state_reason", "tags", "managed_by"];
const MAX_SITE_LENGTH = 200;
const EXPORTS = {
  [PollerKind.POLL]: "poll",
  [PollerKind.DISCOVER]: "discover",
  [PollerKind.ENRICH]: "enrich",
} as const;

const KEYS = ["name", "instance", "kind", "state", "managed_by"];
const selectable = ({ name, instance, kind, state, managedBy, tags }: Poller) => ({
  tags,
  facts: {
    ...{ name: bare(name), instance: bare(instance), managed_by: managedBy },
    ...{ kind: stateWord(PollerKind, kind), state: stateWord(PollerState, state) },
  },
});

export function pollerMethods(store: Store): Methods<PollersServer> {
  return {
    async createPoller({ poller: given, pollerId }) {
      if (!given) throw Fault.invalid("poller", [{ field: "poller", problem: "is not set" }]);
      const mistakes = nameMistakes(pollerId, "poller_id");
      const wanted = given.kind in EXPORTS ? EXPORTS[given.kind as keyof typeof EXPORTS] : undefined;
      if (wanted === undefined) {
        mistakes.push({ field: "kind", problem: `${given.kind} is not accepted`, fix: "POLL, DISCOVER or ENRICH" });
      }
      if (given.instance === "") {
        mistakes.push({ field: "instance", problem: "is not set", fix: "write instances/{instance}" });
      }
      const state = given.state || PollerState.ENABLED;
      const stateReason = state === PollerState.PAUSED ? given.stateReason : "";
      const poller: Poller = { ...given, name: `pollers/${pollerId}`, state, stateReason, etag: "" };
      refuse([...mistakes, ...pollerMistakes(poller)]);
      return await store.alone(async () => {
        const instance = await store.instances.get(poller.instance);
        if (instance.state === InstanceState.DRAINING) {
          throw new Fault("precondition", `${instance.name} is being deleted`);
        }
        const version = running(instance, await versionsOf(store, idOf(instance.plugin, "plugins")));
        if (!version?.manifest?.interfaces?.[wanted ?? "poll"]) {
          throw new Fault(
            "precondition",
            `${instance.plugin} has no ${wanted}, so ${instance.name} cannot be called so`,
          );
        }
        return { poller: await store.pollers.create(poller, store.now()) };
      });
    },

    async getPoller({ name }) {
      return { poller: await store.pollers.get(name) };
    },

    async listPollers(request) {
      const picked = parseSelector(request.filter ?? "", KEYS, "filter");
      const pollers = (await store.pollers.list()).filter((poller) => picked(selectable(poller)));
      const { items, nextPageToken } = pageOf(pollers, request);
      return { pollers: items, nextPageToken };
    },

    async updatePoller({ poller: given, updateMask }) {
      if (!given) throw Fault.invalid("poller", [{ field: "poller", problem: "is not set" }]);
      const fields = changedFields(updateMask, CHANGEABLE, (path) => isSet(given, path));
      return await store.alone(async () => {
        const poller = await store.pollers.change(given.name, given.etag, store.now(), (current) => {
          const next = edited(current, given, fields);
          refuse(pollerMistakes(next));
          return next;
        });
        return { poller };
      });
    },

    async deletePoller({ name, etag }) {
      await store.alone(async () => {
        const poller = await store.pollers.get(name);
        if (etag !== "" && etag !== poller.etag) throw stale(name, etag, poller.etag);
        await store.pollers.remove(name, etag);
      });
      return {};
    },
  };
}

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("poller", mistakes);
}

/** What is wrong with what a user gave, by itself. */
export function pollerMistakes(poller: Poller): Mistake[] {
  const { schedule, timeout, filter, site, kind, state, stateReason, tags, managedBy } = poller;
  const mistakes: Mistake[] = [...noteMistakes(stateReason), ...tagMistakes(tags), ...keeperMistakes(managedBy)];
  if (schedule !== "") mistakes.push(...scheduleMistakes(schedule, "schedule", { manual: false }));
  if (timeout !== "") mistakes.push(...durationMistakes(timeout, "timeout", 1, MAX_CALL_MS));
  if (filter !== "" && kind === PollerKind.DISCOVER) {
    mistakes.push({
      field: "filter",
      problem: "is set for DISCOVER",
      fix: "leave it empty: only POLL and ENRICH pick resources",
    });
  } else if (filter !== "") mistakes.push(...filterMistakes(filter, "filter"));
  if (site.length > MAX_SITE_LENGTH) {
    mistakes.push({ field: "site", problem: `has ${site.length} characters`, fix: `at most ${MAX_SITE_LENGTH}` });
  }
  if (state !== PollerState.ENABLED && state !== PollerState.PAUSED) {
    mistakes.push({ field: "state", problem: `${state} cannot be set`, fix: "ENABLED or PAUSED" });
  }
  return mistakes;
}

const TEXTS = ["schedule", "timeout", "filter", "site"] as const;

function isSet(given: Poller, path: string): boolean {
  if (path === "state") return given.state !== PollerState.UNSPECIFIED;
  if (path === "state_reason") return given.stateReason !== "";
  if (path === "tags") return given.tags.length > 0;
  if (path === "managed_by") return given.managedBy !== "";
  return TEXTS.some((text) => text === path && given[text] !== "");
}

function edited(current: Poller, given: Poller, fields: ReadonlySet<string>): Poller {
  const next = { ...current };
  for (const text of TEXTS) if (fields.has(text)) next[text] = given[text];
  if (fields.has("tags")) next.tags = given.tags;
  if (fields.has("managed_by")) next.managedBy = given.managedBy;
  if (fields.has("state") && given.state !== PollerState.UNSPECIFIED && given.state !== current.state) {
    next.state = given.state;
    next.stateReason = "";
  }
  if (fields.has("state_reason") && next.state === PollerState.PAUSED) next.stateReason = given.stateReason;
  return next;
}
