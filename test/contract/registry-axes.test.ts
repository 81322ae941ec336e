/** Parameters of pipes whose axis is an integer column: what goes with it, and every refusal with its fix. */
import { expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { stretchOf } from "../../services/kit/time.ts";
import { filled, fitMistakes, formMistakes, NONE } from "../../services/registry/parameters.ts";
import { bundleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";

const typed = (id: string) => [
  { name: "id", type: id },
  { name: "value", type: "string" },
];
const mistakesOf = (given: Partial<PipeParameters>) => {
  const parameters = { ...NONE, ...given };
  const form = formMistakes(parameters, "parameters");
  return form.length ? form : fitMistakes(filled(parameters), "parameters");
};

test.each<[string, Partial<PipeParameters>, readonly (readonly [string, RegExp, RegExp])[]]>([
  [
    "times and durations on integers, each told",
    { columns: typed("int64"), datetime: "id", begin: "2024-01-01", end: "2025-01-01", chunk: "1h", backtrack: "1d" },
    [
      ["begin", /"2024-01-01" is not an integer, and the axis is an int64 column/, /such as 100000/],
      ["end", /is not an integer/, /whole number/],
      ["chunk", /"1h" is not an integer/, /whole number/],
      ["backtrack", /"1d" is not an integer/, /whole number/],
    ],
  ],
  [
    "integers on a time axis",
    { columns: typed("timestamp"), datetime: "id", begin: "0", chunk: "100" },
    [
      ["begin", /"0" is an integer, and the axis is time/, /declare the datetime column as int64 or uint64/],
      ["chunk", /"100" is an integer/, /a duration such as 1d/],
    ],
  ],
  [
    "what goes by the time of rows",
    {
      ...{ columns: typed("uint64"), datetime: "id", begin: "0", retention: "30d", partition: "day" },
      ...{ freshness: "1h", timezone: "Europe/Berlin" },
    },
    [
      ["retention", /goes by time, and id is an uint64 column/, /use ttl/],
      ["partition", /goes by time/, /or none/],
      ["freshness", /goes by time/, /without a now/],
      ["timezone", /goes by time/, /no timestamp/],
    ],
  ],
  [
    "a type that is no axis",
    { columns: typed("string"), datetime: "id" },
    [["datetime", /column of type string/, /timestamp, date, int64 or uint64/]],
  ],
  ["a chunk of 0", { columns: typed("int64"), datetime: "id", chunk: "0" }, [["chunk", /is 0/, /at least 1/]]],
  [
    "beyond its column",
    { columns: typed("uint64"), datetime: "id", begin: "-1", end: "18446744073709551616" },
    [
      ["begin", /-1 is out of range/, /from 0 to 18446744073709551615/],
      ["end", /out of range/, /18446744073709551615/],
    ],
  ],
  [
    "the last integer, and an end that is none",
    { columns: typed("int64"), datetime: "id", begin: "9223372036854775807", end: "5" },
    [
      ["begin", /the last one of the axis/, /no window holds the last integer/],
      ["end", /not after begin/, /exclusive/],
    ],
  ],
])("refused: %s", (_, parameters, wanted) => {
  const told = mistakesOf(parameters);
  expect(told.map(({ field }) => field).toSorted()).toEqual(wanted.map(([name]) => `parameters.${name}`).toSorted());
  for (const [name, problem, fix] of wanted) {
    const mistake = told.find(({ field }) => field === `parameters.${name}`);
    expect(mistake?.problem).toMatch(problem);
    expect(mistake?.fix).toMatch(fix);
  }
});

test("what nobody says goes with the axis", () => {
  const said = { columns: typed("int64"), datetime: "id", begin: "-9223372036854775808", ttl: "30d" };
  expect(mistakesOf(said)).toEqual([]);
  expect(filled({ ...NONE, ...said })).toMatchObject({ chunk: "100000", backtrack: "0", schedule: "manual" });
  expect(filled({ ...NONE, datetime: "id" })).toMatchObject({ chunk: "1d", backtrack: "0s" });
});

test("a grid of integers stays once windows hold rows, and chains are of one kind", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus);
  const fetch = { columns: { id: "int64", time: "timestamp" }, datetime: "id", begin: "0", chunk: "100" };
  await registry.call(PluginsService.publishPlugin, {
    bundle: bundleOf({ interfaces: { fetch } }),
    validateOnly: false,
  });
  const pipe = (metric: string, parameters: Partial<PipeParameters> = {}) =>
    Pipe.fromPartial({ name: `pipes/weather.${metric}`, instance: "instances/weather", metric, parameters });
  const create = (metric: string, parameters: Partial<PipeParameters> = {}) =>
    registry.call(PipesService.createPipe, { pipe: pipe(metric, parameters) });
  const update = (parameters: Partial<PipeParameters>) =>
    registry.call(PipesService.updatePipe, {
      pipe: pipe("ids", parameters),
      updateMask: Object.keys(parameters).map((field) => `parameters.${field}`),
    });
  await create("ids");
  await update({ chunk: "50" });
  const windows = await ground.bus.kv(BUCKETS.windows);
  const window = Window.fromPartial({ ...stretchOf("int64", -50n, 0n), rows: 3n, state: WindowState.DONE });
  await windows.create(`${encodeKeyPart("weather.ids")}.-50`, Window.encode(window).finish());
  for (const change of [{ chunk: "100" }, { begin: "7" }, { datetime: "time", begin: "2024-01-01", chunk: "1d" }]) {
    await expect(update(change)).rejects.toMatchObject({
      code: "invalid",
      mistakes: [{ field: "parameters.chunk", problem: expect.stringContaining("such as -50 to 0") }],
    });
  }
  await update({ begin: "-100" });

  const time = { datetime: "time", begin: "2024-01-01", chunk: "1d" };
  await create("child", { after: ["weather.ids"] });
  await expect(create("other", { ...time, after: ["weather.ids"] })).rejects.toMatchObject({
    code: "invalid",
    mistakes: [
      {
        field: "parameters.after[0]",
        problem: expect.stringMatching(/^weather\.ids goes by int64, and this pipe by time; make both of one kind/),
      },
    ],
  });
});
