/** A test guest that writes its rows itself, asks before and tells after, all by HTTP. */
import {
  AfterSyncCall, BeforeSyncCall, emitArrow, emitCsv, fail, formatTime, httpGet, HttpRequest, SyncCall,
} from "@millrace/assemblyscript";

const CSV = "text/csv";

/** What the source has for the window, in the format that it gives. */
export function sync(): i32 {
  const run = SyncCall.read();
  const url = run.config.get("url").asText();
  const reply = httpGet(`${url}/rows/${run.pipe.metric}?begin=${formatTime(run.window.beginUs)}`);
  if (reply.failed) return reply.fail();
  if (reply.status == 204) return run.noData();
  if (reply.status == 206) return run.partial();
  if (!reply.isSuccess) return fail("source", `the source says ${reply.status}`);
  const emitted = reply.header("content-type") == CSV ? emitCsv(reply.text) : emitArrow(reply.bytes);
  if (emitted.failed) return emitted.fail();
  return run.ok();
}

export function before_sync(): i32 {
  const run = BeforeSyncCall.read();
  const reply = httpGet(`${run.config.get("url").asText()}/before/${run.pipe.metric}`);
  if (reply.failed) return reply.fail();
  if (!reply.isSuccess) return fail("broken", "before_sync is broken");
  return reply.text.length > 0 ? run.veto(reply.text) : run.proceed();
}

export function after_sync(): i32 {
  const run = AfterSyncCall.read();
  const request = new HttpRequest(`${run.config.get("url").asText()}/after/${run.pipe.metric}`);
  request.method = "POST";
  request.body = `${run.outcome} ${run.rows} ${run.message}`;
  const reply = request.send();
  if (reply.failed) return reply.fail();
  return reply.isSuccess ? run.ok() : fail("broken", "after_sync is broken");
}
