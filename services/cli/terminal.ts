/** What the CLI shows: tables, JSON, a progress bar. Results go to stdout, everything else to stderr. */
import { Fault } from "../kit/fault.ts";

export interface Terminal {
  readonly json: boolean;
  /** A result: as JSON with `--json`, else as the text of `plain`. */
  result(value: unknown, plain: () => string): void;
  /** A remark for people; silent with `--json`. */
  note(text: string): void;
  bar(label: string, total: number): Bar;
}

export interface Bar extends Disposable {
  update(done: number, note?: string): void;
}

const BAR_CELLS = 30;
/** Where nobody watches a bar live, a line is enough at each of these steps. */
const LOG_STEP = 0.1;

/** 64-bit integers come as bigint; in JSON they are numbers while exact, and strings beyond. */
function plainJson(_: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

export function makeTerminal(json: boolean): Terminal {
  return {
    json,
    result(value, plain) {
      process.stdout.write(`${json ? JSON.stringify(value, plainJson, 2) : plain()}\n`);
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
      process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns ?? 120) - 1)}`);
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

/** Columns aligned under their heads; numbers to the right. */
export function table(heads: readonly string[], rows: readonly (readonly unknown[])[]): string {
  if (!rows.length) return "none";
  const cells = rows.map((row) => row.map((value) => (value === undefined || value === null ? "" : String(value))));
  const widths = heads.map((head, i) => Math.max(head.length, ...cells.map((row) => [...(row[i] ?? "")].length)));
  const right = heads.map((_, i) => rows.every((row) => typeof row[i] === "number" || typeof row[i] === "bigint"));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const fill = " ".repeat(Math.max(0, (widths[i] ?? 0) - [...cell].length));
        return right[i] ? fill + cell : cell + fill;
      })
      .join("  ")
      .trimEnd();
  return [line(heads.map((head) => head.toUpperCase())), ...cells.map(line)].join("\n");
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
