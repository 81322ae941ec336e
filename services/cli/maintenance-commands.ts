/** The CLI's commands for work on a pipe's stored rows: verify, clear, drop, duplicates, copy. */
import { MaintenanceService, VerifyPipeResponse } from "../../proto/gen/millrace/results/v1/maintenance_service.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named, rangeOf, showStretch } from "./api.ts";
import { stream } from "./api-stream.ts";
import { MAX_RATE } from "./backfill-commands.ts";
import { type Command, type Flag, type Invocation, Misuse } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { type Bar, table } from "./terminal.ts";
import { verifySource } from "./verify-source.ts";

const WORK_MS = 86_400_000;
const UNARY_MS = 600_000;

const range: Readonly<Record<string, Flag>> = {
  begin: { type: "string", doc: "only windows that begin at or after: RFC 3339, or an integer" },
  end: { type: "string", doc: "only windows that end at or before: RFC 3339, or an integer" },
};
const spanOf = ({ flags }: Invocation) => rangeOf(flags);

interface Step {
  readonly done: bigint;
  readonly total: bigint;
}

/** All pieces of an answer, with a bar while they come. */
async function follow<T extends Step>(
  { terminal }: Invocation,
  label: string,
  steps: AsyncIterable<T>,
  note: (step: T) => string = () => "",
): Promise<T[]> {
  const all: T[] = [];
  let bar: Bar | undefined;
  try {
    for await (const step of steps) {
      all.push(step);
      bar ??= terminal.bar(label, Number(step.total));
      bar.update(Number(step.done), note(step));
    }
  } finally {
    bar?.[Symbol.dispose]();
  }
  return all;
}

export const maintenanceCommands: readonly Command[] = [
  {
    path: "pipe verify",
    args: "<pipe>",
    doc: "Compares each fetched window with what is stored for it; with --source, with what the source says now.",
    flags: {
      ...range,
      source: { type: "boolean", doc: "ask the source again; what it says is not seen" },
      repair: { type: "boolean", doc: "mark windows with a problem; with --source, replace those that differ at once" },
      rate: { type: "string", doc: `with --source: at most this many windows a minute, at most ${MAX_RATE}` },
      timeout: { type: "string", doc: "with --source: how long to wait for the answers (default 1h)" },
    },
    async run(invocation) {
      if (invocation.flags.source) return verifySource(invocation);
      if (invocation.flags.rate !== undefined) throw new Misuse("--rate is for --source: nobody else is asked");
      const { args, flags, terminal } = invocation;
      const request = { name: named("pipes", args[0]), ...spanOf(invocation), repair: flags.repair === true };
      const all = await follow(
        invocation,
        "windows",
        stream(invocation, MaintenanceService.verifyPipe, request, WORK_MS),
      );
      const bad = all.filter(({ problem }) => problem !== "");
      terminal.result(
        () => all.map((w) => restJson("millrace.results.v1.VerifyPipeResponse", VerifyPipeResponse, w)),
        () =>
          bad.length
            ? table(
                ["begin", "end", "expected", "counted", "problem", "marked"],
                bad.map((w) => [...showStretch(w), w.expected, w.counted, w.problem, w.marked]),
              )
            : `${all.length} windows are as their runs left them`,
      );
      if (bad.length) terminal.fail(`${bad.length} of ${all.length} windows have a problem`);
    },
  },
  {
    path: "pipe clear",
    args: "<pipe>",
    doc: "Empties windows of a pipe. They are missing then: pause the pipe first if they are not to be fetched again.",
    flags: { ...range, all: { type: "boolean", doc: "every window; needed when neither begin nor end is given" } },
    async run(invocation) {
      const { args, flags, terminal } = invocation;
      if (!flags.begin && !flags.end && !flags.all) {
        throw new Fault("invalid", "which windows? give --begin, --end or --all");
      }
      const request = { name: named("pipes", args[0]), ...spanOf(invocation) };
      const all = await follow(
        invocation,
        "windows",
        stream(invocation, MaintenanceService.clearPipe, request, WORK_MS),
      );
      const rows = all.reduce((sum, step) => sum + step.rows, 0n);
      terminal.result(
        () => ({ windows: all.length, rows }),
        () => `${all.length} windows with ${rows} rows are empty`,
      );
    },
  },
  {
    path: "pipe drop",
    args: "<pipe>",
    doc: "Deletes a pipe with its windows, its rows and its dataset, for good.",
    flags: { yes: { type: "boolean", doc: "really" } },
    async run(invocation) {
      const name = named("pipes", invocation.args[0]);
      if (!invocation.flags.yes) throw new Fault("invalid", `this deletes every row of ${name}: say --yes`);
      using api = apiOf(invocation);
      const told = await api.call(MaintenanceService.dropPipe, { name }, UNARY_MS);
      invocation.terminal.result(
        () => told,
        () => `${name} is gone, and ${told.rows} stored rows`,
      );
    },
  },
  {
    path: "pipe duplicates",
    args: "<pipe>",
    doc: "Counts rows that are stored, that count, that are seen, and that equal another one.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const name = named("pipes", invocation.args[0]);
      const told = await api.call(MaintenanceService.countDuplicates, { name }, UNARY_MS);
      invocation.terminal.result(
        () => told,
        () => `${told.stored} stored, ${told.counted} count, ${told.seen} seen, ${told.equal} equal another one`,
      );
    },
  },
  {
    path: "pipe copy",
    args: "<pipe> <dataset>",
    doc: "Copies the rows of a pipe into another dataset: all at once, in place of a former copy.",
    flags: range,
    async run(invocation) {
      using api = apiOf(invocation);
      const [pipe, dataset] = invocation.args;
      const request = { name: named("pipes", pipe), target: named("datasets", dataset), ...spanOf(invocation) };
      const told = await api.call(MaintenanceService.copyPipe, request, UNARY_MS);
      invocation.terminal.result(
        () => told,
        () => `${told.rows} rows are in ${request.target}`,
      );
    },
  },
];
