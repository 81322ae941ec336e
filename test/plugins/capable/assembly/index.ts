/** A test guest that asks the host for whatever it is told to, and says what it was answered. */
import {
  call, callFunction, fail, FetchCall, formatTime, FunctionCall, httpGet, Json, metric, Metrics, ping, PollCall,
  publish, Rows, Snmp, SocketRequest,
} from "@millrace/assemblyscript";

/** {name, request, times}: the answer to the last of `times` equal host calls. */
export function function_ask(): i32 {
  const run = FunctionCall.read();
  const times = run.input.get("times").asInteger(1);
  let reply = call(run.input.get("name").asText(), run.input.get("request"));
  for (let i: i64 = 1; i < times; i++) reply = call(run.input.get("name").asText(), run.input.get("request"));
  if (!reply.failed) return run.ok(Json.object().set("ok", reply.ok));
  const error = Json.object().set("code", Json.text(reply.fault.code)).set("message", Json.text(reply.fault.message));
  return run.ok(Json.object().set("error", error.set("retryable", Json.bool(reply.fault.retryable))));
}

export function function_echo(): i32 {
  const run = FunctionCall.read();
  return run.ok(run.input);
}

export function function_convert(): i32 {
  const run = FunctionCall.read();
  return run.ok(Json.object().set("fahrenheit", Json.number(run.input.get("celsius").asNumber() * 9 / 5 + 32)));
}

export function function_refuse(): i32 {
  return fail("not_today", "closed on Sundays");
}

export function function_trap(): i32 {
  unreachable();
  return 0;
}

export function function_slow(): i32 {
  const run = FunctionCall.read();
  const reply = httpGet(run.input.asText());
  return reply.failed ? reply.fail() : run.ok(Json.text(reply.text));
}

/** {tcp, udp, snmp}: ports of this machine; what each typed helper of the SDK was answered. */
export function function_typed(): i32 {
  const run = FunctionCall.read();
  const host = "127.0.0.1";
  const udp = new SocketRequest("udp", host, <i32>run.input.get("udp").asInteger()).text("abc").timeout(2000).send();
  if (udp.failed) return udp.fail();
  const tcp = new SocketRequest("tcp", host, <i32>run.input.get("tcp").asInteger()).text("hello\n");
  const line = tcp.expectUntil("\r\n").send();
  if (line.failed) return line.fail();
  const there = ping("tcp", host, <i32>run.input.get("tcp").asInteger());
  if (there.failed) return there.fail();
  const device = new Snmp(host, <i32>run.input.get("snmp").asInteger()).oid(run.input.get("oid").asText()).get();
  if (device.failed) return device.fail();
  const other = callFunction("capable", "echo", Json.integer(7));
  if (other.failed) return other.fail();
  const told = publish("status", Json.text("typed"));
  if (told.failed) return told.fail();
  const answer = Json.object().set("udp", Json.text(udp.text)).set("tcp", Json.text(line.text));
  answer.set("reachable", there.ok.get("reachable")).set("name", device.ok.get("values").at(0).get("value"));
  return run.ok(answer.set("echo", other.ok.get("output")));
}

/** One row and one metric; with config.fail, the first attempt fails after its metric. */
export function fetch(): i32 {
  const run = FetchCall.read();
  const told = metric("fetched", run.attempt, "counter", Json.object().set("unit", Json.text("attempts")));
  if (told.failed) return told.fail();
  if (run.config.get("fail").asBool() && run.attempt == 1) return fail("asked_to", "failed as asked", true);
  const rows = new Rows();
  rows.begin();
  rows.setText("time", formatTime(run.window.beginUs)).setInteger("id", 1);
  rows.end();
  return run.ok(rows);
}

/** One metric as a poll gives it, and one of the plugin's own. */
export function poll(): i32 {
  const run = PollCall.read();
  const told = metric("own", 2);
  if (told.failed) return told.fail();
  const metrics = new Metrics();
  metrics.group("given").gauge("value", 1);
  return run.ok(metrics);
}
