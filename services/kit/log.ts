/** Structured logs: pino to stderr, one JSON object a line, with known secret fields redacted. */
import { type Logger, pino } from "pino";

export type { Logger };

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LEVELS)[number];
export const logLevels: readonly LogLevel[] = LEVELS;

/** Field names that never reach a log line, at the top of an object or one level down. */
const SECRET_FIELDS = ["authorization", "token", "password", "secret", "cookie"];

/** A logger for one service. Pass it on; there is no global one. */
export function makeLog(service: string, level: LogLevel = "info"): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]);
  const options = { level, base: { service }, redact: { paths, censor: "(hidden)" } };
  return pino(options, pino.destination({ dest: 2, sync: true }));
}

/** For tests and for callers that do not care. */
export const silentLog: Logger = pino({ level: "silent" });
