/** What a pipe may ask of its table: refused with every mistake, and what is accepted ClickHouse takes, too. */
import { expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { FALLBACK, fitMistakes, formMistakes, merge } from "../../services/registry/parameters.ts";
import { partitionMistakes, recut } from "../../services/registry/storage.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";

const TYPES = ["string", "int64", "uint64", "float64", "bool", "timestamp", "date", "uuid", "json"];
const COLUMNS = [...TYPES, "decimal(18,4)", "decimal(38,0)", "array(int64)", "array(string)", "array(float64)"];
const CODECS = ["NONE", "LZ4", "LZ4HC(9)", "ZSTD(3)", "Delta, ZSTD", "DoubleDelta, LZ4", "T64, LZ4", "GCD, ZSTD"];
const ALL_CODECS = [...CODECS, "Gorilla, ZSTD", "FPC(12), LZ4", "Delta(4), Delta, ZSTD(1)"];

const columns = COLUMNS.map((type, i) => ({ name: `c${i}`, type }));
const judged = (over: Partial<PipeParameters>) => {
  const parameters = PipeParameters.fromPartial(over);
  const form = formMistakes(parameters, "parameters");
  return form.length ? form : fitMistakes(merge(parameters, FALLBACK), "parameters");
};

test("every codec that is accepted for a type is one that ClickHouse takes; each is accepted for some type", async () => {
  await using server = await startTestClickHouse();
  await using results = await openTestResults(server);
  const accepted = ALL_CODECS.map((codec) => {
    const codecs = columns.flatMap(({ name }) => (judged({ columns, codecs: { [name]: codec } }).length ? [] : [name]));
    expect(codecs.length, codec).toBeGreaterThan(0);
    return Object.fromEntries(codecs.map((name) => [name, codec]));
  });
  for (const [i, codecs] of accepted.entries()) {
    const types = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
    await results.ensureDataset({ dataset: `codecs_${i}`, columns: types, storage: { codecs } });
  }
  // A codec for a number is none for a text.
  expect(accepted[ALL_CODECS.indexOf("Delta, ZSTD")]).not.toHaveProperty("c0");
  expect(Object.keys(accepted[ALL_CODECS.indexOf("Gorilla, ZSTD")] ?? {})).toEqual(["c3", "c13"]);
}, 60_000);

test("all mistakes of storage at once, each with its field", () => {
  const mistakes = judged({
    retention: "5m",
    ttl: "soon",
    partition: "week",
    codec: "Delta, ZSTD",
    codecs: { c0: "ZSTDD", c1: "ZSTD(99)", c2: "LZ4, ZSTD", c3: "Delta" },
    freshness: "0s",
  });
  expect(mistakes.map(({ field }) => field).toSorted()).toEqual(
    ["codec", "codecs.c0", "codecs.c1", "codecs.c2", "codecs.c3", "freshness", "partition", "retention", "ttl"].map(
      (name) => `parameters.${name}`,
    ),
  );
  expect(mistakes.find(({ field }) => field.endsWith("c0"))?.fix).toContain("did you mean ZSTD?");
});

test("what does not fit together", () => {
  const bad = judged({ columns, retention: "1d", codecs: { c9: "FPC, LZ4", zz: "LZ4" } });
  expect(bad.map(({ field }) => field)).toEqual(["retention", "codecs.c9", "codecs.zz"].map((f) => `parameters.${f}`));
  const time = { columns: [{ name: "t", type: "timestamp" }], datetime: "t", partition: "day" };
  expect(judged({ ...time, chunk: "101d" }).map(({ field }) => field)).toEqual(["parameters.chunk"]);
  expect(judged({ ...time, chunk: "100d", retention: "1h", ttl: "1d", freshness: "1h", codec: "ZSTD" })).toEqual([]);
});

test("a table that holds rows is not cut anew; an empty one, or another one, may be", () => {
  const pipe = (partition: string, datetime = "t", dataset = "d") =>
    Pipe.fromPartial({ dataset, effective: { partition, datetime } });
  expect(recut(pipe("day"), pipe("day"))).toBe(false);
  expect(recut(pipe("day"), pipe("month"))).toBe(true);
  expect(recut(pipe("day"), pipe("day", "u"))).toBe(true);
  expect(recut(pipe(""), pipe("", "u"))).toBe(false);
  expect(recut(pipe("day"), pipe("month", "t", "e"))).toBe(false);
  expect(partitionMistakes(pipe("day"), [Window.fromPartial({ rows: 0n })])).toEqual([]);
  const [mistake] = partitionMistakes(pipe("day"), [Window.fromPartial({ rows: 3n })]);
  expect(mistake).toMatchObject({
    field: "parameters.partition",
    problem: expect.stringContaining("1 fetched window"),
  });
});
