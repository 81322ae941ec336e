/** What may run and with which settings, by the catalogue. Pure. */
import { all, type Entity, find } from "../../proto/catalog.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { Manifest } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Poller, PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { bare, SQL_INSTANCE } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { MANUAL, parseSchedule, type Schedule } from "../kit/schedule.ts";
import { type Axis, axisAmong, lastPosition, parseDistance, parseDuration, parsePosition } from "../kit/time.ts";
import { compileFilter, discoveredBy, type ResourceFilter } from "./filter.ts";
import { usOfMs } from "./moments.ts";
import type { Grid } from "./windows.ts";

export interface Catalog {
  get(name: string): Entity | undefined;
  values(): Iterable<Entity>;
}

const DEFAULT_CHUNK = "1d";
const DEFAULT_POLL_EVERY = "60s";
const DEFAULT_DISCOVER_EVERY = "5m";
const DEFAULT_ENRICH_EVERY = "5m";

/** Why nothing of an instance is started; undefined when it runs. */
export function whyInstanceRests(catalog: Catalog, name: string): string | undefined {
  const instance = find(catalog, "instance", name);
  if (!instance && name === SQL_INSTANCE) return undefined;
  if (!instance) return `there is no ${name}`;
  if (instance.state === InstanceState.ENABLED) return undefined;
  const reason = instance.stateReason ? `: ${instance.stateReason}` : "";
  if (instance.state === InstanceState.PAUSED) return `${name} is paused${reason}`;
  if (instance.state === InstanceState.DRAINING) return `${name} is being deleted`;
  return `${name} is in state error${reason}`;
}

export function whyPipeRests(catalog: Catalog, pipe: Pipe): string | undefined {
  const reason = pipe.stateReason ? `: ${pipe.stateReason}` : "";
  if (pipe.state === PipeState.PAUSED) return `${pipe.name} is paused${reason}`;
  if (pipe.state === PipeState.PENDING) return `${pipe.name} waits for \`register\` of its plugin${reason}`;
  if (pipe.state !== PipeState.ENABLED) return `${pipe.name} is in state error${reason}`;
  return whyInstanceRests(catalog, pipe.instance);
}

export function whyPollerRests(catalog: Catalog, poller: Poller): string | undefined {
  const reason = poller.stateReason ? `: ${poller.stateReason}` : "";
  if (poller.state !== PollerState.ENABLED) return `${poller.name} is paused${reason}`;
  return whyInstanceRests(catalog, poller.instance);
}

/** Errors: `invalid` for a schedule that does not parse. */
export function scheduleOfPipe(pipe: Pipe): Schedule {
  const raw = pipe.effective?.schedule || pipe.parameters?.schedule;
  return raw ? parseSchedule(raw, `${pipe.name}.schedule`) : MANUAL;
}

export interface PipeGrid extends Grid {
  readonly axis: Axis;
  readonly backtrackUs: bigint;
  /** On an axis of integers: up to where the source is said to go; undefined: nobody says. */
  readonly reachesUs: bigint | undefined;
}

/** Errors: `precondition` without a begin, or `invalid` for times and durations that do not parse. */
export function gridOfPipe(pipe: Pipe): PipeGrid {
  const parameters = pipe.effective ?? pipe.parameters;
  const { begin = "", end = "", chunk = "", backtrack = "", retention = "" } = parameters ?? {};
  const axis = axisAmong(parameters?.columns ?? [], parameters?.datetime ?? "");
  const path = `${pipe.name}.parameters`;
  if (!begin)
    throw new Fault("precondition", `${pipe.name} has no begin: set ${path}.begin to the first position to fetch`);
  const chunkUs = parseDistance(axis, chunk || DEFAULT_CHUNK, `${path}.chunk`);
  if (chunkUs === 0n) throw new Fault("precondition", `${pipe.name} has a chunk of 0: set ${path}.chunk to more`);
  const endUs = end ? parsePosition(axis, end, `${path}.end`) : undefined;
  return {
    axis,
    beginUs: parsePosition(axis, begin, `${path}.begin`),
    endUs: endUs ?? lastPosition(axis),
    reachesUs: axis === "time" ? undefined : endUs,
    chunkUs,
    backtrackUs: backtrack ? parseDistance(axis, backtrack, `${path}.backtrack`) : 0n,
    retentionUs: retention ? usOfMs(parseDuration(retention, `${path}.retention`)) : undefined,
  };
}

export interface PollerPlan {
  readonly schedule: Schedule;
  /** The schedule as it is written: the same text, the same due moments. */
  readonly scheduleText: string;
  /** Of a discover: picks nothing. */
  readonly filter: ResourceFilter;
}

/** What is not set on a poller comes from the manifest of the version that runs. Errors: `invalid`. */
export function planOfPoller(catalog: Catalog, poller: Poller): PollerPlan {
  const interfaces = manifestOf(catalog, poller.instance)?.interfaces;
  const field = `${poller.name}.schedule`;
  if (poller.kind === PollerKind.DISCOVER) {
    const scheduleText = poller.schedule || `every ${interfaces?.discover?.every || DEFAULT_DISCOVER_EVERY}`;
    return { scheduleText, schedule: parseSchedule(scheduleText, field), filter: () => false };
  }
  const enrich = poller.kind === PollerKind.ENRICH;
  const defaults = enrich ? interfaces?.enrich : interfaces?.poll;
  const every = defaults?.every || (enrich ? DEFAULT_ENRICH_EVERY : DEFAULT_POLL_EVERY);
  const scheduleText = poller.schedule || `every ${every}`;
  const expression = poller.filter || defaults?.filter;
  const filter = expression ? compileFilter(expression, `${poller.name}.filter`) : discoveredBy(poller.instance);
  return { scheduleText, schedule: parseSchedule(scheduleText, field), filter };
}

export function picked(catalog: Catalog, { filter }: PollerPlan): Resource[] {
  return [...all(catalog, "resource")].filter(filter);
}

function manifestOf(catalog: Catalog, instanceName: string): Manifest | undefined {
  const instance = find(catalog, "instance", instanceName);
  if (!instance) return undefined;
  const version = `plugins/${bare(instance.plugin)}/versions/${instance.runningVersion}`;
  return find(catalog, "version", version)?.manifest;
}
