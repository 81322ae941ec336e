/** Sources as they are: they change their schema, repeat rows, send late and bad ones, refuse, and break off. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import type { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, bare, runIds } from "../../proto/names.ts";
import { readWindow } from "../../services/executor/windows.ts";
import { compactTime, parseTime } from "../../services/kit/time.ts";
import type { Results } from "../../services/results/results.ts";
import { type BusGround, embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { type Executing, openExecuting } from "../harness/executing.ts";
import { startServer } from "../harness/http-guest.ts";
import { until } from "../harness/until.ts";

const DAY_US = 86_400_000_000n;
const BEGIN_US = parseTime("2024-01-01T00:00:00Z", "begin");
const day = (n: number, time = "00:00:00Z") => `2024-01-${String(n + 1).padStart(2, "0")}T${time}`;

let [stack, ground, results, at] = [new AsyncDisposableStack()] as unknown as [
  AsyncDisposableStack,
  BusGround,
  Results,
  Executing,
];
beforeAll(async () => {
  const server = stack.use(await startTestClickHouse());
  ground = stack.use(await embeddedGround());
  results = stack.use(await openTestResults(server));
  at = stack.use(await openExecuting(ground.bus, results));
  await at.executor();
});
afterAll(() => stack.disposeAsync());

interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Lines as they are, or rows. */
  readonly rows?: readonly (object | string)[];
  /** The connection ends in the middle. */
  readonly cut?: boolean;
}

/** A pipe over a source that answers by window, page, and how often it was asked for that before. */
async function pipeOver(
  id: string,
  answer: (window: number, page: number, asked: number) => Answer,
  parameters: Partial<Pipe["parameters"]> = {},
) {
  const asked: { readonly what: string; readonly atMs: number }[] = [];
  const source = stack.use(
    await startServer(({ url }, response) => {
      const query = new URL(url, "http://source").searchParams;
      const window = Number((parseTime(query.get("begin") ?? "", "begin") - BEGIN_US) / DAY_US);
      const what = `${window}/${query.get("page")}`;
      const before = asked.filter((one) => one.what === what).length;
      asked.push({ what, atMs: performance.now() });
      const { status = 200, headers = {}, rows = [], cut } = answer(window, Number(query.get("page")), before);
      const body = rows.map((row) => `${typeof row === "string" ? row : JSON.stringify(row)}\n`).join("");
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
      if (!cut) return void response.end(body);
      response.write(body.slice(0, body.length / 2), () => response.destroy());
    }),
  );
  const instance = await at.instance(id, { mode: "relay", url: source.url }, { plugin: "plugins/relay" });
  const pipe = Pipe.fromPartial({ instance, metric: "rows", parameters });
  const made = (await at.registry.call(PipesService.createPipe, { pipe })).pipe as Pipe;
  const windows = await ground.bus.kv(BUCKETS.windows);
  const stored = (n: number): Promise<Window | undefined> => {
    const beginUs = BEGIN_US + BigInt(n) * DAY_US;
    return readWindow(windows, { pipe: bare(made.name), beginUs, endUs: beginUs + DAY_US });
  };
  return {
    asked,
    /** Fetches the n-th day and waits until it has ended. */
    async fetch(n: number) {
      const beginUs = BEGIN_US + BigInt(n) * DAY_US;
      const endUs = beginUs + DAY_US;
      const runId = runIds.fetch(bare(made.name), compactTime(beginUs));
      const before = (await stored(n))?.fence ?? 0n;
      await at.fetch(made, { runId, beginUs, endUs, untilUs: endUs });
      const window = await until(`day ${n} has ended`, async () => {
        const now = await stored(n);
        return now && now.fence > before && now.state !== WindowState.RUNNING && now;
      });
      const runs = await results.getRun(runId);
      return { state: window.state, rows: window.rows, message: window.message, runs };
    },
  };
}

