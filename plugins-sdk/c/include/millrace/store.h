/** What a plugin may reach beside HTTP: its own keys, granted tables, secrets, other plugins' functions, events. */
#ifndef MILLRACE_STORE_H
#define MILLRACE_STORE_H

#include "host.h"

/** What is not needed is NULL or 0. */
typedef struct mr_kv_ask {
  const char *op;
  const char *key;
  const char *value_json;
  const mr_json *revision;
  int64_t ttl_ms;
  int32_t limit;
  const char *after;
} mr_kv_ask;

MR_API mr_reply mr_kv(const mr_kv_ask *ask) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "op", ask->op);
  mr_set_text(&request, "key", ask->key);
  if (ask->value_json) mr_set_raw(&request, "value", ask->value_json);
  if (ask->revision) mr_set_json(&request, "revision", ask->revision);
  if (ask->ttl_ms > 0) mr_set_integer(&request, "ttl_ms", ask->ttl_ms);
  if (ask->limit > 0) mr_set_integer(&request, "limit", ask->limit);
  if (ask->after && *ask->after) mr_set_text(&request, "after", ask->after);
  mr_close(&request);
  return mr_call("kv", &request);
}

MR_API mr_reply mr_kv_write(
    const char *op, const char *key, const char *value_json, const mr_json *revision, int64_t ttl_ms) {
  mr_kv_ask ask = {op, key, value_json, revision, ttl_ms, 0, 0};
  return mr_kv(&ask);
}
MR_API mr_reply mr_kv_read(const char *op, const char *key, int32_t limit, const char *after) {
  mr_kv_ask ask = {op, key, 0, 0, 0, limit, after};
  return mr_kv(&ask);
}

/** `value` in `ok` is missing when there is no such key; `revision` is for `mr_kv_update`. */
MR_API mr_reply mr_kv_get(const char *key) { return mr_kv_read("get", key, 0, 0); }
/** Writes whatever is there. Values are JSON. */
MR_API mr_reply mr_kv_put(const char *key, const char *value_json) {
  return mr_kv_write("put", key, value_json, 0, 0);
}
/** Fails with `exists` when there is a value: of many racers one succeeds. */
MR_API mr_reply mr_kv_create(const char *key, const char *value_json) {
  return mr_kv_write("create", key, value_json, 0, 0);
}
/** Fails with `conflict` when somebody wrote since `revision`. */
MR_API mr_reply mr_kv_update(const char *key, const char *value_json, const mr_json *revision) {
  return mr_kv_write("update", key, value_json, revision, 0);
}
/** These three write what is gone after `ttl_ms`. Writing again begins its time anew; without a ttl it stays. */
MR_API mr_reply mr_kv_put_for(int64_t ttl_ms, const char *key, const char *value_json) {
  return mr_kv_write("put", key, value_json, 0, ttl_ms);
}
MR_API mr_reply mr_kv_create_for(int64_t ttl_ms, const char *key, const char *value_json) {
  return mr_kv_write("create", key, value_json, 0, ttl_ms);
}
MR_API mr_reply mr_kv_update_for(int64_t ttl_ms, const char *key, const char *value_json, const mr_json *revision) {
  return mr_kv_write("update", key, value_json, revision, ttl_ms);
}
MR_API mr_reply mr_kv_delete(const char *key) { return mr_kv_read("delete", key, 0, 0); }
/** All entries below a prefix in `entries` of `ok`. Fails with `too_large` over 4 MiB: ask for pages then. */
MR_API mr_reply mr_kv_list(const char *prefix) { return mr_kv_read("list", prefix, 0, 0); }
/** At most `limit` of them; while there is more, `next` of `ok` is what to give as `after`. NULL: the first page. */
MR_API mr_reply mr_kv_page(const char *prefix, int32_t limit, const char *after) {
  return mr_kv_read("list", prefix, limit, after);
}

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

/** Calls a function of another instance, for no longer than `timeout_ms`; its answer is `output` of `ok`. */
MR_API mr_reply mr_call_function_within(
    int32_t timeout_ms, const char *instance, const char *function, const char *input_json) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "instance", instance);
  mr_set_text(&request, "function", function);
  mr_set_raw(&request, "input", input_json);
  if (timeout_ms > 0) mr_set_integer(&request, "timeout_ms", timeout_ms);
  mr_close(&request);
  return mr_call("call", &request);
}
/** It has what is left of this call's own time. */
MR_API mr_reply mr_call_function(const char *instance, const char *function, const char *input_json) {
  return mr_call_function_within(0, instance, function, input_json);
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
