/** The probe in C: what every native SDK must be able to do, told by its config. */
#include <assert.h>
#include <millrace.h>
#include <time.h>

static const int64_t BIG = INT64_C(9007199254740993);

/** Row `i` of `count`, spread evenly over the window. */
static void put(mr_rows *rows, const mr_fetch *run, int64_t i, int64_t count) {
  mr_writer *row = mr_row(rows);
  mr_set_time(row, "time", run->begin_us + (run->end_us - run->begin_us) / count * i);
  mr_set_integer(row, "id", BIG + i);
  mr_set_text(row, "name", mr_format("rød grød ☃ 𝄞 \"%lld\"\n", (long long)i));
  mr_set_number(row, "value", (double)i / 4);
  mr_set_bool(row, "flag", i & 1);
  mr_end_row(rows);
}

/** Rows in batches, each followed by a checkpoint that a later attempt starts after. */
static int32_t emitted(const mr_fetch *run, int64_t count) {
  int64_t batches = mr_integer(mr_get(run->config, "batches"), 1);
  mr_rows rows = {.emit = true};
  for (int64_t batch = mr_integer(mr_get(run->cursor, "batches"), 0); batch < batches; batch++) {
    for (int64_t i = batch * count / batches; i < (batch + 1) * count / batches; i++) put(&rows, run, i, count);
    if (!mr_flush(&rows)) return mr_fail_with(rows.fault);
    mr_reply saved = mr_checkpoint(mr_format("{\"batches\":%lld}", (long long)batch + 1));
    if (saved.failed) return mr_fail_with(saved.fault);
    mr_progress((double)batch + 1, (double)batches, "halvveis ☃");
  }
  return mr_fetch_ok(run, &rows);
}

static int32_t hosted(const mr_fetch *run) {
  mr_rows rows = {};
  char random[16];
  mr_random(random, sizeof random);
  mr_log("warn", "logged: %s", "é☃");
  printf("printed: é☃\n");
  mr_reply replies[] = {
      mr_kv_put("größe", "{\"n\":18446744073709551615}"),
      mr_kv_get("größe"),
      mr_query("SELECT {city:String}", "{\"city\":\"Tromsø\"}", 10),
      mr_secret("token"),
      mr_call_function("units", "convert", "{\"from\":1}"),
      mr_publish("alarm.high", "{\"°C\":41.5}"),
  };
  for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
    if (replies[i].failed) return mr_fail_with(replies[i].fault);
    mr_set_json(mr_row(&rows), "ok", replies[i].ok);
    mr_end_row(&rows);
  }
  mr_writer *row = mr_row(&rows);
  mr_set_number(row, "now", mr_now_ms());
  mr_set_integer(row, "clock", time(0));
  mr_set_text(row, "random", mr_encode_base64(random, sizeof random));
  mr_end_row(&rows);
  return mr_fetch_ok(run, &rows);
}

static int32_t downloaded(const mr_fetch *run) {
  mr_request ask = {
      .url = mr_text(mr_get(run->config, "url"), ""),
      .method = "POST",
      .headers = (const char *[]){"x-probe", "é", NULL},
      .body = "hei",
      .body_length = 3,
      .timeout_ms = 1500,
  };
  mr_response got = mr_http(&ask);
  if (got.failed) return mr_fail_with(got.fault);
  mr_rows rows = {};
  mr_writer *row = mr_row(&rows);
  mr_set_integer(row, "status", got.status);
  mr_set_bytes(row, "body", got.body.at, got.body.length);
  mr_set_text(row, "type", mr_text(mr_get(got.headers, "content-type"), ""));
  mr_end_row(&rows);
  return mr_fetch_ok(run, &rows);
}

MR_EXPORT(fetch) {
  mr_fetch run = mr_fetch_read();
  const char *mode = mr_text(mr_get(run.config, "mode"), "rows");
  int64_t count = mr_integer(mr_get(run.config, "rows"), 10);
  mr_rows rows = {};
  if (strcmp(mode, "emit") == 0) return emitted(&run, count);
  if (strcmp(mode, "host") == 0) return hosted(&run);
  if (strcmp(mode, "http") == 0) return downloaded(&run);
  if (strcmp(mode, "empty") == 0) return mr_fetch_no_data(&run);
  if (strcmp(mode, "fail") == 0) return mr_fail("asked_to", "failed as asked: é☃");
  if (strcmp(mode, "retry") == 0) return mr_fail_retryable("busy", "later", 50);
  if (strcmp(mode, "crash") == 0) __builtin_trap();
  if (strcmp(mode, "abort") == 0) abort();
  assert(strcmp(mode, "assert") != 0);
  if (strcmp(mode, "page") == 0) {
    int64_t page = mr_integer(run.cursor, 0);
    put(&rows, &run, page, 3);
    if (page < 2) run.next = mr_format("%lld", (long long)page + 1);
    return mr_fetch_ok(&run, &rows);
  }
  for (int64_t i = 0; i < count; i++) put(&rows, &run, i, count);
  return mr_fetch_ok(&run, &rows);
}

