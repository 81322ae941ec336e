/** Pipes: an instance's fetch bound to a dataset. */
import { isDeepStrictEqual } from "node:util";
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { PipesServer } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { chainMistakes, isSelect, selectMistakes } from "./chains.ts";
import { gridMistakes, regridded } from "./grid.ts";
import { changedFields, keeperMistakes, noteMistakes, tagMistakes } from "./masks.ts";
import { nameMistakes, shown } from "./names.ts";
import { pageOf } from "./paging.ts";
import { datasetMistakes, fitMistakes, formMistakes, merge } from "./parameters.ts";
import { link } from "./pipe-facts.ts";
import { referenceClashes } from "./references.ts";
import { parseSelector, stateWord } from "./selector.ts";
import { asReason, fingerprint, groundOf, referredIn, settledPipe, settleReferrers } from "./settling.ts";
import { partitionMistakes, recut } from "./storage.ts";
import { type Store, stale } from "./store.ts";

const MAX_FAILURE_LENGTH = 4_000;
const SNAKE: readonly (keyof PipeParameters)[] = Object.keys(merge()) as (keyof PipeParameters)[];
const CHANGEABLE = [
  "parameters",
  "tags",
  "state",
  "state_reason",
  "managed_by",
  ...SNAKE.map((field) => `parameters.${field}`),
];

const PIPE_KEYS = ["name", "instance", "metric", "location", "state", "managed_by"];
const selectablePipe = ({ name, instance, metric, location, state, managedBy, tags }: Pipe) => ({
  tags,
  facts: {
    ...{ name: bare(name), instance: bare(instance), metric, location, managed_by: managedBy },
    state: stateWord(PipeState, state),
  },
});

