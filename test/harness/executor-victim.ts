/** A process with bus, registry and executor that fetches one window, and ends itself at a chosen step if asked to. */
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { openExecuting } from "./executing.ts";
import { until } from "./until.ts";

export interface VictimOrder {
  readonly busFile: string;
  readonly clickHouse: { readonly url: string; readonly readerUrl: string; readonly database: string };
  readonly config: Readonly<Record<string, string | number>>;
  /** Sends the job first; the second process finds it in the queue. */
  readonly first: boolean;
  /** The n-th time that this step is reached, from 1. */
  readonly killAt?: { readonly step: string; readonly nth: number };
}

/** Longer than a lock lives. */
const PATIENCE_MS = 60_000;

const order = JSON.parse(process.argv[2] ?? "{}") as VictimOrder;
await using stack = new AsyncDisposableStack();
const bus = stack.use(await openEmbeddedBus({ file: order.busFile, log: silentLog }));
const results = stack.use(await openResults({ ...order.clickHouse, log: silentLog }));
const at = stack.use(await openExecuting(bus, results));
if (order.first) {
  const instance = await at.instance("victim", order.config, { plugin: "plugins/larder" });
  await at.fetch(await at.pipe(instance));
}
let reached = 0;
await at.executor({}, (step) => {
  if (step !== order.killAt?.step) return;
  reached += 1;
  if (reached === order.killAt.nth) process.kill(process.pid, "SIGKILL");
});
process.stdout.write("up\n");
const pipe = { name: "pipes/victim.rows" } as Parameters<typeof at.window>[0];
await until(
  "window done and nothing queued",
  async () => (await at.window(pipe))?.state === WindowState.DONE && (await at.queue.depth()) === 0,
  PATIENCE_MS,
);
