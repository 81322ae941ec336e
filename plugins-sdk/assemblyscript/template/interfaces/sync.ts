// The CSV of each day, which the store reads as it is.
import { DAY_US, emitCsv, fail, formatDate, httpGet, SyncCall } from "@millrace/assemblyscript";

export function sync(): i32 {
  const run = SyncCall.read();
  const url = run.config.get("url").asText();
  for (let us = run.window.beginUs; us < run.window.endUs; us += DAY_US) {
    const reply = httpGet(`${url}?day=${formatDate(us)}`);
    if (reply.failed) return reply.fail();
    if (!reply.isSuccess) return fail("bad_status", `the source answered ${reply.status}`, reply.status >= 500);
    const stored = emitCsv(reply.text);
    if (stored.failed) return stored.fail();
  }
  return run.ok();
}