export function pipeMethods(store: Store): Methods<PipesServer> {
  /** Windows outlive a pipe as its rows do, so a pipe that is created again has them, too. */
  const gridClashes = async (next: Pipe, before?: Pipe): Promise<Mistake[]> => {
    const cut = before !== undefined && recut(before, next);
    if (before && !cut && !regridded(before, next)) return [];
    const windows = await store.windowsOf(bare(next.name));
    return [...gridMistakes(next, windows), ...(before && cut ? partitionMistakes(before, windows) : [])];
  };
  /** What is wrong between a pipe, as it would be, and the others. */
  const otherClashes = async (settled: Pipe, plugin: string): Promise<Mistake[]> => {
    const own = [...holdMistakes(settled), ...(await datasetClashes(store, settled, plugin))];
    const others = await store.pipesBy.look();
    return [...own, ...chainMistakes(settled, others), ...referenceClashes(settled, others)];
  };

  return {
    async createPipe({ pipe: given }) {
      if (!given) throw Fault.invalid("pipe", [{ field: "pipe", problem: "is not set" }]);
      const { instance: owner, metric, location, tags } = given;
      const mistakes = nameMistakes(metric, "metric", "pipe key");
      if (location !== "") mistakes.push(...nameMistakes(location, "location", "pipe key"));
      if (owner === "") mistakes.push({ field: "instance", problem: "is not set", fix: "write instances/{instance}" });
      const state = given.state || PipeState.ENABLED;
      mistakes.push(...stateMistakes(state), ...pipeMistakes(given, state));
      refuse(mistakes);
      return await store.alone(async () => {
        const pipe: Pipe = {
          name: `pipes/${[bare(owner), metric, location].filter(Boolean).join(".")}`,
          instance: owner,
          metric,
          location,
          parameters: merge(given.parameters),
          effective: undefined,
          tags,
          state,
          stateReason: state === PipeState.PAUSED ? given.stateReason : "",
          dataset: "",
          createTime: undefined,
          updateTime: undefined,
          etag: "",
          managedBy: given.managedBy,
          registered: undefined,
          registeredFor: "",
        };
        const { instance, version } = await groundOf(store, pipe);
        refuseDraining(instance);
        const { fetch, sync } = version?.manifest?.interfaces ?? {};
        if (!fetch && !sync && !isSelect(pipe)) {
          throw new Fault("precondition", `${instance.plugin} has no fetch and no sync, so ${owner} can have no pipes`);
        }
        const settled = settledPipe(pipe, instance, version, await referredIn(store, pipe));
        refuse(await otherClashes(settled, instance.plugin));
        refuse(await gridClashes(settled));
        const created = await store.pipes.create(settled, store.now());
        // Nobody may refer to what is not there, but one may have been left so by a deletion.
        await settleReferrers(store, [created.name]);
        return { pipe: created };
      });
    },

    async getPipe({ name }) {
      return { pipe: await store.pipes.get(name) };
    },

    async listPipes(request) {
      const picked = parseSelector(request.filter ?? "", PIPE_KEYS, "filter");
      const pipes = (await store.pipes.list()).filter((pipe) => picked(selectablePipe(pipe)));
      const { items, nextPageToken } = pageOf(pipes, request);
      return { pipes: items, nextPageToken };
    },

    async updatePipe({ pipe: given, updateMask }) {
      if (!given) throw Fault.invalid("pipe", [{ field: "pipe", problem: "is not set" }]);
      const fields = changedFields(updateMask, CHANGEABLE, (path) => isSet(given, path));
      return await store.alone(async () => {
        let moved = false;
        const pipe = await store.pipes.change(given.name, given.etag, store.now(), async (current) => {
          const { instance, version } = await groundOf(store, current);
          refuseDraining(instance);
          const next = edited(current, given, fields);
          const stated = next.state === current.state ? [] : stateMistakes(next.state);
          refuse([...stated, ...pipeMistakes(next, next.state)]);
          const settled = settledPipe(next, instance, version, await referredIn(store, next));
          const touched = [...fields].some((field) => field.startsWith("parameters"));
          if (touched) refuse(await otherClashes(settled, instance.plugin));
          moved = !isDeepStrictEqual(settled.effective, current.effective);
          if (touched) refuse(await gridClashes(settled, current));
          return settled;
        });
        if (moved) await settleReferrers(store, [pipe.name]);
        return { pipe };
      });
    },

    async deletePipe({ name, etag }) {
      await store.alone(async () => {
        const pipe = await store.pipes.get(name);
        if (etag !== "" && etag !== pipe.etag) throw stale(name, etag, pipe.etag);
        const others = await store.pipesBy.look();
        const followers = others.having(link.comingAfter(bare(name)));
        if (followers.length) {
          throw new Fault(
            "precondition",
            `${followers.join(", ")} come after ${name}: take it out of their \`after\` first`,
          );
        }
        const referrers = others.having(link.takingFrom(name));
        if (referrers.length) {
          throw new Fault(
            "precondition",
            `${referrers.join(", ")} take parameters from ${name}: change their refs first`,
          );
        }
        await store.pipes.remove(name, etag);
      });
      return {};
    },

    async registerPipe({ name, defaults, failure, etag }) {
      return await store.alone(async () => {
        let mistakes: Mistake[] = [];
        const pipe = await store.pipes.change(name, etag, store.now(), async (current) => {
          const { instance, version } = await groundOf(store, current);
          const { layer } = await referredIn(store, current);
          const answered = { ...current, registeredFor: fingerprint(current, instance, layer) };
          const failed = (stateReason: string): Pipe =>
            current.state === PipeState.PAUSED ? answered : { ...answered, state: PipeState.ERROR, stateReason };
          if (failure !== "") return failed(`register failed: ${failure.slice(0, MAX_FAILURE_LENGTH)}`);
          mistakes = formMistakes(merge(defaults), "defaults");
          if (mistakes.length) return failed(`the answer of register is not usable\n${asReason(mistakes)}`);
          const woken = current.state === PipeState.PAUSED ? current.state : PipeState.ENABLED;
          const woke = { ...answered, registered: merge(defaults), state: woken };
          const settled = settledPipe(woke, instance, version, await referredIn(store, woke));
          mistakes = [...holdMistakes(settled), ...(await datasetClashes(store, settled, instance.plugin))];
          if (!mistakes.length) mistakes = await gridClashes(settled, current);
          return mistakes.length ? failed(`the answer of register is not usable\n${asReason(mistakes)}`) : settled;
        });
        await settleReferrers(store, [name]);
        refuse(mistakes);
        return { pipe };
      });
    },
  };
}

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("pipe", mistakes);
}

