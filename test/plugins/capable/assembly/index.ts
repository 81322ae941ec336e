/** A test guest that asks the host for whatever it is told to, and says what it was answered. */
import { call, fail, FunctionCall, httpGet, Json } from "@millrace/assemblyscript";

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
