/** The flags that set parameters of a pipe, and how each is written on a command line. */
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { Fault } from "../kit/fault.ts";
import type { Flag, Invocation } from "./command.ts";

export const parameterFlags = {
  begin: { type: "string", doc: "first moment worth fetching, RFC 3339, or the first integer" },
  end: { type: "string", doc: "end of what is worth fetching, exclusive: RFC 3339, or an integer" },
  chunk: { type: "string", doc: "length of one window, for example 30d; on an axis of integers 100000" },
  schedule: { type: "string", doc: '"every 1h", "cron 15 3 * * * Europe/Berlin" or "manual"' },
  backtrack: { type: "string", doc: "how far back finished windows are fetched again, for example 2d, or 5000" },
  target: { type: "string", doc: "dataset that the rows go to" },
  timeout: { type: "string", doc: "wall time of one fetch, for example 60s" },
  attempts: { type: "string", doc: "attempts of one window before it counts as failed" },
  columns: { type: "string", doc: 'declared columns with their types, "time: timestamp, n: int64"' },
  datetime: { type: "string", doc: "the column that windows go by: a time, or a declared int64 or uint64" },
  index: { type: "string", doc: "columns that make a row unique, with commas" },
  schema: { type: "string", doc: "what becomes of rows that do not fit: evolve, freeze or reject" },
  timezone: { type: "string", doc: "zone of times without an offset, for example Europe/Berlin" },
  retention: { type: "string", doc: "how long rows are kept by their time, for example 730d" },
  ttl: { type: "string", doc: "how long rows are kept after they came, for example 90d" },
  partition: { type: "string", doc: "how the table is cut: day, month or none; stays once there are rows" },
  codec: { type: "string", doc: 'compression of the table\'s columns, for example "ZSTD(3)"' },
  codecs: { type: "string", doc: 'compression by column: "temp: Gorilla, ZSTD; n: T64, LZ4"' },
  freshness: { type: "string", doc: "how old the newest fetched moment may be, for example 2h" },
  refs: { type: "string", doc: 'parameters of other pipes: "columns: pipes/a.b/parameters/columns; *: pipes/a.b"' },
  sql: { type: "string", doc: "of a pipe of the instance sql: a SELECT that names the window as {begin} and {end}" },
  reads: { type: "string", doc: "datasets that the SELECT may read, with commas" },
  after: { type: "string", doc: "pipes that this one is made from, with commas" },
} satisfies Record<string, Flag>;

type Name = keyof typeof parameterFlags;

const list = (text: string) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);

/** `name: value` pairs. Errors: `invalid`. */
function pairs(text: string, separator: string, name: Name): [string, string][] {
  const parts = text
    .split(separator)
    .map((part) => part.trim())
    .filter(Boolean);
  return parts.map((part) => {
    const [, key, value] = /^([^:]+):\s*(.+)$/.exec(part) ?? [];
    if (key && value) return [key.trim(), value.trim()];
    const problem = `${JSON.stringify(part)} is not "name: value"`;
    throw Fault.invalid("flags", [{ field: `--${name}`, problem, fix: parameterFlags[name].doc }]);
  });
}

function parameterOf(name: Name, text: string): unknown {
  switch (name) {
    case "index":
    case "reads":
    case "after":
      return list(text);
    case "columns":
      // A decimal has a comma of its own.
      return pairs(text.replace(/\((\d+),\s*(\d+)\)/g, "($1;$2)"), ",", name).map(([column, type]) => ({
        name: column,
        type: type.replace(";", ","),
      }));
    case "codecs":
    case "refs":
      return Object.fromEntries(pairs(text, ";", name));
    case "attempts":
      return Number(text) || 0;
    default:
      return text;
  }
}

/** The parameters whose flags are given; "" empties one. Errors: `invalid` for what is not written as its flag says. */
export function parametersOf(flags: Invocation["flags"]): Partial<PipeParameters> {
  const given = (Object.keys(parameterFlags) as Name[]).filter((name) => typeof flags[name] === "string");
  return Object.fromEntries(given.map((name) => [name, parameterOf(name, String(flags[name]))]));
}
