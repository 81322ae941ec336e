/** The scheduler: its settings, and how it starts on a bus and a registry. */
import { catalogChange } from "../../proto/catalog.ts";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { BackfillsService } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { BUCKETS, JOBS, JOBS_OPTIONS, LEADER_TTL_MS } from "../../proto/names.ts";
import type { Bus } from "../bus/ports.ts";
import { address, type Config, text } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { connect, listen, serve, service } from "../kit/grpc.ts";
import { background, pause, type Running } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { mirror } from "../kit/mirror.ts";
import { type BackfillPorts, workOnBackfills } from "./backfill.ts";
import { backfillMethods } from "./backfill-service.ts";
import { BackfillStore } from "./backfill-store.ts";
import { type ChainPorts, followChains } from "./chain-watch.ts";
import { followHeads } from "./head-watch.ts";
import { lead } from "./leadership.ts";
import { scheduleMethods } from "./service.ts";
import type { OnStep } from "./steps.ts";
import { type Counts, Term, type TermPorts } from "./term.ts";
import { mirrorWindows } from "./window-mirror.ts";
import { WindowStore } from "./window-store.ts";

export const settings = {
  listen: address("SCHEDULER_LISTEN", "where to serve gRPC; port 0 picks a free one", "127.0.0.1:7403"),
  registry: text("REGISTRY_ADDRESS", "host:port of the registry", "127.0.0.1:7402"),
};

export interface Ports {
  readonly bus: Bus;
  readonly log: Logger;
  /** For tests that end the process between two steps. */
  readonly onStep?: OnStep;
}

export interface SchedulerStatus extends Readonly<Counts> {
  /** Fence of its lead; undefined while it stands by. */
  readonly epoch: bigint | undefined;
  /** Pipes, discovers and polled resources that it watches the clock for; 0 while it stands by. */
  readonly entries: number;
}

export interface RunningScheduler extends Running {
  status(): SchedulerStatus;
}

/** How late due work is noticed at most. */
const TICK_MS = 100;
const TICK_FAILED_PAUSE_MS = 1_000;

/**
 * Serves at once; schedules as soon as it leads and has a copy of the catalogue. Any number may run: one leads, the
 * others answer requests and stand by.
 */
export async function start(config: Config<typeof settings>, { bus, log, onStep }: Ports): Promise<RunningScheduler> {
  await using stack = new AsyncDisposableStack();
  const windowEntries = await bus.kv(BUCKETS.windows);
  const windows = new WindowStore(windowEntries, stack.use(mirrorWindows(windowEntries, log)));
  const backfills = new BackfillStore(await bus.kv(BUCKETS.backfills));
  const queue = await bus.queue(JOBS, JOBS_OPTIONS);
  const leaders = await bus.kv(BUCKETS.leaders, { ttlMs: LEADER_TTL_MS });
  const channel = stack.use(connect(config.registry));
  const catalog = stack.use(
    mirror(
      "catalogue",
      async function* (signal) {
        for await (const response of listen(channel, CatalogService.watchCatalog, {}, { signal })) {
          const change = catalogChange(response);
          if (change) yield change;
        }
      },
      log,
    ),
  );
  const nowMs = () => Date.now();
  const shared = { catalog, windows, backfills, queue, log, nowMs, onStep };
  const services = [
    service(SchedulesService, scheduleMethods(shared)),
    service(BackfillsService, backfillMethods(shared)),
  ];
  const server = stack.use(await serve(config.listen, services, { log }));
  const leadership = stack.use(
    lead(leaders, server.address, { ttlMs: LEADER_TTL_MS, nowMs: () => performance.now() }, log),
  );
  const counts: Counts = { sent: 0, repeated: 0, missed: 0, heldBack: 0 };
  const leading: Leading = { term: undefined, work: undefined };
  stack.defer(catalog.onChange((name) => leading.term?.change(name)));
  stack.use(
    background(
      (signal) =>
        keepTerms(leading, { ...shared, counts }, () => (catalog.synced ? leadership.epoch : undefined), signal),
      (fault) => log.error({ err: fault }, "scheduling ended"),
    ),
  );
  const life = stack.move();
  return {
    address: server.address,
    status: () => ({ ...counts, epoch: leadership.epoch, entries: leading.term?.size ?? 0 }),
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}

interface Leading {
  term: Term | undefined;
  /** Work on backfills, chains and heads, for as long as the term. */
  work: AsyncDisposable | undefined;
}

/** A term for each lease that is won, from what the catalogue says then; ticks while it holds. */
async function keepTerms(
  leading: Leading,
  ports: Omit<TermPorts, "holds"> & BackfillPorts & ChainPorts,
  epochNow: () => bigint | undefined,
  signal: AbortSignal,
): Promise<void> {
  let servedUntilMs = 0;
  while (!signal.aborted) {
    const epoch = epochNow();
    if (leading.term && leading.term.epoch !== epoch) {
      const over = leading.term;
      leading.term = undefined;
      servedUntilMs = Math.max(servedUntilMs, over.servedUntilMs);
      await leading.work?.[Symbol.asyncDispose]();
      await over[Symbol.asyncDispose]();
    } else if (epoch !== undefined) {
      const holds = () => !signal.aborted && epochNow() === epoch;
      if (!leading.term) {
        leading.term = new Term(epoch, { ...ports, holds }, servedUntilMs);
        const work = new AsyncDisposableStack();
        work.use(workOnBackfills(ports, holds));
        work.use(followChains(ports, epoch, holds));
        work.use(followHeads(ports, epoch, holds));
        leading.work = work;
      }
      await leading.term.tick().catch(async (thrown) => {
        ports.log.warn({ err: Fault.from(thrown) }, "a tick failed");
        await pause(TICK_FAILED_PAUSE_MS, signal);
      });
    }
    await pause(TICK_MS, signal);
  }
  await leading.work?.[Symbol.asyncDispose]();
  await leading.term?.[Symbol.asyncDispose]();
  leading.term = undefined;
}
