/** A pipe whose windows hold rows keeps their grid: over gRPC on a real bus. */
import { expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { compactTime, parseTime, timestampOf } from "../../services/kit/time.ts";
import { bundleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";

const FETCH = { columns: { time: "timestamp" }, datetime: "time", index: ["time"], chunk: "7d" };
const BEGIN = "2020-01-01T00:00:00Z";
const pipe = (parameters: { begin?: string; chunk?: string }) =>
  Pipe.fromPartial({ name: "pipes/weather.daily", instance: "instances/weather", metric: "daily", parameters });

test("another grid is refused once windows hold rows, also by a pipe that is created again", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus);
  await registry.call(PluginsService.publishPlugin, {
    bundle: bundleOf({ interfaces: { fetch: FETCH } }),
    validateOnly: false,
  });
  const create = (parameters: { begin?: string; chunk?: string }) =>
    registry.call(PipesService.createPipe, { pipe: pipe(parameters) });
  const update = (parameters: { begin?: string; chunk?: string }) =>
    registry.call(PipesService.updatePipe, {
      pipe: pipe(parameters),
      updateMask: Object.keys(parameters).map((field) => `parameters.${field}`),
    });
  await create({ begin: BEGIN });
  await update({ chunk: "1d" });
  await update({ chunk: "7d" });

  const windows = await ground.bus.kv(BUCKETS.windows);
  const [begin, end] = ["2020-01-08T00:00:00Z", "2020-01-15T00:00:00Z"].map((time) => parseTime(time, "time"));
  const window = { begin: timestampOf(begin as bigint), end: timestampOf(end as bigint), rows: 7n };
  await windows.create(
    `${encodeKeyPart("weather.daily")}.${compactTime(begin as bigint)}`,
    Window.encode(Window.fromPartial({ ...window, state: WindowState.DONE })).finish(),
  );
  const refused = {
    code: "invalid",
    mistakes: [{ field: "parameters.chunk", problem: expect.stringContaining("2020-01-08T00:00:00Z") }],
  };
  await expect(update({ chunk: "1d" })).rejects.toMatchObject(refused);
  await expect(update({ begin: "2020-01-02T00:00:00Z" })).rejects.toMatchObject(refused);
  await update({ begin: "2019-12-25T00:00:00Z" });
  await registry.call(PipesService.deletePipe, { name: "pipes/weather.daily", etag: "" });
  await expect(create({ begin: BEGIN, chunk: "30d" })).rejects.toMatchObject(refused);
  await create({ begin: BEGIN });
});
