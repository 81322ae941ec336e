/** Sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants. */
#ifndef MILLRACE_NETWORK_H
#define MILLRACE_NETWORK_H

#include "http.h"

/** One request over TCP, TLS or UDP. Zero what you do not need: `mr_socket_ask ask = {.proto = "tcp", …}`. */
typedef struct mr_socket_ask {
  /** tcp, tls or udp. */
  const char *proto;
  const char *host;
  int32_t port;
  const char *send;
  size_t send_length;
  /** The answer is whole when this text has come; NULL for none. */
  const char *until;
  /** It is whole with so many bytes. Without both: one datagram, or all until the other side ends. */
  size_t length;
  /** Waits for no answer. */
  bool no_answer;
  int32_t timeout_ms;
  /** Takes whatever certificate it is shown. */
  bool any_certificate;
} mr_socket_ask;

/** An answer, or a failure to get one: look at `failed` first. */
typedef struct mr_socket_reply {
  bool failed;
  mr_fault fault;
  mr_bytes data;
  /** Whether the other side closed the connection. */
  bool closed;
  double elapsed_ms;
} mr_socket_reply;

MR_API mr_socket_reply mr_socket(const mr_socket_ask *ask) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "proto", ask->proto);
  mr_set_text(&request, "host", ask->host);
  mr_set_integer(&request, "port", ask->port);
  if (ask->send && mr_is_utf8(ask->send, ask->send_length)) {
    mr_set_bytes(&request, "send", ask->send, ask->send_length);
  } else if (ask->send) {
    mr_set_text(&request, "send_base64", mr_encode_base64(ask->send, ask->send_length));
  }
  mr_key(&request, "expect");
  mr_open_object(&request);
  if (ask->until) mr_set_text(&request, "until", ask->until);
  if (ask->length || ask->no_answer) mr_set_integer(&request, "bytes", (int64_t)ask->length);
  mr_close(&request);
  if (ask->timeout_ms > 0) mr_set_integer(&request, "timeout_ms", ask->timeout_ms);
  if (ask->any_certificate) mr_set_bool(&request, "verify", false);
  mr_close(&request);
  mr_reply reply = mr_call("socket", &request);
  mr_socket_reply answer = {
      reply.failed,
      reply.fault,
      mr_decode_base64(mr_text(mr_get(reply.ok, "data_base64"), "")),
      mr_bool(mr_get(reply.ok, "closed"), false),
      mr_number(mr_get(reply.ok, "elapsed_ms"), 0),
  };
  return answer;
}

/**
 * Whether something is there: `kind` is tcp, tls (with `certificate`) or icmp (port 0). `reachable` of `ok`: that it is
 * not, is an answer, with a `reason`. `timeout_ms` 0: the host's default.
 */
MR_API mr_reply mr_ping(const char *kind, const char *host, int32_t port, int32_t timeout_ms) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "kind", kind);
  mr_set_text(&request, "host", host);
  if (port > 0) mr_set_integer(&request, "port", port);
  if (timeout_ms > 0) mr_set_integer(&request, "timeout_ms", timeout_ms);
  mr_close(&request);
  return mr_call("ping", &request);
}

/** How a device is asked. Only `host` must be there. */
typedef struct mr_snmp_ask {
  const char *host;
  /** 0: 161. */
  int32_t port;
  /** Of v2c; NULL: public. */
  const char *community;
  /**
   * Makes it v3: names and values in turn, ended by NULL, of `name`, `auth_protocol`, `auth_key`, `priv_protocol`,
   * `priv_key`. The keys that are given decide the level.
   */
  const char *const *user;
  /** Of a walk; 0: 1,000. */
  int32_t max_values;
  int32_t retries;
  int32_t timeout_ms;
} mr_snmp_ask;

MR_API mr_reply mr_snmp(const char *op, const mr_snmp_ask *ask, const char *const *oids) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "op", op);
  mr_set_text(&request, "host", ask->host);
  if (ask->port > 0) mr_set_integer(&request, "port", ask->port);
  if (ask->community) mr_set_text(&request, "community", ask->community);
  if (ask->user) {
    mr_set_text(&request, "version", "3");
    mr_key(&request, "user");
    mr_open_object(&request);
    mr_set_pairs(&request, ask->user);
    mr_close(&request);
  }
  if (ask->max_values > 0) mr_set_integer(&request, "max_values", ask->max_values);
  if (ask->retries > 0) mr_set_integer(&request, "retries", ask->retries);
  if (ask->timeout_ms > 0) mr_set_integer(&request, "timeout_ms", ask->timeout_ms);
  mr_key(&request, "oids");
  mr_open_array(&request);
  for (; oids && *oids; oids++) mr_add_text(&request, *oids);
  mr_close(&request);
  mr_close(&request);
  return mr_call("snmp", &request);
}

/** One value for each OID, in `values` of `ok`: `oid`, `type`, `value`. `oids` ends with NULL. */
MR_API mr_reply mr_snmp_get(const mr_snmp_ask *ask, const char *const *oids) { return mr_snmp("get", ask, oids); }
/** Everything below each OID; `truncated`: there was more than `max_values`. */
MR_API mr_reply mr_snmp_walk(const mr_snmp_ask *ask, const char *const *oids) { return mr_snmp("walk", ask, oids); }

#endif
