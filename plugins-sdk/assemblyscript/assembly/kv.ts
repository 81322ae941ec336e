/** The plugin's own key-value store: small values, compare-and-set by revision. */
import { call, Reply } from "./host";
import { Json } from "./json";

/** `ok.value` is missing when there is no such key. `ok.revision` is for `kvUpdate`. */
export function kvGet(key: string): Reply {
  return call("kv", operation("get", key));
}

/** Writes whatever is there. With `ttlMs` it is gone after that time; writing again begins it anew. */
export function kvPut(key: string, value: Json, ttlMs: i64 = 0): Reply {
  return call("kv", living(operation("put", key).set("value", value), ttlMs));
}

/** Fails with `exists` when there is a value: of many racers one succeeds. */
export function kvCreate(key: string, value: Json, ttlMs: i64 = 0): Reply {
  return call("kv", living(operation("create", key).set("value", value), ttlMs));
}

/** Fails with `conflict` when somebody wrote since `revision`. */
export function kvUpdate(key: string, value: Json, revision: Json, ttlMs: i64 = 0): Reply {
  return call("kv", living(operation("update", key).set("value", value).set("revision", revision), ttlMs));
}

export function kvDelete(key: string): Reply {
  return call("kv", operation("delete", key));
}

/**
 * All entries below a prefix in `ok.entries`. With `limit`, a page: while there is more, `ok.next` is what to give as
 * `after` for the next one.
 */
export function kvList(prefix: string, limit: i32 = 0, after: string = ""): Reply {
  const request = operation("list", prefix);
  if (limit > 0) request.set("limit", Json.integer(limit));
  if (after.length) request.set("after", Json.text(after));
  return call("kv", request);
}

function living(request: Json, ttlMs: i64): Json {
  return ttlMs > 0 ? request.set("ttl_ms", Json.integer(ttlMs)) : request;
}

function operation(name: string, key: string): Json {
  return Json.object().set("op", Json.text(name)).set("key", Json.text(key));
}
