/** The probe in AssemblyScript: what every SDK must be able to do, told by its config. */
import {
  answer, answerWith, callFunction, checkpoint, decodeUtf8, DiscoverCall, Emitter, encodeBase64, EnrichCall, fail, FetchCall,
  formatTime, HttpRequest, Json, JsonWriter, kvGet, kvPut, log, Metrics, NO_TIME, now, parseTime, PollCall, progress,
  publish, Query, random, readBytes, readCall, RegisterCall, Reply, RouteCall, Rows, RowWriter, secretValue,
} from "@millrace/assemblyscript";

export { function_helpers } from "./helpers";
export { after_sync, before_sync, sync } from "./sync";

const BIG: i64 = 9007199254740993;

/** Row `i` of `count`, spread evenly over the window. */
function put(rows: RowWriter, run: FetchCall, i: i64, count: i64): void {
  const window = run.window;
  rows.begin();
  rows
    .setText("time", formatTime(window.beginUs + (window.endUs - window.beginUs) / count * i))
    .setInteger("id", BIG + i)
    .setText("name", `rød grød ☃ 𝄞 "${i}"\n`)
    .setNumber("value", <f64>i / 4)
    .setBool("flag", (i & 1) == 1);
  rows.end();
}

/** Rows in batches, each followed by a checkpoint that a later attempt starts after. */
function emitted(run: FetchCall, count: i64): i32 {
  const batches = run.config.get("batches").asInteger(1);
  const rows = new Emitter();
  for (let batch = run.cursor.get("batches").asInteger(0); batch < batches; batch++) {
    for (let i = batch * count / batches; i < (batch + 1) * count / batches; i++) put(rows, run, i, count);
    if (rows.flush().failed) return rows.fail();
    const saved = checkpoint(Json.object().set("batches", Json.integer(batch + 1)));
    if (saved.failed) return saved.fail();
    progress(<f64>(batch + 1), <f64>batches, "halvveis ☃");
  }
  return run.ok();
}

function hosted(run: FetchCall): i32 {
  log("warn", "logged: é☃");
  const query = new Query("SELECT {city:String}").text("city", "Tromsø");
  query.maxRows = 10;
  const replies: Reply[] = [
    kvPut("größe", Json.parse('{"n":18446744073709551615}')!),
    kvGet("größe"),
    query.run(),
    secretValue("token"),
    callFunction("units", "convert", Json.object().set("from", Json.integer(1))),
    publish("alarm.high", Json.object().set("°C", Json.number(41.5))),
  ];
  const rows = new Rows();
  for (let i = 0; i < replies.length; i++) {
    if (replies[i].failed) return replies[i].fail();
    rows.begin();
    rows.setJson("ok", replies[i].ok);
    rows.end();
  }
  rows.begin();
  rows.setNumber("now", now()).setNumber("clock", now() / 1000).setText("random", encodeBase64(random(16)));
  rows.end();
  return run.ok(rows);
}

function downloaded(run: FetchCall): i32 {
  const request = new HttpRequest(run.config.get("url").asText()).header("x-probe", "é");
  request.method = "POST";
  request.body = "hei";
  request.timeoutMs = 1500;
  const reply = request.send();
  if (reply.failed) return reply.fail();
  const rows = new Rows();
  rows.begin();
  rows.setInteger("status", reply.status).setText("body", reply.text).setText("type", reply.header("content-type"));
  rows.end();
  return run.ok(rows);
}

export function fetch(): i32 {
  const run = FetchCall.read();
  const mode = run.config.get("mode").asText("rows");
  const count = run.config.get("rows").asInteger(10);
  if (mode == "emit") return emitted(run, count);
  if (mode == "host") return hosted(run);
  if (mode == "http") return downloaded(run);
  if (mode == "empty") return run.noData();
  if (mode == "fail") return fail("asked_to", "failed as asked: é☃");
  if (mode == "retry") return fail("busy", "later", true, Json.object().set("retry_after_ms", Json.integer(50)));
  const rows = new Rows();
  if (mode == "crash") rows.setInteger("none", [1][<i32>count]);
  if (mode == "page") {
    const page = run.cursor.asInteger(0);
    put(rows, run, page, 3);
    if (page < 2) run.next(Json.integer(page + 1));
    return run.ok(rows);
  }
  for (let i: i64 = 0; i < count; i++) put(rows, run, i, count);
  return run.ok(rows);
}

export function register(): i32 {
  const run = RegisterCall.read();
  run.column("time", "timestamp").column("id", "int64").index("time").index("id").datetime("time");
  return run.ok();
}

export function poll(): i32 {
  const run = PollCall.read();
  const metrics = new Metrics();
  metrics.group("oven").dimension("resource", run.resource.id);
  metrics.dimension("unit", run.context.get("unit").get("temperature").asText("°C"));
  metrics.gauge("temperature", 21.5).counter("polls", run.previous.get("polls").asNumber(0) + 1);
  metrics.group("door", "2012-01-01T00:00:00Z").gauge("open", 1);
  return run.ok(metrics);
}

export function discover(): i32 {
  const run = DiscoverCall.read();
  for (let i = 0; i < 2; i++) {
    const oven = run.resource(`oven-${i}`, "oven", "http://127.0.0.1/").set("site", Json.text(run.site));
    oven.set("labels", Json.object().set("shelf", Json.text("øverst")));
  }
  return run.complete();
}

export function enrich(): i32 {
  const run = EnrichCall.read();
  const speed = Json.object().set("speed", run.config.get("speed")).set("of", Json.text(run.resource.id));
  run.document("port", "ø", speed);
  run.document("note", "1", Json.text("naboen ☃")).set("resource", Json.text("oven-2")).set("ttl", Json.text("5m"));
  return run.ok();
}

export function route(): i32 {
  const call = RouteCall.read();
  if (call.path == "/binary") return call.sendBytes(call.bytes, 200, "image/x");
  if (call.path != "/echo/å") return call.sendError(404, "not_found", call.path);
  const out = Json.object().set("name", Json.text(call.param("name"))).set("q", Json.text(call.ask("q", "none")));
  out.set("r", Json.text(call.ask("r", "none"))).set("body", Json.text(call.body));
  return call.header("x-probe", "yes").sendJson(out, 201);
}

/** Reads its input itself, so that it sees JSON that is none. */
export function function_roundtrip(): i32 {
  const json = Json.parse(decodeUtf8(readBytes()));
  return json == null ? fail("refused", "not JSON: " + Json.problem) : answer(json);
}

/** Numbers as doubles and times in the SDK's own forms. */
export function function_rewrite(): i32 {
  const input = readCall();
  const out = new JsonWriter().openArray();
  for (let i = 0; i < input.length; i++) {
    const one = input.at(i);
    const us = parseTime(one.asText());
    if (!one.isText) out.addNumber(one.asNumber());
    else if (us == NO_TIME) out.addNull();
    else out.addText(formatTime(us));
  }
  return answerWith(out.closeArray());
}
