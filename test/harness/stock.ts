/** The stock plugins, published to a real registry, run by a real executor, with rows in a real ClickHouse. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare, runIds } from "../../proto/names.ts";
import type { RunRecord } from "../../services/results/results.ts";
import { embeddedGround } from "./bus-ground.ts";
import { openTestResults, startTestClickHouse } from "./clickhouse.ts";
import { openExecuting } from "./executing.ts";

const SHELF = join(import.meta.dirname, "../../plugins-sdk/stock");
/** The value of the secret `token`. */
export const TOKEN = "tok-7f3a99c1e5";
const READ = { maxRows: 1_000, maxBytes: 1 << 20, timeoutMs: 5_000 };
const GRANTED = {
  http: [{ url: "http://127.0.0.1:*/*", methods: ["GET", "POST", "HEAD"] }],
  secrets: ["token"],
  kv: true,
  query: ["metrics"],
};

export type Stock = Awaited<ReturnType<typeof openStock>>;

export async function openStock(names: readonly string[]) {
  const stack = new AsyncDisposableStack();
  const bundles: Buffer[] = [];
  for (const name of names) bundles.push(await readFile((await buildPlugin(join(SHELF, name))).path));
  const results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  const at = stack.use(await openExecuting(stack.use(await embeddedGround()).bus, results));
  for (const bundle of bundles) {
    await at.registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  }
  const secret = { name: "secrets/token", value: TOKEN, hosts: ["127.0.0.1"], etag: "" };
  await at.registry.call(SecretsService.setSecret, secret);
  await at.executor();

  let made = 0;
  /** Granted this machine and the secret, not the world that the manifest asks for. */
  const instanceOf = async (plugin: string, config: object): Promise<string> => {
    made += 1;
    const grants = { allRequested: false, only: GRANTED };
    return at.instance(`${plugin}-${made}`, {}, Instance.fromPartial({ config, plugin: `plugins/${plugin}`, grants }));
  };
  const select = async (sql: string, params: Record<string, string> = {}) => {
    const { rows, columns } = await results.query({ sql, params, ...READ });
    return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])));
  };
  return {
    at,
    instanceOf,

    /** Fetches the one window of 2024-01-01 of a source. */
    async fetched(plugin: string, source: object) {
      const pipe = await at.pipe(await instanceOf(plugin, { sources: { rows: source } }), 1);
      const { runId } = await at.fetch(pipe);
      const [run] = await at.runs(runId, (runs) => runs[0]?.outcome !== undefined);
      const rows = async () => {
        const all = await select(`SELECT * FROM ${bare(pipe.dataset)}`);
        return all.sort((a, b) => (String(a.time) < String(b.time) ? -1 : 1));
      };
      return { run: run as RunRecord, rows, pipe };
    },

    /** Discovers; polls when asked. */
    async polled(plugin: string, config: object) {
      const instance = await instanceOf(plugin, config);
      const id = bare(instance);
      const finder = await at.poller(`${id}-find`, instance, PollerKind.DISCOVER);
      const found = runIds.discover(bare(finder.name), "20240101T000000Z");
      await at.send({ kind: JobKind.DISCOVER, runId: found, instance, poller: finder.name });
      await at.runs(found, (runs) => runs.some((run) => run.committed));
      const page = { pageSize: 100, pageToken: "", filter: "" };
      const { resources } = await at.registry.call(ResourcesService.listResources, page);
      const poller = await at.poller(`${id}-poll`, instance, PollerKind.POLL);
      return {
        resources: resources.filter(({ origin }) => origin === instance),
        async poll(resource: string, due = "20240101T000000Z") {
          const runId = runIds.poll(bare(poller.name), bare(resource), due);
          await at.send({ kind: JobKind.POLL, runId, instance, poller: poller.name, resource, manual: true });
          const [run] = await at.runs(runId, (runs) => runs[0]?.outcome !== undefined);
          return run as RunRecord;
        },
        values: (resource: string) =>
          select("SELECT group, name, type, value, dimensions FROM metrics WHERE resource = {resource:String}", {
            resource: bare(resource),
          }),
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
