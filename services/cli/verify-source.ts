/** `pipe verify --source`: asks the source again for windows, waits for each answer, and tells what differs. */
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { beginOf, microsOf, parseDuration } from "../kit/time.ts";
import { type Api, apiOf, named, pages, rangeOf, showStretch } from "./api.ts";
import type { Invocation } from "./command.ts";
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

export async function verifySource(invocation: Invocation): Promise<void> {
  using api = apiOf(invocation);
  const { args, flags, terminal } = invocation;
  const name = named("pipes", args[0]);
  const timeoutMs = parseDuration(String(flags.timeout ?? DEFAULT_TIMEOUT), "--timeout");
  const repair = flags.repair === true;
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
        : `${answered.length} windows are as at the source, ${asked.skipped} were not asked for`,
  );
  const left = odd.filter(({ verification }) => !verification?.repaired);
  if (left.length) terminal.fail(`${left.length} of ${answered.length} windows are not as at the source`);
}
