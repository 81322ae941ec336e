/** HTTP through the host, which allows only what the manifest asks for and the operator grants. */
#ifndef MILLRACE_HTTP_H
#define MILLRACE_HTTP_H

#include "host.h"

/** Zero what you do not need: `mr_request ask = {.url = "https://…"}`. */
typedef struct mr_request {
  const char *url;
  /** NULL: GET. */
  const char *method;
  /** Names and values in turn, ended by NULL: `(const char *[]){"accept", "text/csv", NULL}`. */
  const char *const *headers;
  /** Any bytes; NULL for none. */
  const char *body;
  size_t body_length;
  /** 0: the host's default. The run's own deadline holds in any case. */
  int32_t timeout_ms;
  /**
   * Over 1: the host tries again, with a growing pause, when the other side is not there and for 429 and 5xx. At most
   * 5, and only for methods that may be repeated.
   */
  int32_t attempts;
  /** Asks again with what the server said of its answer, by ETag or date. Only for GET. */
  bool cache;
  /** Through the operator's proxy. */
  bool proxy;
} mr_request;

/** Stands for a secret in query, headers or a text body: the host puts the value in, the plugin never sees it. */
MR_API const char *mr_placeholder(const char *secret) { return mr_format("{{secret:%s}}", secret); }

/** An answer of any status, or a failure to get one: look at `failed` first. */
typedef struct mr_response {
  bool failed;
  mr_fault fault;
  int32_t status;
  /** Names are lower-case. */
  const mr_json *headers;
  mr_bytes body;
  double elapsed_ms;
  /** When the server's certificate runs out (RFC 3339), or "" without TLS. */
  const char *tls_valid_until;
} mr_response;

MR_API char *mr_encode_base64(const char *bytes, size_t length) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *text = mr_bytes_of((length + 2) / 3 * 4).at, *to = text;
  const uint8_t *from = (const uint8_t *)bytes;
  for (size_t i = 0; i < length; i += 3) {
    uint32_t b = i + 1 < length ? from[i + 1] : 0, c = i + 2 < length ? from[i + 2] : 0;
    uint32_t word = (uint32_t)from[i] << 16 | b << 8 | c;
    *to++ = digits[word >> 18];
    *to++ = digits[word >> 12 & 63];
    *to++ = i + 1 < length ? digits[word >> 6 & 63] : '=';
    *to++ = i + 2 < length ? digits[word & 63] : '=';
  }
  return text;
}

/** Characters that are none of base64's are passed over. */
MR_API mr_bytes mr_decode_base64(const char *text) {
  mr_bytes out = mr_bytes_of(strlen(text) / 4 * 3 + 3);
  uint32_t word = 0;
  int bits = 0;
  out.length = 0;
  for (; *text && *text != '='; text++) {
    char c = *text;
    int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
    if (c >= '0' && c <= '9') digit = c - '0' + 52;
    if (c == '+' || c == '/') digit = c == '+' ? 62 : 63;
    if (digit < 0) continue;
    word = word << 6 | (uint32_t)digit;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.at[out.length++] = (char)(word >> bits);
  }
  out.at[out.length] = 0;
  return out;
}

/** The body of a message that has `body` or `body_base64`. */
MR_API mr_bytes mr_body_of(const mr_json *message) {
  const mr_json *encoded = mr_get(message, "body_base64"), *text = mr_get(message, "body");
  if (encoded->kind == MR_TEXT) return mr_decode_base64(encoded->text);
  mr_bytes body = {(char *)mr_text(text, ""), text->kind == MR_TEXT ? text->length : 0};
  return body;
}

MR_API mr_response mr_http(const mr_request *ask) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "url", ask->url);
  mr_set_text(&request, "method", ask->method ? ask->method : "GET");
  mr_key(&request, "headers");
  mr_open_object(&request);
  mr_set_pairs(&request, ask->headers);
  mr_close(&request);
  if (ask->body && mr_is_utf8(ask->body, ask->body_length)) {
    mr_set_bytes(&request, "body", ask->body, ask->body_length);
  } else if (ask->body) {
    mr_set_text(&request, "body_base64", mr_encode_base64(ask->body, ask->body_length));
  }
  if (ask->timeout_ms > 0) mr_set_integer(&request, "timeout_ms", ask->timeout_ms);
  if (ask->attempts > 1) mr_set_raw(&request, "retry", mr_format("{\"attempts\":%d}", (int)ask->attempts));
  if (ask->cache) mr_set_bool(&request, "cache", true);
  if (ask->proxy) mr_set_bool(&request, "proxy", true);
  mr_close(&request);
  mr_reply reply = mr_call("http", &request);
  mr_response response = {
      reply.failed,
      reply.fault,
      (int32_t)mr_integer(mr_get(reply.ok, "status"), 0),
      mr_get(reply.ok, "headers"),
      mr_body_of(reply.ok),
      mr_number(mr_get(reply.ok, "elapsed_ms"), 0),
      mr_text(mr_get(mr_get(reply.ok, "tls"), "valid_until"), ""),
  };
  return response;
}

/** GET with the host's default time-out. */
MR_API mr_response mr_http_get(const char *url) {
  mr_request ask = {url, 0, 0, 0, 0, 0, 0, false, false};
  return mr_http(&ask);
}

#endif
