/** Exactly once on an axis of integers: the platform is killed at one step after another while its sources grow. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { busFolder, openCrashGround, type Part } from "../harness/crash-ground.ts";
import { startServer } from "../harness/http-guest.ts";
import { ledgerPage } from "../harness/ledger.ts";
import { until } from "../harness/until.ts";

const LEDGER = join(import.meta.dirname, "../plugins/ledger");
/** Of a scheduler and of an executor, in the order of a window's life. */
const STEPS = ["claimed", "chunk_stored", "executed", "committed", "finished"];
const PIPES = ["telling.rows", "mute.rows"];
const PATIENCE_MS = 120_000;

test("killed at every step, each entry is seen once and none is missing", { timeout: 400_000 }, async () => {
  await using stack = new AsyncDisposableStack();
  let part: Part | undefined;
  const address = () => part?.address ?? { registry: "", scheduler: "" };
  const doors = { registry: () => address().registry, scheduler: () => address().scheduler };
  const entries: bigint[] = [];
  const source = stack.use(await startServer(({ url }, response) => void response.end(ledgerPage(entries, url))));
  const ground = await openCrashGround({ file: await busFolder(stack) }, doors, stack);
  part = await ground.part(["registry", "scheduler", "executor"]);
  using registry = connect(part.address.registry);
  const bundle = await readFile((await buildPlugin(LEDGER)).path);
  await ask(registry, PluginsService.publishPlugin, { bundle, validateOnly: false }, { deadlineMs: 30_000 });
  const more = { begin: "-300", end: "", chunk: "100", schedule: "every 1s" };
  for (const pipe of PIPES) {
    const [id = ""] = pipe.split(".");
    const config = { url: source.url, ...(id === "telling" && { head: 1 }) };
    await ground.create(id, { plugin: "plugins/ledger", config }, 1, more);
  }
  let next = -300n;
  const grow = (count: number) => {
    for (let i = 0; i < count; i += 1, next += 17n) entries.push(next);
  };
  for (const [i, step] of STEPS.entries()) {
    const reached = part.reach({ pipe: PIPES[i % 2] as string, step, nth: 1 }, PATIENCE_MS);
    grow(20);
    await reached;
    await part.kill9();
    await part.restart();
  }
  grow(20);
  const wanted = entries.map(String);
  for (const pipe of PIPES) {
    await until(`${pipe} has all entries`, async () => (await ground.ids(pipe)).join() === wanted.join(), PATIENCE_MS);
    const counted = async () =>
      (await ground.windows(pipe)).reduce((sum, { rows }) => sum + Number(rows), 0) === wanted.length;
    await until(`the windows of ${pipe} count them`, counted, PATIENCE_MS);
    expect((await ground.windows(pipe))[0]).toMatchObject({ beginInt: "-300", endInt: "-200", rows: 6n });
  }
});
