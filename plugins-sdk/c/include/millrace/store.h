/** What a plugin may reach beside HTTP: its own keys, granted tables, secrets, other plugins' functions, events. */
#ifndef MILLRACE_STORE_H
#define MILLRACE_STORE_H

#include "host.h"

/** `value_json` and `revision` may be NULL. */
MR_API mr_reply mr_kv(const char *op, const char *key, const char *value_json, const mr_json *revision) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "op", op);
  mr_set_text(&request, "key", key);
  if (value_json) mr_set_raw(&request, "value", value_json);
  if (revision) mr_set_json(&request, "revision", revision);
  mr_close(&request);
  return mr_call("kv", &request);
}

/** `value` in `ok` is missing when there is no such key; `revision` is for `mr_kv_update`. */
MR_API mr_reply mr_kv_get(const char *key) { return mr_kv("get", key, 0, 0); }
/** Writes whatever is there. Values are JSON. */
MR_API mr_reply mr_kv_put(const char *key, const char *value_json) { return mr_kv("put", key, value_json, 0); }
/** Fails with `exists` when there is a value: of many racers one succeeds. */
MR_API mr_reply mr_kv_create(const char *key, const char *value_json) { return mr_kv("create", key, value_json, 0); }
/** Fails with `conflict` when somebody wrote since `revision`. */
MR_API mr_reply mr_kv_update(const char *key, const char *value_json, const mr_json *revision) {
  return mr_kv("update", key, value_json, revision);
}
MR_API mr_reply mr_kv_delete(const char *key) { return mr_kv("delete", key, 0, 0); }
/** All entries below a prefix in `entries` of `ok`. */
MR_API mr_reply mr_kv_list(const char *prefix) { return mr_kv("list", prefix, 0, 0); }

/**
 * Read-only SQL on granted tables; `ok` has `columns` and `rows`. Placeholders are ClickHouse's: `{city:String}`, with
 * their values in `params_json` (NULL for none). Never build SQL from input. `max_rows` 0: the host's default.
 */
MR_API mr_reply mr_query(const char *sql, const char *params_json, int32_t max_rows) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "sql", sql);
  mr_set_raw(&request, "params", params_json ? params_json : "{}");
  if (max_rows > 0) mr_set_integer(&request, "max_rows", max_rows);
  mr_close(&request);
  return mr_call("query", &request);
}

/** A secret by name, in `value` of `ok`; for secrets that the manifest lists with `!`. */
MR_API mr_reply mr_secret(const char *name) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "name", name);
  mr_close(&request);
  return mr_call("secret", &request);
}

/** Calls a function of another instance; its answer is `output` of `ok`. */
MR_API mr_reply mr_call_function(const char *instance, const char *function, const char *input_json) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "instance", instance);
  mr_set_text(&request, "function", function);
  mr_set_raw(&request, "input", input_json);
  mr_close(&request);
  return mr_call("call", &request);
}

/** Tells whoever listens below this instance's own subjects. */
MR_API mr_reply mr_publish(const char *subject, const char *body_json) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "subject", subject);
  mr_set_raw(&request, "body", body_json);
  mr_close(&request);
  return mr_call("publish", &request);
}

#endif
