/** Follows the catalogue and knows when each pipe, poller and polled resource is due. Pure: the clock comes in. */
import { all, find } from "../../proto/catalog.ts";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { Fault } from "../kit/fault.ts";
import type { Schedule } from "../kit/schedule.ts";
import { microsOf } from "../kit/time.ts";
import { DueHeap, dueAfter, dueUpTo, type Timed } from "./due.ts";
import { msOfUs } from "./moments.ts";
import { phaseOf } from "./schedule.ts";
import {
  type Catalog,
  type PollerPlan,
  planOfPoller,
  scheduleOfPipe,
  whyInstanceRests,
  whyPipeRests,
  whyPollerRests,
} from "./standing.ts";

export interface Entry extends Timed {
  readonly kind: "sync" | "register" | "poll" | "discover";
  /** `pipes/…` or `pollers/…`. */
  readonly owner: string;
  /** `resources/…` of a poll. */
  readonly resource: string;
  /** Changes when it must be scheduled anew. */
  readonly identity: string;
}

/**
 * How far back a new leader looks for moments that nobody served while there was none. Longer than a takeover takes,
 * shorter than the queue remembers message ids, so that what was sent before is not sent again.
 */
const LOOK_BACK_MS = 20_000;
/** The first polls of resources that appear together are spread over this. */
const FIRST_POLL_SPREAD_MS = 5_000;
const REGISTER_AGAIN: Schedule = { kind: "every", periodMs: 60_000 };
const LONG_AGO_MS = 0;

/** Changes are noted at once and worked off in slices: a million entries must not hold up whoever shares the thread. */
export class Timetable {
  readonly heap = new DueHeap<Entry>();
  readonly #catalog: Catalog;
  readonly #onProblem: (owner: string, fault: Fault) => void;
  /** Keys of the entries of each pipe and poller. */
  readonly #keys = new Map<string, Set<string>>();
  /** Pollers of kind POLL that run. */
  readonly #polls = new Map<string, { readonly poller: Poller; readonly plan: PollerPlan }>();
  /** Pipes and pollers to look at anew, and the one that is being looked at. */
  readonly #dirty = new Set<string>();
  #current: Generator<void> | undefined;
  #nowMs = 0;
  readonly #servedUntilMs: number;

  /**
   * `onProblem` hears of pipes and pollers whose settings do not parse: these are not scheduled. Moments of pollers up
   * to `servedUntilMs` are known to be served; 0: nothing is known.
   */
  constructor(catalog: Catalog, onProblem: (owner: string, fault: Fault) => void, servedUntilMs = 0) {
    this.#catalog = catalog;
    this.#onProblem = onProblem;
    this.#servedUntilMs = servedUntilMs;
    this.change(undefined, 0);
  }

