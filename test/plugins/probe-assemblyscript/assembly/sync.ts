/** Windows that the plugin writes itself, and the hooks around them. */
import {
  AfterSyncCall, BeforeSyncCall, checkpoint, Emitter, formatTime, Json, log, SyncCall,
} from "@millrace/assemblyscript";

export function sync(): i32 {
  const run = SyncCall.read();
  const mode = run.config.get("mode").asText();
  if (mode == "no_data") return run.noData();
  if (mode == "not_modified") return run.notModified();
  if (mode == "partial") return run.partial();
  const rows = new Emitter();
  for (let n = run.cursor.get("n").asInteger(0) + 1; n <= 3; n++) {
    rows.begin();
    rows.setInteger("n", n).setText("time", formatTime(run.window.beginUs));
    rows.end();
    if (n != 2) continue;
    if (rows.flush().failed) return rows.fail();
    const saved = checkpoint(Json.object().set("n", Json.integer(n)));
    if (saved.failed) return saved.fail();
  }
  return rows.flush().failed ? rows.fail() : run.ok();
}

export function before_sync(): i32 {
  const run = BeforeSyncCall.read();
  const closed = run.config.get("closed");
  if (closed.isNull) return run.proceed();
  return run.veto(`${closed.asText()}: ${run.pipe.metric} from ${run.begin.slice(0, 10)}`);
}

export function after_sync(): i32 {
  const run = AfterSyncCall.read();
  log("info", `${run.outcome}: ${run.rows} rows of ${run.run}: ${run.message}`);
  return run.ok();
}