async function select(sql: string): Promise<readonly (readonly unknown[])[]> {
  return (await results.query({ sql, maxRows: 10_000, maxBytes: 1e7, timeoutMs: 10_000 })).rows;
}
const ok = (rows: bigint) => ({ state: WindowState.DONE, rows });

test("a source that changes its schema with every window: each value is there as it was sent", async () => {
  // What the source sends of `v` day by day, and how it is read in the end, when the column has grown to text.
  const days: readonly (readonly [sent: string, read: string])[] = [
    ["1", "1"],
    ["9223372036854775807", "9223372036854775807"],
    ["1.5", "1.5"],
    ["null", ""],
    ['"text"', "text"],
    ["true", "true"],
    ['{"a":[1,2]}', '{"a":[1,2]}'],
    ["[1,2]", "[1,2]"],
    ['"2024-01-09T12:00:00+02:00"', "2024-01-09T12:00:00+02:00"],
    ['"6f1e0b54-9d7c-4c59-b0c6-0a2d6f6f4a10"', "6f1e0b54-9d7c-4c59-b0c6-0a2d6f6f4a10"],
    ["123456789012345678901234567890.5", "123456789012345678901234567890.5"],
  ];
  const source = await pipeOver("moody", (n) => ({
    rows: [`{"time":"${day(n)}","v":${days[n]?.[0]},"only_on_${n}":${n}}`],
  }));
  for (const n of days.keys()) expect(await source.fetch(n)).toMatchObject(ok(1n));
  const read = await select("SELECT v FROM moody_rows ORDER BY time");
  expect(read.map(([v]) => v ?? "")).toEqual(days.map(([, text]) => text));
  // A column came with each day, and only that day has a value in it.
  const own = days.map((_, n) => `countIf(only_on_${n} = ${n}) = 1 AND count(only_on_${n}) = 1`).join(" AND ");
  expect(await select(`SELECT ${own} FROM moody_rows`)).toEqual([[1]]);
});

test("types of their own grow in their own ways: dates, time zones, decimals, lists", async () => {
  const days = [
    { when: "2024-01-01", list: [1], whole: "18446744073709551615", id: "6f1e0b54-9d7c-4c59-b0c6-0a2d6f6f4a10" },
    { when: "2024-01-02T03:04:05.000006+01:00", list: [1.5], whole: 1, id: "6f1e0b54-9d7c-4c59-b0c6-0a2d6f6f4a11" },
    { when: "2024-01-03T00:00:00Z", list: ["x"], whole: 0.5, id: "not a uuid any more" },
  ];
  const source = await pipeOver("grower", (n) => ({ rows: [{ time: day(n), ...days[n] }] }));
  for (const n of days.keys()) expect(await source.fetch(n)).toMatchObject(ok(1n));
  const read = await select("SELECT toString(when), toString(list), id FROM grower_rows ORDER BY time");
  expect(read.map(([, , id]) => id)).toEqual(days.map(({ id }) => id));
  expect(read.map(([when]) => String(when).slice(0, 19))).toEqual([
    "2024-01-01 00:00:00",
    "2024-01-02 02:04:05",
    "2024-01-03 00:00:00",
  ]);
  expect(read.map(([, list]) => String(list).replaceAll("'", ""))).toEqual(["[1]", "[1.5]", "[x]"]);
});

