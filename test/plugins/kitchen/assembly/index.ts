/** A test guest that behaves as its config says: well, badly, slowly or not at all. */
import {
  AfterSyncCall, BeforeSyncCall, checkpoint, decodeUtf8, DiscoverCall, Emitter, fail, FetchCall, formatTime, httpGet,
  Json, kvCreate, kvGet, kvUpdate, log, Metrics, now, PollCall, progress, Query, RegisterCall, RouteCall, Rows, RowWriter,
  SyncCall, Window,
} from "@millrace/assemblyscript";
import { fillForEver, hog, spin, trap } from "./harm";

export function fetch(): i32 {
  const run = FetchCall.read();
  const config = run.config;
  const mode = config.get("mode").asText("rows");
  const count = <i32>config.get("rows").asInteger(10);
  if (mode == "rows") {
    const rows = new Rows();
    // With `overlap`, the first rows of the next window, too: the same rows, once for an index.
    for (let i = 0; i < count + <i32>config.get("overlap").asInteger(0); i++) {
      rows.begin();
      columns(rows, run.window, i, count);
      rows.end();
    }
    return run.ok(rows);
  }
  if (mode == "emit") return emitted(config, run.window, run.cursor, run.attempt) || run.ok();
  if (mode == "relay") return relayed(run);
  if (mode == "page") {
    const page = run.cursor.asInteger(0);
    const pages = config.get("batches").asInteger(1);
    const rows = new Rows();
    for (let i = page * count / pages; i < (page + 1) * count / pages; i++) {
      rows.begin();
      columns(rows, run.window, <i32>i, count);
      rows.end();
    }
    if (page + 1 < pages) run.next(Json.integer(page + 1));
    return run.ok(rows);
  }
  if (mode == "empty") return run.noData();
  if (mode == "not_modified") return run.notModified();
  if (mode == "slow") {
    const reply = httpGet(config.get("url").asText());
    if (reply.failed) return reply.fail();
    const rows = new Rows();
    rows.begin();
    columns(rows, run.window, 0, 1);
    rows.end();
    return run.ok(rows);
  }
  if (mode == "wrong_types") {
    const rows = new Rows();
    rows.begin();
    rows.setText("time", "yesterday").setText("id", "twelve").setNumber("name", 1.5);
    rows.setText("value", "x").setText("flag", "?");
    rows.end();
    return run.ok(rows);
  }
  if (mode == "undeclared") {
    const rows = new Rows();
    for (let i = 0; i < count; i++) {
      rows.begin();
      columns(rows, run.window, i, count);
      rows.setText("mood", "café ☃").key("nested").openObject().setInteger("depth", i).closeObject();
      rows.end();
    }
    return run.ok(rows);
  }
  if (mode == "bad_json") return run.ok(new Broken());
  if (mode == "kv") return counted(run);
  if (mode == "query") {
    const reply = new Query(config.get("sql").asText()).run();
    if (reply.failed) return reply.fail();
    log("info", "query answered", reply.ok);
    return run.noData();
  }
  return harm(mode);
}

/** The rows of mode "emit", behind a hook that always agrees. */
export function sync(): i32 {
  const run = SyncCall.read();
  return emitted(run.config, run.window, run.cursor, run.attempt) || run.ok();
}

export function before_sync(): i32 {
  return BeforeSyncCall.read().proceed();
}

/** Fails when it is told of less than the whole window. */
export function after_sync(): i32 {
  const run = AfterSyncCall.read();
  const whole = run.outcome == "ok" && run.rows == run.config.get("rows").asInteger(10);
  return whole ? run.ok() : fail("told_wrongly", `told of ${run.outcome}, ${run.rows} rows`);
}

/** `rows` rows in `batches` batches, each followed by a checkpoint that a later attempt starts after. 0: all went. */
function emitted(config: Json, window: Window, cursor: Json, attempt: i32): i32 {
  const count = <i32>config.get("rows").asInteger(10);
  const batches = <i32>config.get("batches").asInteger(1);
  const failAt = <i32>config.get("fail_at_batch").asInteger(0);
  const rows = new Emitter();
  for (let batch = <i32>cursor.get("batches").asInteger(0); batch < batches; batch++) {
    // Only the first attempt fails, so that a test sees the second one resume.
    if (failAt > 0 && batch == failAt && attempt == 1) return fail("asked_to", `failed at batch ${batch}`, true);
    for (let i = batch * count / batches; i < (batch + 1) * count / batches; i++) {
      rows.begin();
      columns(rows, window, i, count);
      rows.end();
    }
    if (rows.flush().failed) return rows.fail();
    const saved = checkpoint(Json.object().set("batches", Json.integer(batch + 1)));
    if (saved.failed) return saved.fail();
    progress(batch + 1, batches, `batch ${batch + 1}`);
  }
  return 0;
}

/** Rows of a source as it writes them, a line each, page by page with a checkpoint behind each. */
function relayed(run: FetchCall): i32 {
  const url = run.config.get("url").asText();
  const rows = new Emitter();
  let page = run.cursor.get("page").asInteger(0);
  while (true) {
    const reply = httpGet(`${url}?begin=${formatTime(run.window.beginUs)}&page=${page}`);
    if (reply.failed) return reply.fail();
    if (!reply.isSuccess) {
      const wait = Json.object().set("retry_after_ms", Json.integer(reply.retryAfterMs));
      return fail("source", `the source answered ${reply.status}`, true, wait);
    }
    if (reply.text.length) rows.addRaw(reply.text);
    if (rows.flush().failed) return rows.fail();
    if (reply.header("x-more") == "") return run.ok();
    page++;
    const saved = checkpoint(Json.object().set("page", Json.integer(page)));
    if (saved.failed) return saved.fail();
  }
  return run.ok();
}

