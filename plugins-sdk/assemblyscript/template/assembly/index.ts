// Rows of one window: begin inclusive, end exclusive.
import { Emitter, FetchCall, formatTime } from "@millrace/assemblyscript";

const MINUTE_US: i64 = 60_000_000;

export function fetch(): i32 {
  const run = FetchCall.read();
  const greeting = run.config.get("greeting").asText("hello");
  const rows = new Emitter();
  for (let us = run.window.beginUs; us < run.window.endUs; us += MINUTE_US) {
    rows.begin();
    rows.setText("time", formatTime(us)).setText("greeting", greeting);
    rows.setInteger("minute", (us / MINUTE_US) % 60);
    rows.end();
  }
  rows.flush();
  return rows.failed ? rows.fail() : run.ok();
}
