/** Host functions without a type of their own: checkpoint, progress, publish, metric, sleep, log; the call behind. */
import { callHost } from "./abi";
import { Fault, failWith } from "./fault";
import { Json } from "./json";
import { JsonWriter } from "./json-writer";
import { decodeUtf8 } from "./utf8";

const NO_FAULT = new Fault("", "");

/** What a host call came to. Look at `failed` first. */
export class Reply {
  constructor(
    public readonly ok: Json,
    public readonly fault: Fault = NO_FAULT,
  ) {}

  get failed(): bool {
    return this.fault !== NO_FAULT;
  }
  /** Ends the call with this reply's fault: `if (reply.failed) return reply.fail();` */
  fail(): i32 {
    return failWith(this.fault);
  }
}

/** Calls a host function by name. The typed functions of this package are made of it. */
export function call(name: string, request: Json): Reply {
  return callWith(name, new JsonWriter().addJson(request));
}

/** The same with a request that is bytes already. */
export function callWith(name: string, request: JsonWriter): Reply {
  return callBytes(name, request.start, request.length);
}

/** The same with `length` bytes at `from`. */
export function callBytes(name: string, from: usize, length: i32): Reply {
  const text = decodeUtf8(callHost(name, from, length));
  const answer = Json.parse(text);
  if (answer == null) {
    return new Reply(Json.missing, new Fault("host_error", `the answer to ${name} is not JSON: ${Json.problem}`));
  }
  const error = answer.get("error");
  if (error.isNull) return new Reply(answer.get("ok"));
  return new Reply(Json.missing, Fault.from(error));
}

/**
 * Saves where this run is: after a crash or a retry the next attempt gets `cursor` back and keeps every row that was
 * emitted before. Flush your emitter first.
 */
export function checkpoint(cursor: Json): Reply {
  return call("checkpoint", Json.object().set("cursor", cursor));
}

/** How far this run is, for people who watch it. */
export function progress(done: f64, total: f64, message: string = ""): Reply {
  return call(
    "progress",
    Json.object().set("done", Json.number(done)).set("total", Json.number(total)).set("message", Json.text(message)),
  );
}

/**
 * Tells whoever listens now, on `guest.<instance>.<subject>`. Fails with `denied` unless the subject is granted, and
 * with `exhausted` when there are too many in a second.
 */
export function publish(subject: string, body: Json): Reply {
  return call("publish", Json.object().set("subject", Json.text(subject)).set("body", body));
}

/**
 * A value of this plugin's own, in the dataset `metrics` under the instance's name as group. It is kept if the run is.
 * `type` is `gauge` or `counter`; `time` is RFC 3339, empty: now.
 */
export function metric(
  name: string,
  value: f64,
  type: string = "gauge",
  dimensions: Json = Json.missing,
  time: string = "",
): Reply {
  const request = Json.object().set("name", Json.text(name)).set("value", Json.number(value));
  if (!dimensions.isNull) request.set("dimensions", dimensions);
  if (time.length) request.set("time", Json.text(time));
  return call("metric", request.set("type", Json.text(type)));
}

/** Waits, at most what the call has left. Others run meanwhile. */
export function sleep(ms: i64): Reply {
  return call("sleep", Json.object().set("ms", Json.integer(ms)));
}

/**
 * `ok.get("value")` of a secret that is granted as `name!`. Mostly `HttpRequest.secret(name)` is what you want: it
 * stands for the value, which then never comes here.
 */
export function secretValue(name: string): Reply {
  return call("secret", Json.object().set("name", Json.text(name)));
}

/** A line of this run's log, with fields if you like. */
export function log(level: string, message: string, fields: Json = Json.missing): void {
  const line = Json.object().set("level", Json.text(level)).set("message", Json.text(message));
  if (!fields.isNull) line.set("fields", fields);
  call("log", line);
}
