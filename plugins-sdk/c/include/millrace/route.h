/** `route`: one HTTP request that the gateway hands to the plugin. */
#ifndef MILLRACE_ROUTE_H
#define MILLRACE_ROUTE_H

#include "http.h"

typedef struct mr_route {
  const char *method;
  const char *path;
  /** The declared route's `{name}` parts. */
  const mr_json *params;
  const mr_json *query;
  const mr_json *headers;
  mr_bytes body;
  /** The headers of the answer: `mr_set_text(&call.answer_headers, "cache-control", "no-store")`. */
  mr_writer answer_headers;
} mr_route;

MR_API mr_route mr_route_read(void) {
  const mr_json *input = mr_read_call();
  mr_route call = {
      mr_text(mr_get(input, "method"), ""),
      mr_text(mr_get(input, "path"), ""),
      mr_get(input, "params"),
      mr_get(input, "query"),
      mr_get(input, "headers"),
      mr_body_of(input),
      {},
  };
  mr_open_object(&call.answer_headers);
  return call;
}

/** A `{name}` part of the path. */
MR_API const char *mr_param(const mr_route *call, const char *name) { return mr_text(mr_get(call->params, name), ""); }

/** A query parameter, or the fallback; of one that was given many times, the first. */
MR_API const char *mr_ask(const mr_route *call, const char *name, const char *fallback) {
  const mr_json *value = mr_get(call->query, name);
  return mr_text(value->kind == MR_ARRAY ? mr_at(value, 0) : value, fallback);
}

MR_API int32_t mr_send(mr_route *call, int32_t status, const char *type, const char *field, mr_bytes body) {
  mr_writer out = {};
  mr_set_text(&call->answer_headers, "content-type", type);
  mr_close(&call->answer_headers);
  mr_open_object(&out);
  mr_set_integer(&out, "status", status);
  mr_key(&out, "headers");
  mr_add_raw(&out, call->answer_headers.bytes, call->answer_headers.length);
  mr_set_bytes(&out, field, body.at, body.length);
  mr_close(&out);
  return mr_answer(&out);
}

/** Text of any type: `mr_send_text(&call, 200, "text/html; charset=utf-8", page)`. */
MR_API int32_t mr_send_text(mr_route *call, int32_t status, const char *type, const char *text) {
  mr_bytes body = {(char *)text, strlen(text)};
  return mr_send(call, status, type, "body", body);
}
MR_API int32_t mr_send_json(mr_route *call, int32_t status, const mr_writer *json) {
  mr_bytes body = {json->bytes, json->length};
  return mr_send(call, status, "application/json; charset=utf-8", "body", body);
}
MR_API int32_t mr_send_bytes(mr_route *call, int32_t status, const char *type, const char *bytes, size_t length) {
  mr_bytes body = {mr_encode_base64(bytes, length), (length + 2) / 3 * 4};
  return mr_send(call, status, type, "body_base64", body);
}
/** `{"error":{"code","message"}}`: for what the caller did wrong. For what the plugin cannot do, `mr_fail`. */
MR_API int32_t mr_send_error(mr_route *call, int32_t status, const char *code, const char *message) {
  mr_writer out = {};
  mr_open_object(&out);
  mr_key(&out, "error");
  mr_open_object(&out);
  mr_set_text(&out, "code", code);
  mr_set_text(&out, "message", message);
  mr_close(&out);
  mr_close(&out);
  return mr_send_json(call, status, &out);
}

#endif