/** Counts its runs in the plugin's own kv by compare-and-set, and returns the count as one row. */
function counted(run: FetchCall): i32 {
  const found = kvGet("runs");
  if (found.failed) return found.fail();
  const runs = found.ok.get("value").asInteger(0) + 1;
  const written = found.ok.get("value").isNull
    ? kvCreate("runs", Json.integer(runs))
    : kvUpdate("runs", Json.integer(runs), found.ok.get("revision"));
  if (written.failed) return written.fail();
  const rows = new Rows();
  rows.begin();
  rows.setText("time", formatTime(run.window.beginUs)).setInteger("id", runs).setText("name", "runs");
  rows.end();
  return run.ok(rows);
}


/** Row `i` of `count`, spread evenly over the window. */
function columns(rows: RowWriter, window: Window, i: i32, count: i32): void {
  const time = window.beginUs + (window.endUs - window.beginUs) / count * i;
  rows
    .setText("time", formatTime(time))
    .setInteger("id", i % count)
    .setText("name", `rød grød ☃ 𝄞 ${i % count}`)
    .setNumber("value", <f64>(i % count) / 4)
    .setBool("flag", (i & 1) == 1);
}

/** Rows that are not JSON. */
class Broken extends Rows {
  constructor() {
    super();
    this.addRaw('{"time": oops');
  }
}

function harm(mode: string): i32 {
  if (mode == "fail") return fail("asked_to", "failed as asked: é☃", false, Json.object().set("mode", Json.text(mode)));
  if (mode == "fail_retryable") {
    return fail("asked_to", "failed as asked", true, Json.object().set("retry_after_ms", Json.integer(50)));
  }
  if (mode == "spin") spin();
  if (mode == "fill") fillForEver();
  if (mode == "trap") trap();
  if (mode == "hog") hog();
  return fail("unknown_mode", `no mode "${mode}"`);
}

/** Modes: any of the harmful ones, "slow" (waits for config.url), else good metrics. */
export function poll(): i32 {
  const run = PollCall.read();
  const mode = run.config.get("mode").asText("rows");
  const metrics = new Metrics();
  if (mode == "slow") {
    const reply = httpGet(run.config.get("url").asText());
    if (reply.failed) return reply.fail();
    metrics.group("slow").gauge("status", reply.status);
    return run.ok(metrics);
  }
  if (mode == "empty") return run.ok(metrics);
  if (mode != "rows") return harm(mode);
  metrics.group("kitchen").dimension("resource", run.resource.id).dimension("unit", "°C");
  metrics.gauge("temperature", 21.5).counter("polls", run.previous.get("polls").asNumber(0) + 1).gauge("now_ms", now());
  return run.ok(metrics);
}

/** `config.resources` resources; mode "fail" fails, mode "empty" says that there are none. */
export function discover(): i32 {
  const run = DiscoverCall.read();
  const mode = run.config.get("mode").asText("rows");
  if (mode == "empty") return run.complete();
  if (mode != "rows") return harm(mode);
  for (let i = 0; i < <i32>run.config.get("resources").asInteger(3); i++) {
    run
      .resource(`oven-${i}`, "oven", run.config.get("url").asText("http://127.0.0.1/") + `?oven=${i}`)
      .set("site", Json.text(i % 2 ? "south" : "north"))
      .set("labels", Json.object().set("shelf", Json.text(`${i}`)));
  }
  return run.complete();
}

export function route(): i32 {
  const run = RouteCall.read();
  const path = run.path;
  if (path == "/hello") return run.sendText("hello");
  if (path == "/private") return run.sendText("secret");
  if (path == "/echo") {
    const echo = Json.object().set("method", Json.text(run.method)).set("query", run.json.get("query"));
    echo.set("headers", run.headers).set("bytes", Json.integer(run.bytes.byteLength));
    return run.sendJson(echo.set("body", Json.text(decodeUtf8(run.bytes))));
  }
  if (path.startsWith("/echo/")) return run.sendJson(Json.object().set("name", Json.text(run.param("name"))));
  if (path.startsWith("/status/")) {
    const status = <i32>I32.parseInt(run.param("status"));
    return run.header("x-kitchen", "yes").sendText(`status ${status}`, status);
  }
  if (path == "/binary") {
    const bytes = new Uint8Array(256);
    for (let i = 0; i < 256; i++) bytes[i] = <u8>i;
    return run.sendBytes(bytes.buffer);
  }
  if (path == "/big") return run.sendText("x".repeat(<i32>I32.parseInt(run.ask("bytes", "1048576"))));
  if (path == "/slow") {
    const reply = httpGet(run.ask("url"));
    return reply.failed ? reply.fail() : run.sendText(reply.text, reply.status);
  }
  if (path == "/spin") spin();
  if (path == "/trap") trap();
  if (path == "/fail") return fail("asked_to", "failed as asked: é☃");
  return run.sendError(404, "not_found", `no route ${path}`);
}

export function register(): i32 {
  const run = RegisterCall.read().column("time", "timestamp").column("id", "int64");
  return run.index("time").index("id").datetime("time").ok();
}
