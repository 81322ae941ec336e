/** Parameters that pipes take from other pipes: worth what holds there now, in no circle, and never silently wrong. */
import { expect, test } from "vitest";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { compactTime, parseTime, timestampOf } from "../../services/kit/time.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";

const FETCH = { columns: { time: "timestamp" }, datetime: "time", chunk: "1d", begin: "2020-01-01T00:00:00Z" };
const COLUMNS = [
  { name: "time", type: "timestamp" },
  { name: "n", type: "int64" },
];

async function open() {
  const stack = new AsyncDisposableStack();
  const ground = stack.use(await embeddedGround());
  const registry = stack.use(await startRegistry(ground.bus));
  for (const name of ["web", "other"]) {
    const bundle = bundleOf({ name, interfaces: { fetch: FETCH } }, { "plugin.wasm": moduleOf("fetch") });
    await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  }
  return {
    bus: ground.bus,
    call: registry.call,
    create: (metric: string, parameters: Partial<PipeParameters> = {}, instance = "instances/web") =>
      registry.call(PipesService.createPipe, { pipe: Pipe.fromPartial({ instance, metric, parameters }) }),
    edit: (id: string, parameters: Partial<PipeParameters>) =>
      registry.call(PipesService.updatePipe, {
        pipe: Pipe.fromPartial({ name: `pipes/${id}`, parameters }),
        updateMask: Object.keys(parameters).map((field) => `parameters.${field}`),
      }),
    get: async (id: string) => (await registry.call(PipesService.getPipe, { name: `pipes/${id}` })).pipe as Pipe,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test("a reference is worth what holds for the other pipe now, over pipes of pipes", async () => {
  await using at = await open();
  await at.create("a", { columns: COLUMNS, chunk: "7d", index: ["n"] });
  const refs = { columns: "pipes/web.a/parameters/columns", chunk: "pipes/web.a" };
  await at.create("b", { refs });
  await at.create("c", { refs: { "*": "pipes/web.b", begin: "pipes/web.a" }, timeout: "5s" });
  expect((await at.get("web.b")).effective).toMatchObject({ columns: COLUMNS, chunk: "7d", index: [], refs: {} });
  const c = await at.get("web.c");
  expect(c.effective).toMatchObject({ columns: COLUMNS, chunk: "7d", timeout: "5s" });
  expect(c.dataset).toBe("web_c");
  await at.edit("web.a", { chunk: "14d" });
  expect((await at.get("web.c")).effective?.chunk).toBe("14d");
  // What the user sets wins.
  await at.edit("web.c", { chunk: "2d" });
  expect((await at.get("web.c")).effective?.chunk).toBe("2d");
});

test("names that nobody has, circles and kinds that do not fit are refused, all at once", async () => {
  await using at = await open();
  await at.create("a");
  await at.create("b", { refs: { chunk: "pipes/web.a" } });
  const bad = {
    chunkk: "pipes/web.a",
    index: "pipes/web.a/parameters/datetime",
    begin: "web.a",
    "*": "pipes/web.a/parameters/chunk",
    timeout: "pipes/web.a",
  };
  const form = await at.create("c", { refs: bad, timeout: "5s" }).catch((thrown) => thrown);
  expect(form.mistakes.map(({ field }: { field: string }) => field).toSorted()).toEqual(
    Object.keys(bad)
      .map((name) => `parameters.refs.${name}`)
      .toSorted(),
  );
  const missing = await at.create("c", { refs: { chunk: "pipes/web.aa", begin: "pipes/x.y" } }).catch((t) => t);
  expect(missing.mistakes).toMatchObject([
    { field: "parameters.refs.chunk", problem: expect.stringContaining('did you mean "pipes/web.a"?') },
    { field: "parameters.refs.begin", problem: expect.stringContaining("there is no pipes/x.y") },
  ]);
  const circle = await at.edit("web.a", { refs: { chunk: "pipes/web.b" } }).catch((thrown) => thrown);
  expect(circle.mistakes[0].problem).toContain("is a circle: pipes/web.a → pipes/web.b → pipes/web.a");
});

test("a pipe that others refer to stays; one that goes with its instance leaves them in error, by name", async () => {
  await using at = await open();
  await at.create("a", { chunk: "3d" }, "instances/other");
  await at.create("b", { refs: { chunk: "pipes/other.a" } });
  const gone = at.call(PipesService.deletePipe, { name: "pipes/other.a", etag: "" });
  await expect(gone).rejects.toMatchObject({ code: "precondition", message: expect.stringContaining("pipes/web.b") });
  await at.call(InstancesService.deleteInstance, { name: "instances/other", etag: "", cascade: true });
  const broken = await at.get("web.b");
  expect(broken).toMatchObject({
    state: PipeState.ERROR,
    stateReason: "parameters.refs.chunk: there is no pipes/other.a",
  });
  await at.edit("web.b", { refs: {}, chunk: "5d" });
  expect(await at.get("web.b")).toMatchObject({ state: PipeState.ENABLED, stateReason: "" });
});

test("a change elsewhere that would lay fetched windows on another grid stops the pipe instead", async () => {
  await using at = await open();
  await at.create("a", { chunk: "1d" });
  await at.create("b", { refs: { chunk: "pipes/web.a" } });
  const windows = await at.bus.kv(BUCKETS.windows);
  const beginUs = parseTime("2020-01-05T00:00:00Z", "begin");
  const span = { begin: timestampOf(beginUs), end: timestampOf(beginUs + 86_400_000_000n) };
  const window = Window.fromPartial({ ...span, state: WindowState.DONE, rows: 3n });
  await windows.put(`${encodeKeyPart("web.b")}.${compactTime(beginUs)}`, Window.encode(window).finish());
  await at.edit("web.a", { chunk: "7d" });
  const stopped = await at.get("web.b");
  expect(stopped).toMatchObject({ state: PipeState.ERROR, effective: { chunk: "1d" } });
  expect(stopped.stateReason).toContain("another grid");
  await at.edit("web.a", { chunk: "1d" });
  expect(await at.get("web.b")).toMatchObject({ state: PipeState.ENABLED, effective: { chunk: "1d" } });
  // Its table holds rows: it cannot be cut anew by hand either.
  const cut = await at.edit("web.b", { partition: "day" }).catch((thrown) => thrown);
  expect(cut.mistakes[0]).toMatchObject({ field: "parameters.partition" });
  expect(cut.mistakes[0].problem).toContain("1 fetched windows have rows");
});

test("`register` is asked again when what a reference is worth has changed, and not when something else has", async () => {
  await using at = await open();
  const asks = { name: "asks", interfaces: { fetch: FETCH, register: {} } };
  const bundle = bundleOf(asks, { "plugin.wasm": moduleOf("fetch", "register") });
  await at.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  await at.create("a", { columns: COLUMNS });
  await at.create("b", { refs: { columns: "pipes/web.a" } }, "instances/asks");
  const answer = async () => {
    const { name, etag } = await at.get("asks.b");
    await at.call(PipesService.registerPipe, { name, etag, defaults: undefined, failure: "" });
    return (await at.get("asks.b")).state;
  };
  expect((await at.get("asks.b")).state).toBe(PipeState.PENDING);
  expect(await answer()).toBe(PipeState.ENABLED);
  await at.edit("web.a", { timeout: "5s" });
  expect((await at.get("asks.b")).state).toBe(PipeState.ENABLED);
  await at.edit("web.a", { columns: [...COLUMNS, { name: "more", type: "string" }] });
  expect((await at.get("asks.b")).state).toBe(PipeState.PENDING);
  expect(await answer()).toBe(PipeState.ENABLED);
});
