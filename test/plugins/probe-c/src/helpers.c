/** Each helper of the SDK for a host function, tried once. */
#include <millrace.h>

static const int64_t MINUTE_MS = 60000;

static const char *code_of(mr_reply reply) { return reply.failed ? reply.fault.code : "none"; }
static const mr_json *value_of(mr_reply reply) { return mr_get(reply.ok, "value"); }

static void stored(mr_writer *out) {
  mr_kv_put_for(MINUTE_MS, "n", "{\"n\":1}");
  mr_reply found = mr_kv_get("n");
  const mr_json *revision = mr_get(found.ok, "revision");
  mr_kv_update_for(MINUTE_MS, "n", "{\"n\":2}", revision);
  mr_open_object(out);
  mr_set_json(out, "value", value_of(found));
  mr_set_bool(out, "lives", mr_number(mr_get(found.ok, "ttl_ms"), 0) > 0);
  mr_set_text(out, "stale", code_of(mr_kv_update("n", "3", revision)));
  mr_set_text(out, "taken", code_of(mr_kv_create("n", "4")));
  mr_set_json(out, "swapped", value_of(mr_kv_get("n")));
  mr_kv_delete("n");
  mr_set_json(out, "gone", value_of(mr_kv_get("n")));
  mr_close(out);
}

static void paged(mr_writer *out) {
  for (int n = 1; n <= 3; n++) mr_kv_create_for(MINUTE_MS, mr_format("a:%d", n), mr_format("%d", n));
  mr_open_array(out);
  for (const char *after = ""; after;) {
    mr_reply page = mr_kv_page("a:", 2, after);
    const mr_json *entries = mr_get(page.ok, "entries");
    for (const mr_json *one = entries->first; one; one = one->next) mr_add_json(out, mr_get(one, "key"));
    after = mr_text(mr_get(page.ok, "next"), NULL);
  }
  mr_close(out);
}

static void sockets(mr_writer *out, const mr_json *at, const char *host) {
  mr_socket_ask ask = {.proto = "tcp", .host = host, .port = (int32_t)mr_integer(mr_get(at, "tcp"), 0)};
  ask.send = "hello\r\n";
  ask.send_length = strlen(ask.send);
  ask.until = "\n";
  mr_socket_reply line = mr_socket(&ask);
  mr_set_bytes(out, "tcp", line.data.at, line.data.length);

  mr_socket_ask datagram = {.proto = "udp", .host = host, .port = (int32_t)mr_integer(mr_get(at, "udp"), 0)};
  datagram.send = "\0\xff";
  datagram.send_length = 2;
  datagram.timeout_ms = 2000;
  mr_socket_reply echo = mr_socket(&datagram);
  mr_key(out, "udp");
  mr_open_array(out);
  for (size_t i = 0; i < echo.data.length; i++) mr_add_integer(out, (uint8_t)echo.data.at[i]);
  mr_close(out);

  mr_socket_ask sealed = {.proto = "tls", .host = host, .port = (int32_t)mr_integer(mr_get(at, "tls"), 0)};
  sealed.send = "hi";
  sealed.send_length = sealed.length = 2;
  sealed.any_certificate = true;
  mr_socket_reply answer = mr_socket(&sealed);
  mr_set_bytes(out, "tls", answer.data.at, answer.data.length);

  mr_set_json(out, "there", mr_get(mr_ping("tcp", host, ask.port, 0).ok, "reachable"));
  int32_t closed = (int32_t)mr_integer(mr_get(at, "closed"), 0);
  mr_set_json(out, "closed", mr_get(mr_ping("tcp", host, closed, 1000).ok, "reason"));
  const mr_json *certificate = mr_get(mr_ping("tls", host, sealed.port, 0).ok, "certificate");
  mr_set_json(out, "certificate", mr_get(certificate, "subject"));

  mr_snmp_ask device = {.host = host, .port = (int32_t)mr_integer(mr_get(at, "snmp"), 0), .community = "public"};
  mr_reply got = mr_snmp_get(&device, (const char *[]){mr_text(mr_get(at, "oid"), ""), NULL});
  mr_set_json(out, "snmp", mr_get(mr_at(mr_get(got.ok, "values"), 0), "value"));
  mr_reply walked = mr_snmp_walk(&device, (const char *[]){mr_text(mr_get(at, "table"), ""), NULL});
  mr_set_integer(out, "below", (int64_t)mr_get(walked.ok, "values")->count);
}

static void contexts(mr_writer *out) {
  mr_reply found = mr_context_get(NULL, "port", "eth0");
  mr_set_json(out, "context", value_of(found));
  mr_set_json(out, "writer", mr_get(found.ok, "instance"));
  mr_key(out, "keys");
  mr_open_array(out);
  const mr_json *documents = mr_get(mr_context_list(NULL, "port", "eth").ok, "documents");
  for (const mr_json *one = documents->first; one; one = one->next) mr_add_json(out, mr_get(one, "key"));
  mr_close(out);
  mr_set_json(out, "nothing", value_of(mr_context_get(NULL, "port", "none")));
  mr_set_text(out, "denied", code_of(mr_context_get("oven-2", "secret", "key")));
}

MR_FUNCTION(helpers) {
  const mr_json *at = mr_read_call();
  mr_log_with("warn", "{\"count\":3,\"where\":\"Ålesund\"}", "with fields");
  mr_own_metric size = {.name = "probe.size", .value = 1.5, .type = "counter", .time = "2012-01-01T00:00:00Z"};
  size.dimensions = (const char *[]){"unit", "°C", NULL};
  mr_own_metric more = {.name = "probe.more", .value = 2};
  mr_reply told[] = {
      mr_metric(&size),
      mr_metric(&more),
      mr_publish("alarm.high", "{\"n\":1}"),
      mr_sleep(1),
      mr_progress(2, 2, "ferdig ☃"),
  };
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
    if (told[i].failed) return mr_fail_with(told[i].fault);
  }
  mr_writer out = {};
  mr_open_object(&out);
  mr_key(&out, "kv");
  stored(&out);
  mr_key(&out, "pages");
  paged(&out);
  sockets(&out, at, mr_text(mr_get(at, "host"), ""));
  contexts(&out);
  mr_reply called = mr_call_function_within(5000, "units", "convert", "{\"from\":2}");
  mr_set_json(&out, "call", mr_get(called.ok, "output"));
  const char *bearer = mr_format("Bearer %s", mr_placeholder("token"));
  mr_request ask = {.url = mr_text(mr_get(at, "url"), ""), .method = "POST", .body = "hei", .body_length = 3};
  ask.headers = (const char *[]){"authorization", bearer, NULL};
  mr_response reply = mr_http(&ask);
  if (reply.failed) return mr_fail_with(reply.fault);
  mr_set_bytes(&out, "http", reply.body.at, reply.body.length);
  mr_set_json(&out, "plain", value_of(mr_secret("plain")));
  const char *csv = "id,name\n1,å\n2,b\n";
  mr_set_json(&out, "csv", mr_get(mr_emit_csv(csv, strlen(csv)).ok, "rows"));
  mr_close(&out);
  return mr_answer(&out);
}
