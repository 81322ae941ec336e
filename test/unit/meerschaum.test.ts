/** Compose files of Meerschaum, as people write them: what they become, and what is told of the rest. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { declare } from "../../services/cli/declaration/declared.ts";
import { type Imported, importMeerschaum } from "../../services/cli/declaration/meerschaum.ts";
import { scheduleWord, typeWord, variables } from "../../services/cli/declaration/meerschaum-words.ts";
import { readSource } from "../../services/cli/declaration/source.ts";
import { workFolder } from "../harness/work-folder.ts";

describe("schedules", () => {
  test.each([
    ["every 30 seconds", "every 30s", undefined],
    ["every 90 minutes", "every 90m", undefined],
    ["every hour", "every 1h", undefined],
    ["every 2 weeks", "every 14d", undefined],
    ["daily", "every 1d", undefined],
    ["monthly", "cron 0 0 1 * *", undefined],
    ["mon", "cron 0 0 * * 1", undefined],
    ["*/5 * * * *", "cron */5 * * * *", undefined],
    ["every 2 hours starting 00:30", "every 2h", "its start (00:30)"],
    ["every 3 months", undefined, "no fixed span"],
    ["daily and weekly", undefined, "no counterpart"],
    ["whenever", undefined, "no schedule"],
  ])("%s", (given, text, note) => {
    const word = scheduleWord(given);
    expect(word.text).toBe(text);
    if (note) expect(word.note).toContain(note);
    else expect(word.note).toBeUndefined();
  });
});

test.each([
  ["int64", "int64"],
  ["Int32", "int64"],
  ["float", "float64"],
  ["object", "string"],
  ["datetime64[ns, UTC]", "timestamp"],
  ["date", "date"],
  ["bool[pyarrow]", "bool"],
  ["numeric[10, 2]", "decimal(10,2)"],
  ["numeric", "decimal(38,10)"],
  ["json", "json"],
  ["uuid", "uuid"],
  ["geometry[Point, 4326]", undefined],
])("type %s", (given, text) => expect(typeWord(given).text).toBe(text));

test("variables with and without braces", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as it is written in a file.
  expect(variables("a $FOO ${BAR} {MRSM_ROOT_DIR}")).toBe("a ${FOO} ${BAR} {MRSM_ROOT_DIR}");
});

const made = (text: string, folder = "/x/awesome-sauce"): Imported & { readonly value: Record<string, unknown> } => {
  const imported = importMeerschaum(readSource("mrsm-compose.yaml", text, {}), folder);
  return { ...imported, value: parse(imported.yaml) as Record<string, unknown> };
};
const told = ({ notes }: Imported, field: string) =>
  notes.filter(({ at }) => at.endsWith(` ${field}`)).map(({ why }) => why);

const DOCS = `
sync:
  schedule: "every 30 seconds"
pipes:
- connector: "plugin:noaa"
  metric: "weather"
  location: "atlanta"
  parameters:
    noaa:
      stations:
        - "KATL"
- connector: "sql:awesome"
  metric: "fahrenheit"
  target: "atl_temp"
  parameters:
    query: |-
      SELECT timestamp, station, (("temperature (degC)" * 1.8) + 32) AS fahrenheit
      FROM plugin_noaa_weather_atlanta
    columns:
      datetime: "timestamp"
      id: "station"
plugins:
  - "noaa"
config:
  meerschaum:
    instance: "sql:awesome"
    connectors:
      sql:
        awesome:
          database: "awesome.db"
          flavor: "sqlite"
`;

test("the example of its documentation", () => {
  const imported = made(DOCS);
  expect(imported.value).toMatchObject({
    project: "awesome-sauce",
    plugins: { noaa: "./plugins/noaa" },
    schedules: { sync: "every 30s" },
    instances: { noaa: { plugin: "noaa", config: { stations: ["KATL"] } } },
    pipes: {
      "noaa.weather.atlanta": {
        parameters: { schedule: "sync", target: "plugin_noaa_weather_atlanta", backtrack: "1d" },
      },
      "sql.fahrenheit": {
        parameters: { target: "atl_temp", datetime: "timestamp", reads: ["plugin_noaa_weather_atlanta"] },
      },
    },
  });
  const { sql } = (imported.value.pipes as Record<string, { parameters: { sql: string } }>)["sql.fahrenheit"]
    ?.parameters ?? { sql: "" };
  expect(sql).toContain('WHERE "timestamp" >= {begin} AND "timestamp" < {end}');
  expect(told(imported, "config.meerschaum.connectors.sql.awesome")[0]).toContain("ClickHouse");
  expect(told(imported, "plugins")[0]).toContain("port it");
});

const SHOP = `
project_name: "Egg Prices"
root_dir: ./root
sync:
  schedule: daily starting 12:00 tomorrow
  timeout_seconds: 3600
  args: ["--begin", "2020-01-01", "--debug"]
  pipes:
    - connector: plugin:fred
      metric: price
      location: eggs
      tags: [food]
      columns: {datetime: DATE}
      dtypes: {PRICE: float64, WHERE: "geometry[Point, 4326]"}
      parameters: {fred: {series_id: APU0000708111, api_key: abcdef}, upsert: true}
    - connector: plugin:fred
      metric: price
      location: chicken
      columns: {datetime: DATE, id: NAME}
      dtypes: {PRICE: float64}
      parameters: {fred: {series_id: APU0000706111}, fetch: {backtrack_minutes: 0}, verify: {chunk_minutes: 43200}}
    - connector: plugin:fred
      metric: price
      location: copy
      parameters: {fred: {series_id: APU0000706111}, reference: {connector: "plugin:fred", metric: price, location: eggs}}
pipes:
  - {connector: "sql:remote", metric: orders, columns: {datetime: ts}, parameters: {query: select 1}}
  - {connector: "sql:etl", metric: nodate, parameters: {query: select 1}}
  - connector: sql:etl
    metric: joined
    columns: {datetime: DATE}
    parameters:
      query: SELECT "DATE", "PRICE" FROM {{ Pipe('plugin:fred', 'price', 'eggs').target }};
      parents: [{connector: "plugin:fred", metric: price, location: eggs}]
  - metric: lonely
instance: sql:etl
jobs: {verify: verify pipes -s daily}
environment: {FOO: bar}
config: {smtp: {host: x}}
`;

