/** The plugin's own key-value store: small values, compare-and-set by revision. */
import { call, Reply } from "./host";
import { Json } from "./json";

/** `ok.value` is missing when there is no such key. `ok.revision` is for `kvUpdate`. */
export function kvGet(key: string): Reply {
  return call("kv", operation("get", key));
}

/** Writes whatever is there. */
export function kvPut(key: string, value: Json): Reply {
  return call("kv", operation("put", key).set("value", value));
}

/** Fails with `exists` when there is a value: of many racers one succeeds. */
export function kvCreate(key: string, value: Json): Reply {
  return call("kv", operation("create", key).set("value", value));
}

/** Fails with `conflict` when somebody wrote since `revision`. */
export function kvUpdate(key: string, value: Json, revision: Json): Reply {
  return call("kv", operation("update", key).set("value", value).set("revision", revision));
}

export function kvDelete(key: string): Reply {
  return call("kv", operation("delete", key));
}

/** All entries below a prefix in `ok.entries`. */
export function kvList(prefix: string): Reply {
  return call("kv", operation("list", prefix));
}

function operation(name: string, key: string): Json {
  return Json.object().set("op", Json.text(name)).set("key", Json.text(key));
}
