/** What the CLI shows: tables, JSON, a progress bar. Results go to stdout, everything else to stderr. */
import { Fault } from "../kit/fault.ts";

export interface Terminal {
  readonly json: boolean;
  /** A result: as JSON with `--json`, else as text. Only the one that is printed is made. */
  result(json: () => unknown, plain: () => string): void;
  /** What was asked for was done, and its result is a failure: told to people, exit code 1 for scripts. */
  fail(text: string): void;
  readonly failed: boolean;
  /** A remark for people; silent with `--json`. */
  note(text: string): void;
  bar(label: string, total: number): Bar;
}

export interface Bar extends Disposable {
  update(done: number, note?: string): void;
}

const BAR_CELLS = 30;
/** Of a terminal that does not say how wide it is. */
const PLAIN_COLUMNS = 120;
/** No column of a table is cut below this: a time to the second. */
const MIN_CELLS = 20;
const GAP = "  ";
/** Where nobody watches a bar live, a line is enough at each of these steps. */
const LOG_STEP = 0.1;

/** 64-bit integers come as bigint; in JSON they are numbers while exact, and strings beyond. */
function plainJson(_: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

export function makeTerminal(json: boolean): Terminal {
  let failed = false;
  return {
    json,
    get failed() {
      return failed;
    },
    result(value, plain) {
      process.stdout.write(`${json ? JSON.stringify(value(), plainJson, 2) : plain()}\n`);
    },
    fail(text) {
      failed = true;
      if (!json) process.stderr.write(`${text}\n`);
    },
    note(text) {
      if (!json) process.stderr.write(`${text}\n`);
    },
    bar: (label, total) => (process.stderr.isTTY && !json ? liveBar(label, total) : stepBar(label, total, json)),
  };
}

function liveBar(label: string, total: number): Bar {
  const startedMs = performance.now();
  let line = "";
  return {
    update(done, note = "") {
      const share = total ? Math.min(1, done / total) : 1;
      const full = Math.round(share * BAR_CELLS);
      const elapsedS = (performance.now() - startedMs) / 1_000;
      const left = done > 0 && share < 1 ? ` ETA ${((elapsedS / share) * (1 - share)).toFixed(0)} s` : "";
      line = `${label} ${"█".repeat(full)}${"░".repeat(BAR_CELLS - full)} ${done}/${total} ${note}${left}`;
      process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns || PLAIN_COLUMNS) - 1)}`);
    },
    [Symbol.dispose]() {
      if (line) process.stderr.write("\n");
    },
  };
}

function stepBar(label: string, total: number, silent: boolean): Bar {
  let next = 0;
  return {
    update(done, note = "") {
      const share = total ? done / total : 1;
      if (silent || share < next) return;
      next = (Math.floor(share / LOG_STEP) + 1) * LOG_STEP;
      process.stderr.write(`${label} ${done}/${total} ${note}\n`);
    },
    [Symbol.dispose]() {},
  };
}

/** Where a table is read by a person it fits the window; a pipe gets all of it. */
const windowCells = () => (process.stdout.isTTY ? process.stdout.columns || PLAIN_COLUMNS : Number.POSITIVE_INFINITY);

/** Columns aligned under their heads; numbers to the right. What is wider than `cells` has its widest columns cut. */
export function table(heads: readonly string[], rows: readonly (readonly unknown[])[], cells = windowCells()): string {
  if (!rows.length) return "none";
  const texts = rows.map((row) => row.map((value) => (value === undefined || value === null ? "" : String(value))));
  const wanted = heads.map((head, i) => Math.max(head.length, ...texts.map((row) => [...(row[i] ?? "")].length)));
  const widths = shrink(wanted, cells - GAP.length * (heads.length - 1));
  const right = heads.map((_, i) => rows.every((row) => typeof row[i] === "number" || typeof row[i] === "bigint"));
  const line = (row: readonly string[]) =>
    row
      .map((text, i) => {
        const width = widths[i] ?? 0;
        const cell = cut(text, width);
        const fill = " ".repeat(Math.max(0, width - [...cell].length));
        return right[i] ? fill + cell : cell + fill;
      })
      .join(GAP)
      .trimEnd();
  return [line(heads.map((head) => head.toUpperCase())), ...texts.map(line)].join("\n");
}

function shrink(wanted: readonly number[], room: number): number[] {
  const widths = [...wanted];
  for (;;) {
    const over = widths.reduce((sum, width) => sum + width, 0) - room;
    const widest = Math.max(...widths);
    if (over <= 0 || widest <= MIN_CELLS) return widths;
    const next = Math.max(MIN_CELLS, ...widths.filter((width) => width < widest));
    const at = widths.indexOf(widest);
    widths[at] = Math.max(MIN_CELLS, widest - over, next - 1);
  }
}

/** Prose loses its end; a name loses its middle, for the end tells it from others. */
function cut(text: string, width: number): string {
  const chars = [...text];
  if (chars.length <= width) return text;
  const tail = text.includes(" ") ? 0 : Math.floor((width - 1) / 2);
  return `${chars.slice(0, width - 1 - tail).join("")}…${tail ? chars.slice(-tail).join("") : ""}`;
}

/** One thing in full: a line a field, what is empty left out. */
export function detail(value: unknown, indent = ""): string {
  const lines = Object.entries(value as object).flatMap(([key, field]) => {
    if (field === null || field === "" || field === 0 || field === "0" || field === false) return [];
    if (typeof field !== "object") return [`${indent}${key}: ${String(field).replaceAll("\n", `\n${indent}  `)}`];
    if (Array.isArray(field) && field.every((item) => typeof item !== "object"))
      return field.length ? [`${indent}${key}: ${field.join(", ")}`] : [];
    const inner = Array.isArray(field)
      ? field.map((item) => `${indent}  - ${inLine(item)}`).join("\n")
      : detail(field, `${indent}  `);
    return inner ? [`${indent}${key}:`, inner] : [];
  });
  return lines.join("\n");
}

/** `name: time, type: timestamp` */
const inLine = (value: unknown): string =>
  typeof value === "object" && value && !Array.isArray(value)
    ? Object.entries(value)
        .map(([key, field]) => `${key}: ${typeof field === "object" ? JSON.stringify(field) : field}`)
        .join(", ")
    : JSON.stringify(value);

/** Says when the end begins and when it is over. Call it before anything is on the stack. */
export function tellStop(terminal: Terminal, stack: AsyncDisposableStack, signal: AbortSignal): void {
  signal.addEventListener("abort", () => terminal.note("\nstopping …"), { once: true });
  stack.defer(() => {
    if (signal.aborted) terminal.note("stopped");
  });
}

/** How a failure is told: the message, which lists every mistake; or all of it as JSON. */
export function tellFault(thrown: unknown, json: boolean): void {
  const fault = Fault.from(thrown);
  if (json) {
    const { code, message, mistakes } = fault;
    process.stdout.write(`${JSON.stringify({ error: { code, message, mistakes } }, null, 2)}\n`);
  } else {
    process.stderr.write(`${fault.code}: ${fault.message}\n`);
    if (fault.code === "internal" && fault.cause instanceof Error) process.stderr.write(`${fault.cause.stack}\n`);
  }
}
