/** `pipe verify --source`: asks the source again for windows, all at once or at a rate, and tells what differs. */
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { BackfillsService } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { beginOf, endOf, microsOf, parseDuration } from "../kit/time.ts";
import { type Api, apiOf, named, pages, rangeOf, showStretch } from "./api.ts";
import { followBackfill, MAX_RATE, sentence } from "./backfill-commands.ts";
import { type Invocation, wholeFlag } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { type Bar, table } from "./terminal.ts";

const LOOK_MS = 300;
const ASK_MS = 120_000;
const DEFAULT_TIMEOUT = "1h";

async function windowsOf(api: Api, parent: string): Promise<Window[]> {
  const request = { parent, pageSize: 10_000, state: WindowState.UNSPECIFIED };
  const all = await pages((pageToken) => api.call(SchedulesService.listWindows, { ...request, pageToken }));
  return all.flatMap((page) => page.windows);
}

interface Compared {
  readonly answered: readonly Window[];
  readonly skipped: number;
}

interface Wanted {
  readonly name: string;
  readonly repair: boolean;
  readonly timeoutMs: number;
}

/** All that is wanted, as fast as the queue takes it. */
async function askAtOnce(
  api: Api,
  { flags, terminal }: Invocation,
  { name, repair, timeoutMs }: Wanted,
): Promise<Compared> {
  const asked = await api.call(SchedulesService.verifyPipeSource, { name, ...rangeOf(flags), repair }, ASK_MS);
  const dueUs = microsOf(asked.dueTime);
  const begins = new Set(asked.windows.map(beginOf));
  const startedMs = performance.now();
  let answered: Window[] = [];
  const bar: Bar = terminal.bar(name, begins.size);
  try {
    while (answered.length < begins.size) {
      answered = (await windowsOf(api, name)).filter((window) => {
        const { verification } = window;
        return begins.has(beginOf(window)) && microsOf(verification?.dueTime) >= dueUs && verification?.verifyTime;
      });
      bar.update(answered.length, `${answered.filter((one) => one.verification?.differs).length} differ`);
      if (answered.length < begins.size && performance.now() - startedMs > timeoutMs) {
        const left = begins.size - answered.length;
        throw new Fault("deadline", `${left} windows have no answer after ${timeoutMs} ms; they go on without us`);
      }
      if (answered.length < begins.size) await pause(LOOK_MS);
    }
  } finally {
    bar[Symbol.dispose]();
  }
  return { answered, skipped: asked.skipped };
}

/** At a rate: a backfill that verifies, which goes on without us. */
async function askSlowly(
  api: Api,
  { flags, terminal }: Invocation,
  { name, repair, timeoutMs }: Wanted,
  windowsPerMinute: number,
): Promise<Compared> {
  const { begin, end, beginInt, endInt } = rangeOf(flags);
  const span = { ...(begin && { begin }), ...(end && { end }), beginInt, endInt };
  const wanted = Backfill.fromPartial({ ...span, verify: true, repair, windowsPerMinute });
  const { backfill } = await api.call(BackfillsService.createBackfill, { parent: name, backfill: wanted });
  const last = await followBackfill(api, backfill?.name ?? "", terminal, timeoutMs);
  if (last.state !== BackfillState.DONE) throw new Fault("precondition", sentence(last));
  const [fromUs, toUs, sinceUs] = [beginOf(last), endOf(last), microsOf(last.createTime)];
  const answered = (await windowsOf(api, name)).filter((window) => {
    const { verification } = window;
    const isAsked = verification?.verifyTime && microsOf(verification.dueTime) >= sinceUs;
    return isAsked && beginOf(window) >= fromUs && beginOf(window) < toUs;
  });
  return { answered, skipped: Number(last.total - last.queued) };
}

export async function verifySource(invocation: Invocation): Promise<void> {
  using api = apiOf(invocation);
  const { args, flags, terminal } = invocation;
  const timeoutMs = parseDuration(String(flags.timeout ?? DEFAULT_TIMEOUT), "--timeout");
  const wanted: Wanted = { name: named("pipes", args[0]), repair: flags.repair === true, timeoutMs };
  const rate = wholeFlag(flags, "rate", [1, MAX_RATE]);
  const { answered, skipped } =
    rate === undefined ? await askAtOnce(api, invocation, wanted) : await askSlowly(api, invocation, wanted, rate);
  const odd = answered.filter(({ verification: v }) => v && (v.differs || v.problem !== ""));
  const row = (window: Window) => {
    const { verification: v } = window;
    return [
      ...[...showStretch(window), v?.sourceRows, v?.storedRows],
      v?.problem || (v?.repaired ? "replaced" : "differs"),
    ];
  };
  terminal.result(
    () => answered.map((window) => restJson("millrace.scheduler.v1.Window", Window, window)),
    () =>
      odd.length
        ? table(["begin", "end", "at the source", "stored", "what"], odd.map(row))
        : `${answered.length} windows are as at the source, ${skipped} were not asked for`,
  );
  const left = odd.filter(({ verification }) => !verification?.repaired);
  if (left.length) terminal.fail(`${left.length} of ${answered.length} windows are not as at the source`);
}
