/** Scripted kills: which part is killed at which step of a job of which kind, one after the other until all were. */
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { Semaphore } from "../../services/kit/lifecycle.ts";
import { type CrashGround, KINDS, type Kind, type Part, WINDOWS } from "./crash-ground.ts";
import { seeded } from "./random.ts";
import { until } from "./until.ts";

export type Victim = "executor" | "scheduler" | "platform" | "nats" | "clickhouse";

export interface Cell {
  readonly victim: Victim;
  /** Whose step it is. */
  readonly at: "executor" | "scheduler";
  readonly step: string;
  readonly nth: number;
  readonly kind: Kind;
}

/** Something to kill that is not the part that waits at the step. */
export interface Other {
  kill9(): Promise<void>;
  restart(): Promise<void>;
}

const EXECUTOR_STEPS: readonly (readonly [step: string, nth: number])[] = [
  ["decoded", 1],
  ["locked", 1],
  ["begun", 1],
  ["chunk_stored", 1],
  ["executed", 1],
  ["committed", 1],
  ["settled", 1],
  ["finished", 1],
  ["checkpoint_deleted", 1],
  ["acked", 1],
  ["released", 1],
];
/** Steps that only some kinds have. */
const OWN_STEPS: Partial<Record<Kind, typeof EXECUTOR_STEPS>> = {
  checkpointed: [
    ["chunk_stored", 3],
    ["checkpointed", 1],
    ["checkpointed", 3],
    ["checkpointed", 4],
  ],
  sync: [
    ["approved", 1],
    ["chunk_stored", 2],
    ["checkpointed", 1],
    ["checkpointed", 2],
  ],
};
/** Between these lies what reaches the store and the windows. */
const FEW_STEPS = ["begun", "chunk_stored", "committed", "settled"];
const SCHEDULER_STEPS = ["planned", "claimed", "sent"];
const STEP_MS = 300_000;
const SETTLE_MS = 240_000;
/** Jobs in the queue below which windows are queued again. */
const LOW_WATER = 25;
const FEED = 12;
const FEED_EVERY_MS = 200;

/** Every step of an executor, for every kind. */
export const executorCells = (victim: Victim): Cell[] =>
  KINDS.flatMap((kind) =>
    [...EXECUTOR_STEPS, ...(OWN_STEPS[kind] ?? [])].map(([step, nth]) => ({
      ...{ victim, at: "executor" as const, step, nth, kind },
    })),
  );
/** Some steps of an executor, for every kind. */
export const fewCells = (victim: Victim): Cell[] =>
  executorCells(victim).filter(({ step, nth }) => nth === 1 && FEW_STEPS.includes(step));
export const schedulerCells = (victim: Victim): Cell[] =>
  KINDS.flatMap((kind) => SCHEDULER_STEPS.map((step) => ({ victim, at: "scheduler" as const, step, nth: 1, kind })));
export const times = (count: number, cells: readonly Cell[]) => Array.from({ length: count }, () => cells).flat();

export interface Kills {
  readonly cells: readonly Cell[];
  /** Parts whose steps are waited for; each takes cells of its own services, one after the other. */
  readonly parts: readonly { readonly part: Part; readonly is: Victim; readonly at: readonly Cell["at"][] }[];
  readonly others: Partial<Record<Victim, Other>>;
}

/** Resolves with how often each was killed where, once all cells were and everything is at rest again. */
export async function killThrough(ground: CrashGround, { cells, parts, others }: Kills): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const torn = new Set<string>();
  const open = shuffled(cells);
  const locks = new Map(Object.keys(others).map((name) => [name, new Semaphore(1)]));
  const look = async () => {
    for (const window of (await ground.torn()) ?? []) torn.add(window);
  };
  const serve = async ({ part, is, at }: Kills["parts"][number]) => {
    for (;;) {
      const next = open.findIndex((cell) => at.includes(cell.at));
      if (next < 0) return;
      const [cell] = open.splice(next, 1) as [Cell];
      await part.reach({ pipe: ground.pipe(cell.kind), step: cell.step, nth: cell.nth }, STEP_MS);
      if (cell.victim === is) {
        await part.kill9();
        await part.restart();
      } else {
        const other = others[cell.victim];
        if (!other) throw new Error(`there is no ${cell.victim} to kill`);
        using _ = await (locks.get(cell.victim) as Semaphore).acquire();
        await other.kill9();
        part.go();
        await other.restart();
      }
      const name = `${cell.victim.padEnd(10)} ${cell.step} ${cell.nth}`.padEnd(34) + cell.kind;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      await look();
    }
  };
  const feeding = new AbortController();
  const fed = feed(ground, feeding.signal);
  try {
    await Promise.all(parts.map(serve));
  } finally {
    feeding.abort();
    await fed;
  }
  await until("everything is at rest", () => isAtRest(ground), SETTLE_MS);
  await look();
  if (torn.size) throw new Error(`seen in halves: ${[...torn].join(", ")}`);
  const untold = await ground.untold();
  if (untold.length) throw new Error(`ended without after_sync: ${untold.join(", ")}`);
  return counts;
}

/** Windows that are done are queued again and again, so that there is always a job to be killed in. */
async function feed(ground: CrashGround, signal: AbortSignal): Promise<void> {
  const random = seeded(3);
  while (!signal.aborted) {
    const depth = await ground.depth().catch(() => undefined);
    if (depth !== undefined && depth < LOW_WATER) {
      const from = Math.floor(random() * (WINDOWS - FEED));
      for (const kind of KINDS) await ground.refetch(ground.pipe(kind), from, FEED);
    }
    await new Promise((resolve) => setTimeout(resolve, FEED_EVERY_MS));
  }
}

export async function isAtRest(ground: CrashGround): Promise<boolean> {
  if ((await ground.depth()) > 0) return false;
  for (const kind of KINDS) {
    const done = await ground.windows(ground.pipe(kind), WindowState.DONE);
    if (done.length !== WINDOWS) return false;
  }
  return true;
}

export function tableOf(bus: string, counts: ReadonlyMap<string, number>): string {
  const lines = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${bus} ${name} ${count}`);
  const sum = [...counts.values()].reduce((a, b) => a + b, 0);
  return [...lines, `${bus}: ${sum} kills`, ""].join("\n");
}

function shuffled<T>(all: readonly T[]): T[] {
  const random = seeded(5);
  const out = [...all];
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}
