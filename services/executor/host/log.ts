/** `log` and `progress`: what a run says about itself, at a bounded rate. */
import { Fault } from "../../kit/fault.ts";
import { LOG_LEVELS, type LogLevel, type LogLine } from "../../results/results.ts";
import type { CallLimits } from "../limits.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";

const MAX_MESSAGE_BYTES = 8 * 1_024;
const PROGRESS_EVERY_MS = 1_000;

export interface RunLog {
  readonly log: Capability;
  /** Says how many lines were dropped, if any. Call it when the run has ended. */
  end(): void;
}

/** The limits hold for the whole run. What is over them is dropped and counted; the guest is not told. */
export function runLog(
  of: Pick<LogLine, "runId" | "fence" | "instance">,
  write: (lines: readonly LogLine[]) => void,
  nowUs: () => bigint,
  { maxLogLines, maxLogBytes }: Pick<CallLimits, "maxLogLines" | "maxLogBytes">,
): RunLog {
  let lines = 0;
  let bytes = 0;
  let dropped = 0;
  return {
    async log(request) {
      const { level, message, fields } = readRequest("log", request);
      lines += 1;
      bytes += request.byteLength;
      if (lines > maxLogLines || bytes > maxLogBytes) {
        dropped += 1;
        return;
      }
      const kept: LogLevel = LOG_LEVELS.find((known) => known === level) ?? "info";
      const text = scrub(typeof message === "string" ? message : JSON.stringify(message ?? ""));
      write([{ ...of, timeUs: nowUs(), level: kept, message: text, ...(isObject(fields) && { fields }) }]);
    },
    end() {
      if (!dropped) return;
      const limits = `${maxLogLines} lines and ${maxLogBytes} bytes`;
      const message = `${dropped} more log lines were dropped: a run may write ${limits}`;
      write([{ ...of, timeUs: nowUs(), level: "warn", message }]);
    },
  };
}

/** No control characters but tab and newline, so that a message cannot move a terminal's cursor; cut at 8 KiB. */
export function scrub(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  const plain = text.toWellFormed().replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/g, "\ufffd");
  if (Buffer.byteLength(plain) <= MAX_MESSAGE_BYTES) return plain;
  const cut = Buffer.from(plain).subarray(0, MAX_MESSAGE_BYTES - 3);
  return `${new TextDecoder().decode(cut).replace(/\ufffd+$/, "")}…`;
}

export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly message: string;
}

/** At most one report a second goes on, and the one that says that all is done. */
export function progressCapability(report: (progress: Progress) => void): Capability {
  let lastMs = Number.NEGATIVE_INFINITY;
  return async (request) => {
    const { done, total: asked, message } = readRequest("progress", request);
    // Not known.
    const total = asked ?? 0;
    if (!Number.isFinite(done) || !Number.isFinite(total)) {
      throw Fault.invalid("progress", [{ field: "done, total", problem: "are not both numbers" }]);
    }
    const nowMs = performance.now();
    if (nowMs - lastMs < PROGRESS_EVERY_MS && done !== total) return;
    lastMs = nowMs;
    const text = typeof message === "string" ? scrub(message) : "";
    report({ done: Number(done), total: Number(total), message: text });
  };
}
