/** A pipe's storage from its parameters to its table: made with the first window, changed by an edit, refused after rows. */
import { expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { bare } from "../../proto/names.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { until } from "../harness/until.ts";

const YEARS = "3650d";

test("partition, ttl and codecs come with the first window, change with the next, and the view stays right", async () => {
  await using server = await startTestClickHouse();
  const database = `pipe_storage_${process.pid}`;
  await using results = await openTestResults(server, { database });
  await using ground = await embeddedGround();
  await using at = await openExecuting(ground.bus, results);
  await at.executor();
  const { registry } = at;
  const instance = await at.instance("kept", { mode: "emit", rows: 4, batches: 1 }, { plugin: "plugins/larder" });
  const declared = Pipe.fromPartial({
    instance,
    metric: "rows",
    parameters: { partition: "month", retention: YEARS, ttl: YEARS, codec: "ZSTD(2)" },
  });
  const pipe = (await registry.call(PipesService.createPipe, { pipe: declared })).pipe as Pipe;
  const definition = async () =>
    (
      await fetch(server.url, { method: "POST", body: `SHOW CREATE TABLE ${database}.${bare(pipe.dataset)}__rows` })
    ).text();
  const edit = (parameters: Partial<PipeParameters>) =>
    registry.call(PipesService.updatePipe, {
      pipe: Pipe.fromPartial({ name: pipe.name, parameters }),
      updateMask: Object.keys(parameters).map((field) => `parameters.${field}`),
    });
  const fetched = async () => {
    const { pipe: now } = await registry.call(PipesService.getPipe, { name: pipe.name });
    const { runId, dueUs } = await at.fetch(now as Pipe);
    await at.runs(runId, (runs) => runs.some((run) => run.dueUs === dueUs && run.outcome === "ok"));
  };
  await fetched();
  expect(await definition()).toMatch(/PARTITION BY toYYYYMM\(\w+\)[\s\S]*TTL least\(/);
  expect(await definition()).toContain("CODEC(ZSTD(2))");
  const count = async () => {
    const sql = `SELECT count() FROM ${bare(pipe.dataset)}`;
    return Number((await results.query({ sql, maxRows: 1, maxBytes: 1e6, timeoutMs: 10_000 })).rows[0]?.[0]);
  };
  expect(await count()).toBe(4);

  await edit({ ttl: "", codec: "LZ4" });
  await fetched();
  await until("the table is as the pipe says now", async () => {
    const text = await definition();
    return !text.includes("least(") && text.includes("CODEC(LZ4)") && text.includes("TTL ");
  });
  expect(await count()).toBe(4);

  const refusal = await edit({ partition: "day" }).catch((thrown) => thrown);
  expect(refusal.mistakes).toMatchObject([{ field: "parameters.partition" }]);

  // The rows are of a day long ago: kept for an hour they are gone at once, and the window is as it was.
  await edit({ retention: "1h" });
  await fetched();
  expect(await count()).toBe(0);
}, 120_000);
