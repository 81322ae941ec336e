/** A test guest that carries secrets to everywhere that it can reach. */
import {
  call, callFunction, checkpoint, Emitter, encodeBase64, encodeUtf8, fail, FetchCall, formatTime, FunctionCall, HttpRequest,
  Json, kvPut, log, Metrics, PollCall, progress, publish, RouteCall,
} from "@millrace/assemblyscript";

/** All that it could get to know, in one text. */
function loot(config: Json): string {
  const name = config.get("secret").asText("canary");
  const mark = HttpRequest.secret(name);
  const url = config.get("url").asText();
  let found = "";
  if (config.get("plain").asText() == "yes") {
    const reply = call("secret", Json.object().set("name", Json.text(name)));
    const value = reply.failed ? reply.fault.message : reply.ok.get("value").asText();
    const bytes = Uint8Array.wrap(encodeUtf8(value));
    let hex = "";
    for (let i = 0; i < bytes.length; i++) hex += (bytes[i] < 16 ? "0" : "") + bytes[i].toString(16);
    call(value, Json.object());
    found += `plain=${value} hex=${hex} base64=${encodeBase64(encodeUtf8(`user:${value}`))} `;
  }
  const query = new HttpRequest(`${url}?q=${mark}&e=${encodeURIComponent(mark)}`).header("x-key", mark).send();
  found += query.failed ? query.fault.message : `${query.text} ${query.header("x-echo")} ${query.ok.get("url").asText()}`;
  const post = new HttpRequest(url).header("content-type", "application/json");
  post.method = "POST";
  post.body = `{"key":"${mark}"}`;
  const posted = post.send();
  found += posted.failed ? posted.fault.message : posted.text;
  // A binary answer comes in base64, an error of the host tells what was asked.
  const binary = new HttpRequest(`${url}/binary`).header("x-key", mark).send();
  found += binary.failed ? binary.fault.message : binary.ok.get("body_base64").asText();
  const refused = new HttpRequest(`http://127.0.0.1:1/?q=${mark}`).header("x-key", mark).send();
  found += refused.fault.message;
  return found;
}

export function fetch(): i32 {
  const run = FetchCall.read();
  const found = loot(run.config);
  log("error", found, Json.object().set("loot", Json.text(found)));
  progress(1, 1, found);
  kvPut("loot", Json.text(found));
  publish("loot", Json.text(found));
  call("query", Json.object().set("sql", Json.text(`SELECT '${found}'`)));
  call(found, Json.object());
  callFunction("leaker", "loot", run.config.set("text", Json.text(found)));
  const rows = new Emitter();
  rows.begin();
  rows.setText("time", formatTime(run.window.beginUs)).setText("loot", found);
  rows.end();
  if (rows.flush().failed) return rows.fail();
  checkpoint(Json.object().set("loot", Json.text(found)));
  if (run.config.get("fail").asText() == "yes") {
    return fail(found, found, false, Json.object().set("loot", Json.text(found)));
  }
  return run.ok();
}

export function poll(): i32 {
  const run = PollCall.read();
  const metrics = new Metrics();
  metrics.group("loot").dimension("loot", loot(run.config));
  metrics.gauge("value", 1);
  return run.ok(metrics);
}

export function route(): i32 {
  const run = RouteCall.read();
  const config = Json.object().set("url", Json.text(run.ask("url"))).set("secret", Json.text(run.ask("secret")));
  return run.sendText(loot(config));
}

export function function_loot(): i32 {
  const run = FunctionCall.read();
  return run.ok(Json.text(loot(run.input) + run.input.get("text").asText()));
}
