/** Log lines on their way to ClickHouse: batched, never waited for; over the bound the oldest go, counted. */
import { createHash } from "node:crypto";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { formatTime } from "../kit/time.ts";
import type { Store } from "./client.ts";
import type { LogLine } from "./records.ts";

const MAX_HELD_LINES = 50_000;
const MAX_HELD_BYTES = 16_777_216;
const MAX_INSERT_LINES = 5_000;
const FLUSH_MS = 250;
const MAX_TEXT = 8_192;

export interface LogWriter extends AsyncDisposable {
  add(lines: readonly LogLine[]): void;
  flush(): Promise<void>;
  readonly dropped: number;
}

/** `stopping` ends the retries of an INSERT. */
export function openLogWriter(store: Store, log: Logger, stopping: AbortSignal): LogWriter {
  const held: Buffer[] = [];
  let heldBytes = 0;
  let dropped = 0;
  let sending: Promise<void> = Promise.resolve();

  const drop = (count: number) => {
    for (const line of held.splice(0, count)) heldBytes -= line.length;
    dropped += count;
  };
  const sendSome = async () => {
    const lines = held.splice(0, MAX_INSERT_LINES);
    if (!lines.length) return;
    for (const line of lines) heldBytes -= line.length;
    const body = Buffer.concat(lines);
    const token = createHash("sha256").update(body).digest("base64url");
    const sql = `INSERT INTO ${store.database}.logs FORMAT JSONEachRow`;
    await store.insert({ sql, body, token, assurance: "none" }, stopping).catch((problem: Error) => {
      dropped += lines.length;
      log.warn({ lines: lines.length, problem: problem.message }, "log lines were dropped");
    });
  };
  /** One INSERT at a time, so that lines keep their order. */
  const send = () => {
    sending = sending.then(sendSome);
    return sending;
  };
  const loop = background(
    async (signal) => {
      while (await pause(FLUSH_MS, signal)) while (held.length && !signal.aborted) await send();
    },
    (fault) => log.error({ problem: fault.message }, "the log writer ended"),
  );

  return {
    get dropped() {
      return dropped;
    },
    add(lines) {
      for (const line of lines) {
        const bytes = encodeLine(line);
        held.push(bytes);
        heldBytes += bytes.length;
      }
      while (held.length > MAX_HELD_LINES || heldBytes > MAX_HELD_BYTES) drop(1 + Math.floor(held.length / 100));
    },
    async flush() {
      await sending;
      while (held.length) await send();
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

function encodeLine(line: LogLine): Buffer {
  const row = {
    run_id: line.runId,
    fence: String(line.fence),
    time: formatTime(line.timeUs),
    level: line.level,
    instance: line.instance,
    message: line.message.slice(0, MAX_TEXT),
    fields: line.fields ? encodeFields(line.fields) : "",
  };
  return Buffer.from(`${JSON.stringify(row)}\n`);
}

/** Cutting JSON would break it; fields that are too long are left out whole. */
function encodeFields(fields: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(fields, (_, value) => (typeof value === "bigint" ? String(value) : value));
  return text.length <= MAX_TEXT ? text : "{}";
}