function refuseDraining({ name, state }: Instance): void {
  if (state === InstanceState.DRAINING) throw new Fault("precondition", `${name} is being deleted`);
}

function stateMistakes(state: PipeState): Mistake[] {
  if (state === PipeState.ENABLED || state === PipeState.PAUSED) return [];
  return [{ field: "state", problem: `${state} cannot be set`, fix: "ENABLED or PAUSED" }];
}

/** What is wrong with what a user gave, by itself. */
export function pipeMistakes(pipe: Pipe, state: PipeState): Mistake[] {
  const { parameters, tags, stateReason, managedBy } = pipe;
  return [
    ...formMistakes(merge(parameters), "parameters"),
    ...selectMistakes(pipe, merge(parameters), "parameters"),
    ...noteMistakes(state === PipeState.PAUSED ? stateReason : ""),
    ...tagMistakes(tags),
    ...keeperMistakes(managedBy),
  ];
}

/** What is wrong with what holds. */
function holdMistakes({ effective, dataset }: Pipe): Mistake[] {
  return [...(effective ? fitMistakes(effective, "parameters") : []), ...datasetMistakes(dataset, "parameters.target")];
}

/** Pipes may share a dataset when one plugin feeds it and they declare the same columns. */
async function datasetClashes(store: Store, pipe: Pipe, plugin: string): Promise<Mistake[]> {
  const sharers = (await store.pipesBy.look()).having(link.feeding(pipe.dataset));
  const mistakes: Mistake[] = [];
  const clash = (other: Pipe, why: string) =>
    mistakes.push({
      field: "parameters.target",
      problem: `${shown(pipe.dataset)} is the dataset of ${other.name}, ${why}`,
      fix: "choose another target",
    });
  const shape = ({ effective: e }: Pipe) =>
    JSON.stringify([
      ...[e?.columns, e?.datetime, e?.index, e?.schema, e?.timezone],
      ...[e?.retention, e?.ttl, e?.partition, e?.codec, e?.codecs],
    ]);
  for (const name of sharers) {
    const other = name === pipe.name ? undefined : await store.pipes.find(name);
    if (!other) continue;
    const owner = other.instance === pipe.instance ? plugin : (await store.instances.find(other.instance))?.plugin;
    if (owner !== plugin) clash(other, `which ${owner ?? "another plugin"} feeds`);
    else if (shape(other) !== shape(pipe))
      clash(other, "whose columns, datetime, index, schema, timezone or storage differ");
    // They agree with each other.
    break;
  }
  return mistakes;
}

function isSet(given: Pipe, path: string): boolean {
  if (path === "parameters") return given.parameters !== undefined;
  if (path === "tags") return given.tags.length > 0;
  if (path === "managed_by") return given.managedBy !== "";
  if (path === "state") return given.state !== PipeState.UNSPECIFIED;
  return path === "state_reason" && given.stateReason !== "";
}

function edited(current: Pipe, given: Pipe, fields: ReadonlySet<string>): Pipe {
  const next = { ...current };
  if (fields.has("parameters")) next.parameters = merge(given.parameters);
  for (const field of SNAKE) {
    if (fields.has(`parameters.${field}`)) {
      next.parameters = { ...merge(next.parameters), [field]: merge(given.parameters)[field] };
    }
  }
  if (fields.has("tags")) next.tags = given.tags;
  if (fields.has("managed_by")) next.managedBy = given.managedBy;
  if (fields.has("state") && given.state !== PipeState.UNSPECIFIED && given.state !== current.state) {
    next.state = given.state;
    next.stateReason = "";
    // Who enables a pipe again wants it tried again.
    if (given.state === PipeState.ENABLED) next.registeredFor = "";
  }
  if (fields.has("state_reason") && next.state === PipeState.PAUSED) next.stateReason = given.stateReason;
  return next;
}