test("everything that has no counterpart is told, with its place; secrets are taken out", () => {
  const imported = made(SHOP);
  const { pipes, instances, secrets } = imported.value as Record<string, Record<string, unknown>>;
  expect(imported.value.project).toBe("egg-prices");
  expect(Object.keys(pipes ?? {})).toEqual([
    "fred.price.eggs",
    "fred-price-chicken.price.chicken",
    "fred-price-chicken.price.copy",
    "sql.joined",
  ]);
  expect(Object.keys(instances ?? {})).toEqual(["fred", "fred-price-chicken"]);
  expect(secrets).toEqual({ "fred-api-key": "env:FRED_API_KEY" });
  expect(imported.yaml + JSON.stringify(imported.notes)).not.toContain("abcdef");
  expect(pipes?.["fred.price.eggs"]).toMatchObject({
    tags: ["food"],
    parameters: { columns: { PRICE: "float64", DATE: "timestamp" }, schema: "evolve", begin: "2020-01-01T00:00:00Z" },
  });
  expect(pipes?.["fred.price.eggs"]).toMatchObject({
    parameters: { timeout: "15m", backtrack: "1d", index: ["DATE"] },
  });
  const chicken = pipes?.["fred-price-chicken.price.chicken"] as { parameters: Record<string, unknown> };
  expect(chicken.parameters).toMatchObject({ chunk: "30d", index: ["DATE", "NAME"] });
  expect(chicken.parameters).not.toHaveProperty("backtrack");
  expect(chicken.parameters).not.toHaveProperty("columns");
  expect(pipes?.["fred-price-chicken.price.copy"]).toMatchObject({
    parameters: { refs: { "*": "pipes/fred.price.eggs" } },
  });
  expect(pipes?.["sql.joined"]).toMatchObject({
    parameters: { after: ["fred.price.eggs"], reads: ["plugin_fred_price_eggs"] },
  });
  const lines = imported.notes.map(({ at }) => at.replace("mrsm-compose.yaml:", "").replace(/:\d+ /, " "));
  expect(lines).toEqual(
    expect.arrayContaining([
      "3 root_dir",
      "5 sync.schedule",
      "6 sync.timeout_seconds",
      "7 sync.args",
      "14 sync.pipes[0].dtypes.WHERE",
      "15 sync.pipes[0].parameters.upsert",
      "20 sync.pipes[1].dtypes",
      "27 pipes[0].connector",
      "28 pipes[1]",
      "35 pipes[3]",
      "36 instance",
      "37 jobs.verify",
      "38 environment.FOO",
      "39 config.smtp",
    ]),
  );
  expect(told(imported, "sync.args")).toEqual(["--debug: flags have no counterpart here"]);
});

test.each([DOCS, SHOP])("what it makes is a millrace.yaml without a mistake", async (text) => {
  await using folder = await workFolder();
  for (const name of ["noaa", "fred"]) {
    await mkdir(join(folder.path, "plugins"), { recursive: true });
    await writeFile(join(folder.path, "plugins", name), "");
  }
  const env = { FRED_API_KEY: "long enough" };
  const source = readSource("millrace.yaml", made(text).yaml, env);
  const { pipes, project } = declare(source, env, folder.path);
  expect(project).not.toBe("");
  expect(pipes.length).toBeGreaterThan(1);
});

test("a file that is something else altogether makes notes, not a crash", () => {
  const imported = made("pipes: nothing\nsync: [1]\nplugins: {a: b}\nconfig: 3\nservices: {web: {}}\n");
  expect(imported.value).toEqual({ project: "awesome-sauce" });
  expect(told(imported, "services")).toHaveLength(1);
});

test("a datetime column of integers is an axis of integers: its lengths are counts", () => {
  const imported = made(`
sync:
  args: ["--begin", "2020-01-01"]
  pipes:
    - connector: plugin:ledger
      metric: entries
      columns: {datetime: ID, id: BOOK}
      dtypes: {ID: int64, VALUE: float64}
      parameters: {fetch: {backtrack_minutes: 500}, verify: {chunk_range: 20000}}
    - {connector: "plugin:ledger", metric: plain, columns: {datetime: ID}, dtypes: {ID: uint64}}
`);
  const { pipes } = imported.value as { pipes: Record<string, { parameters: object }> };
  expect(pipes["ledger.entries"]?.parameters).toMatchObject({
    ...{ begin: "0", chunk: "20000", backtrack: "500", datetime: "ID", index: ["ID", "BOOK"] },
    columns: { ID: "int64", VALUE: "float64", BOOK: "string" },
  });
  expect(pipes["ledger.plain"]?.parameters).toMatchObject({ begin: "0", backtrack: "1440", columns: { ID: "uint64" } });
  expect(told(imported, "sync.pipes[1].columns")).toEqual(["ID is an integer: begin is set to 0, check it"]);
});
