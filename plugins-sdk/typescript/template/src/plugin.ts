/** Rows of one window: begin inclusive, end exclusive. */
import type { FetchCall } from "@millrace/typescript";

const MINUTE_MS = 60_000;

export function* fetch({ window, config }: FetchCall<{ greeting?: string }>) {
  const { greeting = "hello" } = config;
  for (let ms = window.beginMs; ms < window.endMs; ms += MINUTE_MS) {
    const time = new Date(ms);
    yield { time, greeting, minute: time.getUTCMinutes() };
  }
}
