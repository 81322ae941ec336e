/** What exists, as the registry's stream tells it, and what a job or a call means by it. */
import { all, catalogChange, type Entity, find } from "../../proto/catalog.ts";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { type Poller, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { type Job, JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare, SQL_INSTANCE } from "../../proto/names.ts";
import { type Channel, listen } from "../kit/grpc.ts";
import type { Logger } from "../kit/log.ts";
import { type Mirror, type MirrorChange, mirror } from "../kit/mirror.ts";
import { type EffectiveGrants, effectiveGrants } from "./grants.ts";
import type { KnownResources } from "./kinds/kind.ts";
import { ceilingOf, type Policy, type PolicyRules } from "./policy.ts";

export type Catalog = Pick<Mirror<Entity>, "get" | "values" | "synced"> & {
  /** The operator's ceiling over all grants; absent: none. */
  readonly policy?: Policy;
};

/** What a job looks up. */
export type JobCatalog = Catalog & {
  /** Whether other pipes are made from this one, by its bare name. */
  isFollowed(pipe: string): boolean;
};

export function followCatalog(registry: Channel, policy: Policy, log: Logger): Mirror<Entity> & JobCatalog {
  const entities = mirror<Entity>(
    "catalogue",
    async function* (signal): AsyncGenerator<MirrorChange<Entity>> {
      for await (const response of listen(registry, CatalogService.watchCatalog, {}, { signal })) {
        const change = catalogChange(response);
        if (change) yield change;
      }
    },
    log,
  );
  return Object.assign(entities, { policy, isFollowed: followedPipes(entities) });
}

/** An instance that runs, with the version that it runs and what it may reach. */
export interface Subject {
  /** Bare names. */
  readonly instance: string;
  readonly plugin: string;
  readonly version: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly release: PluginVersion;
  readonly grants: EffectiveGrants;
}

export type Work =
  | { readonly kind: "fetch"; readonly subject: Subject; readonly pipe: Pipe; readonly followed: boolean }
  | { readonly kind: "register"; readonly subject: Subject; readonly pipe: Pipe }
  | {
      readonly kind: "poll" | "enrich";
      readonly subject: Subject;
      readonly poller: Poller;
      readonly resource: Resource;
    }
  | { readonly kind: "discover"; readonly subject: Subject; readonly poller: Poller };

export type Found<T> =
  /** `paused` says why it is not to be run now. */
  | { readonly found: T; readonly paused?: string | undefined }
  /** Not there, or not ready: perhaps only not yet, as the stream may lag. */
  | { readonly unknown: string };

const subjects = new WeakMap<Instance, Subject & { readonly under: PolicyRules | undefined }>();

/** The connector `sql`: no plugin, no guest, nothing granted. */
const BUILT_IN: Subject = {
  ...{ instance: bare(SQL_INSTANCE), plugin: bare(SQL_INSTANCE), version: "built-in", config: {} },
  release: PluginVersion.fromPartial({ name: "plugins/sql/versions/built-in" }),
  grants: effectiveGrants(undefined, undefined),
};

/** Kept with each change: every job asks, and a look at all pipes would make a thousand jobs a million looks. */
export function followedPipes(catalog: Pick<Mirror<Entity>, "get" | "values" | "onChange">) {
  const parents = new Map<string, readonly string[]>();
  const children = new Map<string, number>();
  const set = (name: string, after: readonly string[]) => {
    for (const parent of parents.get(name) ?? []) children.set(parent, (children.get(parent) ?? 0) - 1);
    for (const parent of after) children.set(parent, (children.get(parent) ?? 0) + 1);
    if (after.length > 0) parents.set(name, after);
    else parents.delete(name);
  };
  catalog.onChange((name) => {
    if (name?.startsWith("pipes/")) set(name, find(catalog, "pipe", name)?.effective?.after ?? []);
    if (name !== undefined) return;
    parents.clear();
    children.clear();
    for (const pipe of all(catalog, "pipe")) set(pipe.name, pipe.effective?.after ?? []);
  });
  return (pipe: string) => (children.get(pipe) ?? 0) > 0;
}

/** `name` is `instances/{instance}`. */
export function findSubject(catalog: Catalog, name: string): Found<Subject> {
  const instance = find(catalog, "instance", name);
  if (!instance && name === SQL_INSTANCE) return { found: BUILT_IN };
  if (!instance) return { unknown: `there is no ${name}` };
  const release = find(catalog, "version", `${instance.plugin}/versions/${instance.runningVersion}`);
  if (!release) return { unknown: `${name}: there is no ${instance.plugin}/versions/${instance.runningVersion}` };
  let subject = subjects.get(instance);
  const under = catalog.policy?.rules;
  if (subject?.release !== release || subject.under !== under) {
    const names = { instance: bare(instance.name), plugin: bare(instance.plugin) };
    subject = {
      ...names,
      under,
      version: instance.runningVersion,
      config: (instance.config as Readonly<Record<string, unknown>> | undefined) ?? {},
      release,
      grants: effectiveGrants(release.manifest?.permissions, instance.grants, under && ceilingOf(under, names)),
    };
    subjects.set(instance, subject);
  }
  return { found: subject, paused: whyNot(name, instance.state === InstanceState.ENABLED, instance.stateReason) };
}

export function findWork(catalog: JobCatalog, job: Job): Found<Work> {
  const answer = findSubject(catalog, job.instance);
  if (!("found" in answer)) return answer;
  const { found: subject, paused } = answer;
  switch (job.kind) {
    case JobKind.FETCH:
    case JobKind.REGISTER: {
      const pipe = find(catalog, "pipe", job.pipe);
      if (!pipe) return { unknown: `there is no ${job.pipe}` };
      if (job.kind === JobKind.REGISTER) return { found: { kind: "register", subject, pipe }, paused };
      if (pipe.state === PipeState.PENDING) return { unknown: `${job.pipe} waits for its plugin's register` };
      const stopped = paused ?? whyNot(job.pipe, pipe.state === PipeState.ENABLED, pipe.stateReason);
      const followed = catalog.isFollowed(bare(pipe.name));
      return { found: { kind: "fetch", subject, pipe, followed }, paused: stopped };
    }
    case JobKind.POLL:
    case JobKind.ENRICH:
    case JobKind.DISCOVER: {
      const poller = find(catalog, "poller", job.poller);
      if (!poller) return { unknown: `there is no ${job.poller}` };
      const stopped = paused ?? whyNot(job.poller, poller.state === PollerState.ENABLED, poller.stateReason);
      if (job.kind === JobKind.DISCOVER) return { found: { kind: "discover", subject, poller }, paused: stopped };
      const resource = find(catalog, "resource", job.resource);
      if (!resource) return { unknown: `there is no ${job.resource}` };
      const kind = job.kind === JobKind.ENRICH ? "enrich" : "poll";
      return { found: { kind, subject, poller, resource }, paused: stopped };
    }
    default:
      return { unknown: `job kind ${job.kind} is not known to this executor` };
  }
}

export const knownResources = (catalog: Catalog): KnownResources => ({
  has: (name) => find(catalog, "resource", `resources/${name}`) !== undefined,
  of: (origin) => [...all(catalog, "resource")].filter((resource) => resource.origin === origin),
});

const whyNot = (name: string, enabled: boolean, reason: string) =>
  enabled ? undefined : `${name} is not enabled${reason ? `: ${reason}` : ""}`;
