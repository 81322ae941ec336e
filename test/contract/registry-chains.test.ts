/** Pipes that come after others, pipes that are a SELECT, plugins with sync and hooks: what the registry takes. */
import { expect, test } from "vitest";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SQL_INSTANCE } from "../../proto/names.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";

const FETCH = { columns: { time: "timestamp" }, datetime: "time", chunk: "1d", begin: "2020-01-01T00:00:00Z" };
const SQL = "SELECT toStartOfHour(time) AS time FROM weather_a WHERE time >= {begin} AND time < {end}";

async function open() {
  const stack = new AsyncDisposableStack();
  const ground = stack.use(await embeddedGround());
  const registry = stack.use(await startRegistry(ground.bus));
  const publish = (manifest: Parameters<typeof bundleOf>[0], ...exports: string[]) => {
    const bundle = bundleOf(manifest, { "plugin.wasm": moduleOf(...exports) });
    return registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  };
  return {
    publish,
    create: (metric: string, parameters: Partial<PipeParameters> = {}, instance = "instances/weather") =>
      registry.call(PipesService.createPipe, { pipe: Pipe.fromPartial({ instance, metric, parameters }) }),
    edit: (id: string, parameters: Partial<PipeParameters>) =>
      registry.call(PipesService.updatePipe, {
        pipe: Pipe.fromPartial({ name: `pipes/${id}`, parameters }),
        updateMask: Object.keys(parameters).map((field) => `parameters.${field}`),
      }),
    remove: (id: string) => registry.call(PipesService.deletePipe, { name: `pipes/${id}`, etag: "" }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
const problems = (...mistakes: readonly (readonly [field: string, problem: string])[]) => ({
  code: "invalid",
  mistakes: mistakes.map(([field, problem]) => ({ field, problem: expect.stringContaining(problem) })),
});

test("a chain names pipes that are there, in no circle; what others come after stays", async () => {
  await using registry = await open();
  await registry.publish({ interfaces: { fetch: FETCH } }, "fetch");
  await registry.create("a");
  await registry.create("b", { after: ["weather.a"] });
  await registry.create("c", { after: ["weather.b", "weather.a"] });
  const [missing, twice] = ["there is no pipe weather.x", "weather.a is there twice"];
  await expect(registry.create("d", { after: ["weather.x"] })).rejects.toMatchObject(
    problems(["parameters.after[0]", missing]),
  );
  await expect(registry.create("d", { after: ["weather.a", "weather.a", "A b"] })).rejects.toMatchObject(
    problems(["parameters.after[1]", twice], ["parameters.after[2]", "is none"]),
  );
  const circle = "weather.a after weather.c after weather.b after weather.a";
  await expect(registry.edit("weather.a", { after: ["weather.c"] })).rejects.toMatchObject(
    problems(["parameters.after[0]", circle]),
  );
  await expect(registry.edit("weather.a", { after: ["weather.a"] })).rejects.toMatchObject(
    problems(["parameters.after[0]", "weather.a after weather.a"]),
  );
  await expect(registry.remove("weather.a")).rejects.toMatchObject({
    code: "precondition",
    message: expect.stringContaining("pipes/weather.b, pipes/weather.c come after pipes/weather.a"),
  });
  await registry.edit("weather.c", { after: [] });
  await registry.remove("weather.b");
  await registry.remove("weather.a");
});

test("a pipe that is a SELECT needs no plugin, and says what it reads; its connector's name is kept", async () => {
  await using registry = await open();
  await registry.publish({ interfaces: { fetch: FETCH } }, "fetch");
  const given = { sql: SQL, reads: ["weather_a"], begin: FETCH.begin };
  const { pipe } = await registry.create("hourly", given, SQL_INSTANCE);
  expect(pipe).toMatchObject({ name: "pipes/sql.hourly", state: PipeState.ENABLED, dataset: "sql_hourly" });
  await expect(registry.create("x", { begin: FETCH.begin }, SQL_INSTANCE)).rejects.toMatchObject(
    problems(["parameters.sql", "is not set"]),
  );
  const bad = { sql: "SELECT 1 WHERE {begin} > 0", reads: ["no good", "sql_x"] };
  await expect(registry.create("x", bad, SQL_INSTANCE)).rejects.toMatchObject(
    problems(["parameters.reads[0]", "is none"], ["parameters.sql", "does not name {end}"]),
  );
  await expect(registry.create("x", { ...given, reads: ["sql_x"] }, SQL_INSTANCE)).rejects.toMatchObject(
    problems(["parameters.reads", "is the dataset that it writes"]),
  );
  await expect(registry.create("x", given)).rejects.toMatchObject(
    problems(["parameters.sql", "for pipes that are a SELECT"], ["parameters.reads", "for pipes that are a SELECT"]),
  );
  await expect(registry.publish({ name: "sql", interfaces: { fetch: FETCH } }, "fetch")).rejects.toMatchObject(
    problems(["name", "the built-in connector"]),
  );
});

test("a plugin may write by sync, and hooks are for those that have pipes", async () => {
  await using registry = await open();
  const hooks = { before_sync: { timeout: "5s" }, after_sync: {} };
  await expect(registry.publish({ interfaces: { ...hooks, route: { routes: [] } } }, "route")).rejects.toMatchObject(
    problems(
      ["interfaces.before_sync", "is declared without fetch or sync"],
      ["interfaces.after_sync", "is declared without fetch or sync"],
    ),
  );
  await expect(registry.publish({ interfaces: { ...hooks, sync: FETCH } }, "sync")).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("before_sync"),
  });
  await registry.publish({ interfaces: { ...hooks, sync: FETCH } }, "sync", "before_sync", "after_sync");
  const { pipe } = await registry.create("a");
  expect(pipe).toMatchObject({ state: PipeState.ENABLED, effective: { chunk: "1d", datetime: "time" } });
});