  /** An entity was written or removed; undefined: look at everything anew. */
  change(name: string | undefined, nowMs: number): void {
    const kind = name?.slice(0, name.indexOf("/"));
    if (name === undefined) {
      for (const owner of this.#keys.keys()) this.#dirty.add(owner);
      this.#mark(() => true);
    } else if (kind === "pipes" || kind === "pollers") this.#dirty.add(name);
    else if (kind === "resources") this.#updateResource(name, nowMs);
    else if (kind === "instances") this.#mark(({ instance }) => instance === name);
    else if (kind === "plugins" && name.includes("/versions/")) {
      // A version may come after the instance that runs it, with the defaults that its pollers lack.
      this.#mark((owner) => "kind" in owner && (!owner.schedule || !owner.filter));
    }
  }

  /** Whether every change has been worked off. */
  get settled(): boolean {
    return this.#current === undefined && this.#dirty.size === 0;
  }

  /** Looks at `steps` pipes, pollers and resources at most. Returns whether there is more to do. */
  catchUp(nowMs: number, steps: number): boolean {
    this.#nowMs = nowMs;
    for (let left = steps; left > 0; ) {
      if (!this.#current) {
        const [owner] = this.#dirty;
        if (owner === undefined) return false;
        this.#dirty.delete(owner);
        this.#current = this.#update(owner);
      }
      left -= 1;
      if (this.#current.next().done) this.#current = undefined;
    }
    return true;
  }

  #mark(picks: (owner: Pipe | Poller) => boolean): void {
    for (const pipe of all(this.#catalog, "pipe")) if (picks(pipe)) this.#dirty.add(pipe.name);
    for (const poller of all(this.#catalog, "poller")) if (picks(poller)) this.#dirty.add(poller.name);
  }

  /** Resources may change between two steps: `#updateResource` then writes into the new set of keys. */
  *#update(owner: string): Generator<void> {
    const former = this.#keys.get(owner) ?? [];
    const keys = new Set<string>();
    this.#keys.set(owner, keys);
    for (const entry of this.#entriesOf(owner)) {
      if (entry) {
        keys.add(entry.key);
        this.#set(entry, this.#nowMs);
      }
      yield;
    }
    for (const key of former) {
      if (!keys.has(key)) this.heap.delete(key);
      yield;
    }
    if (keys.size === 0 && !this.#polls.has(owner)) this.#keys.delete(owner);
  }

  /** Also undefined for each resource that is not picked: looking at it took its time. */
  *#entriesOf(owner: string): Generator<Entry | undefined> {
    this.#polls.delete(owner);
    try {
      const pipe = find(this.#catalog, "pipe", owner);
      if (pipe) yield entryOfPipe(this.#catalog, pipe);
      const poller = find(this.#catalog, "poller", owner);
      if (!poller || whyPollerRests(this.#catalog, poller)) return;
      const plan = planOfPoller(this.#catalog, poller);
      if (poller.kind === PollerKind.DISCOVER) return yield discoverEntry(poller, plan);
      this.#polls.set(owner, { poller, plan });
      for (const resource of all(this.#catalog, "resource")) {
        yield plan.filter(resource) ? pollEntry(poller, plan, resource) : undefined;
      }
    } catch (thrown) {
      this.#onProblem(owner, Fault.from(thrown));
    }
  }

  #updateResource(name: string, nowMs: number): void {
    const resource = find(this.#catalog, "resource", name);
    for (const [owner, { poller, plan }] of this.#polls) {
      const keys = this.#keys.get(owner);
      const entry = resource && plan.filter(resource) ? pollEntry(poller, plan, resource) : undefined;
      if (entry) {
        keys?.add(entry.key);
        this.#set(entry, nowMs);
      } else {
        keys?.delete(pollKey(owner, name));
        this.heap.delete(pollKey(owner, name));
      }
    }
  }

  #set(entry: Entry, nowMs: number): void {
    if (this.heap.get(entry.key)?.identity === entry.identity) return;
    // The windows of a pipe know what was fetched, so looking at its newest moment again costs nothing.
    const catchesUp = entry.kind === "sync" || entry.kind === "register";
    const sinceMs = Math.max(nowMs - LOOK_BACK_MS, this.#servedUntilMs);
    const newestMs = dueUpTo(entry, nowMs);
    const owed = newestMs !== undefined && (catchesUp || newestMs > sinceMs);
    this.heap.set(entry, owed ? newestMs : dueAfter(entry, nowMs));
  }
}

function entryOfPipe(catalog: Catalog, pipe: Pipe): Entry | undefined {
  const { name: owner } = pipe;
  if (pipe.state === PipeState.PENDING && !whyInstanceRests(catalog, pipe.instance)) {
    const firstMs = at(pipe.updateTime);
    const key = `${owner}/register`;
    return { kind: "register", key, owner, resource: "", schedule: REGISTER_AGAIN, firstMs, identity: pipe.etag };
  }
  if (whyPipeRests(catalog, pipe)) return undefined;
  const schedule = scheduleOfPipe(pipe);
  if (schedule.kind === "manual") return undefined;
  const firstMs = schedule.kind === "every" ? at(pipe.createTime) : LONG_AGO_MS;
  // Not the etag: it changes with a tag, too, and a changed identity means one more look at the windows.
  const { schedule: text, begin, end, chunk } = pipe.effective ?? {};
  const identity = JSON.stringify([text, begin, end, chunk]);
  return { kind: "sync", key: owner, owner, resource: "", schedule, firstMs, identity };
}

function discoverEntry({ name, createTime }: Poller, { schedule, scheduleText }: PollerPlan): Entry | undefined {
  if (schedule.kind === "manual") return undefined;
  const firstMs = schedule.kind === "every" ? at(createTime) : LONG_AGO_MS;
  return { kind: "discover", key: name, owner: name, resource: "", schedule, firstMs, identity: scheduleText };
}

function pollEntry(
  { name, createTime }: Poller,
  { schedule, scheduleText }: PollerPlan,
  resource: Resource,
): Entry | undefined {
  if (schedule.kind === "manual") return undefined;
  const key = pollKey(name, resource.name);
  let firstMs = LONG_AGO_MS;
  if (schedule.kind === "every") {
    const bornMs = Math.max(at(createTime), at(resource.createTime));
    firstMs = bornMs + phaseOf(key, Math.min(schedule.periodMs, FIRST_POLL_SPREAD_MS));
  }
  const identity = `${scheduleText} ${firstMs}`;
  return { kind: "poll", key, owner: name, resource: resource.name, schedule, firstMs, identity };
}

const pollKey = (poller: string, resource: string) => `${poller}/${resource}`;

const at = (time: Timestamp | undefined) => msOfUs(microsOf(time));