MR_EXPORT(sync) {
  mr_sync run = mr_sync_read();
  const char *mode = mr_text(mr_get(run.config, "mode"), "");
  if (strcmp(mode, "no_data") == 0) return mr_sync_no_data(&run);
  if (strcmp(mode, "not_modified") == 0) return mr_sync_not_modified(&run);
  if (strcmp(mode, "partial") == 0) return mr_sync_partial(&run, NULL);
  mr_rows rows = {.emit = true};
  for (int64_t n = mr_integer(mr_get(run.cursor, "n"), 0) + 1; n <= 3; n++) {
    mr_writer *row = mr_row(&rows);
    mr_set_integer(row, "n", n);
    mr_set_time(row, "time", run.begin_us);
    mr_end_row(&rows);
    if (n != 2) continue;
    if (!mr_flush(&rows)) return mr_fail_with(rows.fault);
    mr_reply saved = mr_checkpoint("{\"n\":2}");
    if (saved.failed) return mr_fail_with(saved.fault);
  }
  return mr_sync_ok(&run, &rows);
}

MR_EXPORT(before_sync) {
  mr_before_sync run = mr_before_sync_read();
  const char *closed = mr_text(mr_get(run.config, "closed"), NULL);
  if (!closed) return mr_proceed();
  return mr_veto("%s: %s from %.10s", closed, run.pipe.metric, run.begin);
}

MR_EXPORT(after_sync) {
  mr_after_sync run = mr_after_sync_read();
  mr_log("info", "%s: %lld rows of %s: %s", run.outcome, (long long)run.rows, run.run, run.message);
  return mr_after_sync_ok();
}

MR_EXPORT(register) {
  mr_register run = mr_register_read();
  mr_column(&run, "time", "timestamp");
  mr_column(&run, "id", "int64");
  mr_index(&run, "time");
  mr_index(&run, "id");
  mr_datetime(&run, "time");
  return mr_register_ok(&run);
}

MR_EXPORT(poll) {
  mr_poll run = mr_poll_read();
  mr_group(&run, "oven", NULL);
  mr_dimension(&run, "resource", run.id);
  mr_dimension(&run, "unit", mr_text(mr_get(mr_get(run.context, "unit"), "temperature"), "°C"));
  mr_gauge(&run, "temperature", 21.5);
  mr_counter(&run, "polls", mr_number(mr_get(run.previous, "polls"), 0) + 1);
  mr_group(&run, "door", "2012-01-01T00:00:00Z");
  mr_gauge(&run, "open", 1);
  return mr_poll_ok(&run);
}

MR_EXPORT(discover) {
  mr_discover run = mr_discover_read();
  for (int i = 0; i < 2; i++) {
    mr_writer *oven = mr_resource(&run, mr_format("oven-%d", i), "oven", "http://127.0.0.1/");
    mr_set_text(oven, "site", run.site);
    mr_set_raw(oven, "labels", "{\"shelf\":\"øverst\"}");
  }
  return mr_discover_complete(&run);
}

MR_EXPORT(enrich) {
  mr_enrich run = mr_enrich_read();
  mr_writer speed = {};
  mr_open_object(&speed);
  mr_set_json(&speed, "speed", mr_get(run.config, "speed"));
  mr_set_text(&speed, "of", run.id);
  mr_close(&speed);
  mr_put_byte(&speed, 0);
  mr_document(&run, "port", "ø", speed.bytes);
  mr_writer *note = mr_document(&run, "note", "1", "\"naboen ☃\"");
  mr_set_text(note, "resource", "oven-2");
  mr_set_text(note, "ttl", "5m");
  return mr_enrich_ok(&run);
}

MR_EXPORT(route) {
  mr_route call = mr_route_read();
  if (strcmp(call.path, "/binary") == 0) return mr_send_bytes(&call, 200, "image/x", call.body.at, call.body.length);
  if (strcmp(call.path, "/echo/å") != 0) return mr_send_error(&call, 404, "not_found", call.path);
  mr_set_text(&call.answer_headers, "x-probe", "yes");
  mr_writer out = {};
  mr_open_object(&out);
  mr_set_text(&out, "name", mr_param(&call, "name"));
  mr_set_text(&out, "q", mr_ask(&call, "q", "none"));
  mr_set_text(&out, "r", mr_ask(&call, "r", "none"));
  mr_set_bytes(&out, "body", call.body.at, call.body.length);
  mr_close(&out);
  return mr_send_json(&call, 201, &out);
}

MR_FUNCTION(roundtrip) {
  mr_bytes input = mr_input();
  size_t at = 0;
  const mr_json *json = mr_parse(input.at, input.length, &at);
  if (!json) return mr_fail("refused", "not JSON at byte %zu", at);
  mr_writer out = {};
  mr_add_json(&out, json);
  return mr_answer(&out);
}

/** Numbers as doubles, text and times made anew, so that the writer's own forms are seen. */
MR_FUNCTION(rewrite) {
  const mr_json *input = mr_read_call();
  mr_writer out = {};
  mr_open_array(&out);
  for (const mr_json *one = input->first; one; one = one->next) {
    int64_t us = mr_parse_time(mr_text(one, ""));
    if (one->kind == MR_NUMBER) mr_add_number(&out, mr_number(one, 0));
    else if (us == MR_NO_TIME) mr_add_null(&out);
    else mr_add_text(&out, mr_format_time(us));
  }
  mr_close(&out);
  return mr_answer(&out);
}
