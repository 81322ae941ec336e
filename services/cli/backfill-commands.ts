/** The CLI's commands for backfills: start one, follow it, list, show, pause, resume, cancel. */
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { BackfillsService } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { type Api, apiOf, enumName, named, pages, rangeOf, showStretch, toTimestamp } from "./api.ts";
import { type Command, Misuse, wholeFlag } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { type Bar, type Terminal, table } from "./terminal.ts";

const LOOK_MS = 300;
/** Longer than a backfill lives. */
const FOLLOW_MS = 31 * 86_400_000;
export const MAX_RATE = 60_000;

const json = (backfill: Backfill) => restJson("millrace.scheduler.v1.Backfill", Backfill, backfill);
/** `weather.daily/01j…`: short enough to copy. */
const shortOf = ({ name }: Backfill) => name.replace(/^pipes\//, "").replace("/backfills/", "/");

/** Errors: `Misuse` for what names no backfill. */
function nameOf(raw: string | undefined): string {
  const match = /^(?:pipes\/)?([^/]+)\/(?:backfills\/)?([^/]+)$/.exec(raw ?? "");
  if (match) return `pipes/${match[1]}/backfills/${match[2]}`;
  throw new Misuse(`"${raw}" names no backfill: write weather.daily/01j…, as pipe backfills shows it`);
}

export function sentence(backfill: Backfill): string {
  const { done, total, queued, failed, rows, message, answered, differing, repaired, problems, verify } = backfill;
  const found = `${differing} differ, ${repaired} were replaced, ${problems} could not be compared`;
  const fetched = `${done} of ${total} windows done, ${failed} failed, ${queued} queued by it, ${rows} rows`;
  const counts = verify ? `${answered} of ${queued} windows compared with the source: ${found}` : fetched;
  const state = enumName(BackfillState, backfill.state);
  return `${shortOf(backfill)} is ${state}: ${counts}${message ? `; ${message}` : ""}`;
}

/** Shows how far it is until it is over. Errors: `deadline`, `not_found`. */
export async function followBackfill(
  api: Api,
  name: string,
  terminal: Terminal,
  mostMs = FOLLOW_MS,
): Promise<Backfill> {
  const startedMs = performance.now();
  let bar: Bar | undefined;
  let firstRows: bigint | undefined;
  try {
    for (;;) {
      const { backfill } = await api.call(BackfillsService.getBackfill, { name });
      if (!backfill) throw new Fault("internal", `the answer holds no ${name}`);
      bar ??= terminal.bar(shortOf(backfill), Number(backfill.total));
      firstRows ??= backfill.rows;
      const seconds = (performance.now() - startedMs) / 1_000;
      const pace = seconds > 0 ? Math.round(Number(backfill.rows - firstRows) / seconds) : 0;
      const { verify, answered, differing } = backfill;
      if (verify) bar.update(Number(answered), `${differing} differ ${backfill.message}`);
      else
        bar.update(
          Number(backfill.done + backfill.failed),
          `${backfill.rows} rows, ${pace} rows/s ${backfill.message}`,
        );
      const over = ![BackfillState.RUNNING, BackfillState.PAUSED].some((state) => state === backfill.state);
      if (over) return backfill;
      if (performance.now() - startedMs > mostMs) throw new Fault("deadline", `${name} goes on without us`);
      await pause(LOOK_MS);
    }
  } finally {
    bar?.[Symbol.dispose]();
  }
}

const move = (verb: "pause" | "resume" | "cancel", doc: string, flags: Command["flags"]): Command => ({
  path: `backfill ${verb}`,
  args: "<backfill>",
  doc,
  flags,
  async run(invocation) {
    using api = apiOf(invocation);
    const name = nameOf(invocation.args[0]);
    const note = typeof invocation.flags.note === "string" ? invocation.flags.note : "";
    const asked = {
      pause: () => api.call(BackfillsService.pauseBackfill, { name, note }),
      resume: () => api.call(BackfillsService.resumeBackfill, { name }),
      cancel: () => api.call(BackfillsService.cancelBackfill, { name }),
    };
    const { backfill } = await asked[verb]();
    invocation.terminal.result(
      () => backfill && json(backfill),
      () => (backfill ? sentence(backfill) : name),
    );
  },
});

export const backfillCommands: readonly Command[] = [
  {
    path: "pipe backfill",
    args: "<pipe>",
    doc: "Fetches old windows of a pipe, oldest first and behind what is due now. It goes on without this command.",
    flags: {
      begin: { type: "string", doc: "only windows that begin at or after: RFC 3339, or an integer" },
      end: { type: "string", doc: "only windows before: RFC 3339, or an integer" },
      refetch: { type: "boolean", doc: "also windows that are done" },
      rate: { type: "string", doc: `at most this many windows a minute (default 60, at most ${MAX_RATE})` },
      expire: { type: "string", doc: "when it is given up, RFC 3339 (default: in 30 days)" },
      follow: { type: "boolean", doc: "show how far it is until it is over" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { args, flags, terminal } = invocation;
      const { begin, end, beginInt, endInt } = rangeOf(flags);
      const expireTime = toTimestamp(flags.expire, "--expire");
      const wanted = Backfill.fromPartial({
        ...{ ...(begin && { begin }), ...(end && { end }), ...(expireTime && { expireTime }) },
        ...{ beginInt, endInt, refetch: flags.refetch === true },
        windowsPerMinute: wholeFlag(flags, "rate", [1, MAX_RATE]) ?? 0,
      });
      const created = await api.call(BackfillsService.createBackfill, {
        parent: named("pipes", args[0]),
        backfill: wanted,
      });
      const made = created.backfill ?? wanted;
      const last = flags.follow ? await followBackfill(api, made.name, terminal) : made;
      const look = flags.follow ? "" : `; look with: backfill show ${shortOf(made)}`;
      terminal.result(
        () => json(last),
        () => `${sentence(last)}${look}`,
      );
      const well = last.state === BackfillState.DONE && last.failed === 0n;
      if (flags.follow && !well) terminal.fail(`${shortOf(last)} did not end well`);
    },
  },
  {
    path: "pipe backfills",
    args: "[pipe]",
    doc: "Lists backfills, newest first: of one pipe, or of all.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = named("pipes", invocation.args[0] ?? "-");
      const request = { parent, pageSize: 1_000 };
      const all = await pages((pageToken) => api.call(BackfillsService.listBackfills, { ...request, pageToken }));
      const backfills = all.flatMap((page) => page.backfills);
      const row = (one: Backfill) => [
        ...[shortOf(one), enumName(BackfillState, one.state), ...showStretch(one)],
        ...[one.done, one.failed, one.total, one.message],
      ];
      invocation.terminal.result(
        () => backfills.map(json),
        () => table(["backfill", "state", "begin", "end", "done", "failed", "windows", "message"], backfills.map(row)),
      );
    },
  },
  {
    path: "backfill show",
    args: "<backfill>",
    doc: "Shows how far a backfill is.",
    flags: { follow: { type: "boolean", doc: "until it is over" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const name = nameOf(invocation.args[0]);
      const { flags, terminal } = invocation;
      const backfill = flags.follow
        ? await followBackfill(api, name, terminal)
        : (await api.call(BackfillsService.getBackfill, { name })).backfill;
      terminal.result(
        () => backfill && json(backfill),
        () => (backfill ? sentence(backfill) : name),
      );
    },
  },
  move("pause", "Lets a backfill rest; what it queued runs.", {
    note: { type: "string", doc: "why, for whoever finds it paused" },
  }),
  move("resume", "Lets a paused backfill go on where it was.", {}),
  move("cancel", "Ends a backfill; what it queued runs.", {}),
];