test("duplicates stay where nothing says what equal is, and are one with an index; late rows are kept with their run", async () => {
  const twice = { time: day(0), id: 1, v: "same" };
  const late = { time: day(0, "23:00:00Z"), id: 2, v: "late" };
  const answer = (n: number, _: number, asked: number): Answer => {
    if (n === 0) return { rows: [twice, twice] };
    return { rows: [...(asked === 0 ? [late] : []), { time: day(1), id: 3, v: "on time" }, twice] };
  };
  for (const [id, index, seen, after] of [
    ["repeats", [], 5, 4],
    ["unique", ["time", "id"], 3, 2],
  ] as const) {
    const source = await pipeOver(id, answer, { index: [...index] });
    expect(await source.fetch(0)).toMatchObject(ok(2n));
    expect(await source.fetch(1)).toMatchObject(ok(3n));
    expect(await select(`SELECT count() FROM ${id}_rows`)).toEqual([[String(seen)]]);
    expect(await select(`SELECT v FROM ${id}_rows WHERE id = 2`)).toEqual([["late"]]);
    // Two rows of the second window lie outside it; fetched again without one, that one is gone.
    const runs = await results.committedRuns({ dataset: `${id}_rows`, target: `pipes/${id}.rows` });
    const sums = await results.sumRuns(`${id}_rows`, runs);
    expect([...sums.values()].map(({ runId, outside }) => [runId.slice(-16), outside]).sort()).toEqual([
      ["20240101T000000Z", 0],
      ["20240102T000000Z", 2],
    ]);
    expect(await source.fetch(1)).toMatchObject(ok(2n));
    expect(await select(`SELECT count() FROM ${id}_rows`)).toEqual([[String(after)]]);
  }
});

test("of a thousand rows fifty are bad: the others count, the bad ones are set aside with the reason", async () => {
  const bad = ['{"time":"yesterday","n":1}', '{"time":"2024-01-01T00:00:00","n":1}', '{"n":{}}', '{"n":"x', "[1]"];
  const rows = Array.from({ length: 1_000 }, (_, i) =>
    i % 20 === 7 ? (bad[((i / 20) % bad.length) | 0] as string) : { time: day(0), n: i },
  );
  const columns = [
    { name: "time", type: "timestamp" },
    { name: "n", type: "int64" },
  ];
  const source = await pipeOver("sloppy", () => ({ rows }), { columns, schema: "reject" });
  expect(await source.fetch(0)).toMatchObject({ ...ok(950n), runs: [{ rejected: 50, rows: 950 }] });
  expect(await select("SELECT count(), uniqExact(n) FROM sloppy_rows")).toEqual([["950", "950"]]);
  const { rejects } = await results.listRejects({ dataset: "sloppy_rows" }, { size: 100 });
  expect(rejects.map(({ row }) => row)).toEqual(Array.from({ length: 50 }, (_, i) => i * 20 + 8));
  expect(rejects.every(({ reason, raw }) => reason.length > 0 && bad.includes(raw))).toBe(true);
});

test("429 with Retry-After: asked again when the source said, and no sooner", async () => {
  const source = await pipeOver("busy", (_, __, asked) =>
    asked === 0 ? { status: 429, headers: { "retry-after": "2" } } : { rows: [{ time: day(0), n: 1 }] },
  );
  const ended = await source.fetch(0);
  expect(ended).toMatchObject(ok(1n));
  expect(ended.runs.map(({ outcome }) => outcome)).toEqual(["ok", "guest_error"]);
  const [first, second, ...more] = source.asked.map(({ atMs }) => atMs);
  expect(more).toEqual([]);
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThan(1_900);
});

test("half an answer, then a cut: nothing of it is seen, and what was checkpointed is not asked for again", async () => {
  const page = (from: number) => Array.from({ length: 100 }, (_, i) => ({ time: day(0), n: from + i }));
  const source = await pipeOver("cut", (_, n, asked) => ({
    ...(n < 3 && { headers: { "x-more": "yes" } }),
    rows: page(n * 100),
    cut: n === 2 && asked < 2,
  }));
  const ended = await source.fetch(0);
  expect(ended).toMatchObject(ok(400n));
  expect(ended.runs.map(({ outcome }) => outcome)).toEqual(["ok", "host_error", "host_error"]);
  expect(source.asked.map(({ what }) => what)).toEqual(["0/0", "0/1", "0/2", "0/2", "0/2", "0/3"]);
  expect(await select("SELECT count(), uniqExact(n) FROM cut_rows")).toEqual([["400", "400"]]);
});
