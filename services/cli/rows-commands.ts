/** The CLI's commands for rows: read as files, and those that were set aside. */
import { once } from "node:events";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { Reject, RejectsService } from "../../proto/gen/millrace/results/v1/reject_service.ts";
import { Fault } from "../kit/fault.ts";
import { type Api, apiOf, named, pages, rangeOf, showTime } from "./api.ts";
import { type StreamMethod, stream } from "./api-stream.ts";
import type { Command, Invocation } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

const MAX_EXPORT_MS = 3_600_000;
const REDRIVE_MS = 300_000;
const text = (flag: string | boolean | undefined) => (typeof flag === "string" ? flag : "");
const list = (flag: string | boolean | undefined) =>
  text(flag)
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);

const format = { type: "string", doc: "ndjson (default), json, csv, arrow or parquet" } as const;

/** Pieces to stdout as they come, no faster than it takes them. */
async function writeOut<I>(
  invocation: Invocation,
  method: StreamMethod<I, { readonly data: Buffer }>,
  request: I,
): Promise<void> {
  for await (const { data } of stream(invocation, method, request, MAX_EXPORT_MS)) {
    if (!process.stdout.write(data)) await once(process.stdout, "drain");
  }
}

/** The dataset that a pipe's rows go to. */
async function datasetOf(api: Api, pipe: string | undefined): Promise<string> {
  const { pipe: found } = await api.call(PipesService.getPipe, { name: named("pipes", pipe) });
  if (!found) throw new Fault("not_found", `there is no pipe ${pipe}`);
  return named("datasets", found.dataset);
}

export const rowsCommands: readonly Command[] = [
  {
    path: "pipe data",
    args: "<pipe>",
    doc: "Writes the rows of a pipe to stdout, as many as there are.",
    flags: {
      format,
      begin: { type: "string", doc: "only from here on: RFC 3339, or an integer" },
      end: { type: "string", doc: "only up to here, exclusive: RFC 3339, or an integer" },
      select: { type: "string", doc: "columns, with commas between" },
      where: { type: "string", doc: 'conditions with " and " between: "city=Bern and temp>=20"' },
      order: { type: "string", doc: '"temp desc,city" (default: none, which is the fastest)' },
      limit: { type: "string", doc: "at most this many rows" },
    },
    async run(invocation) {
      const { args, flags } = invocation;
      await writeOut(invocation, QueriesService.exportRows, {
        name: named("pipes", args[0]),
        ...rangeOf(flags),
        select: list(flags.select),
        where: text(flags.where)
          .split(/\s+and\s+/i)
          .filter(Boolean),
        orderBy: text(flags.order),
        limit: BigInt(Math.trunc(Number(flags.limit ?? 0)) || 0),
        format: text(flags.format),
      });
    },
  },
  {
    path: "export",
    args: "<sql>",
    doc: "Writes the answer of one read-only SQL statement to stdout as a file, as many rows as there are.",
    flags: { format },
    async run(invocation) {
      const sql = invocation.args[0] ?? "";
      const request = { sql, params: {}, format: text(invocation.flags.format), timeoutMs: 0 };
      await writeOut(invocation, QueriesService.exportQuery, request);
    },
  },
  {
    path: "rejects list",
    args: "<pipe>",
    doc: "Lists rows that a pipe has set aside because they did not fit its columns.",
    flags: { run: { type: "string", doc: "only of this run" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = await datasetOf(api, invocation.args[0]);
      const run = invocation.flags.run ? named("runs", text(invocation.flags.run)) : "";
      const all = await pages((pageToken) =>
        api.call(RejectsService.listRejects, { parent, pageSize: 1_000, pageToken, run }),
      );
      const rejects = all.flatMap((page) => page.rejects);
      invocation.terminal.result(
        () => rejects.map((reject) => restJson("millrace.results.v1.Reject", Reject, reject)),
        () =>
          table(
            ["run", "row", "time", "reason", "raw"],
            rejects.map((r) => [r.run.replace(/^runs\//, ""), r.row, showTime(r.time), r.reason, r.raw]),
          ),
      );
    },
  },
  {
    path: "rejects redrive",
    args: "<pipe>",
    doc: "Stores set-aside rows that fit by now with their runs; the others stay.",
    flags: { run: { type: "string", doc: "only of this run" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = await datasetOf(api, invocation.args[0]);
      const run = invocation.flags.run ? named("runs", text(invocation.flags.run)) : "";
      const told = await api.call(RejectsService.redriveRejects, { parent, run }, REDRIVE_MS);
      invocation.terminal.result(
        () => told,
        () => `${told.stored} rows are stored, ${told.rejected} still do not fit`,
      );
    },
  },
];
