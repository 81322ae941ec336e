/** Calls of host functions, how they fail, and how a call of the plugin fails. */
#ifndef MILLRACE_HOST_H
#define MILLRACE_HOST_H

#include <stdarg.h>

#include "writer.h"

/** How something ended badly: a code, a sentence, whether trying again may help, and details. */
typedef struct mr_fault {
  const char *code;
  const char *message;
  bool retryable;
  const mr_json *details;
} mr_fault;

/** What a host call came to. Look at `failed` first. */
typedef struct mr_reply {
  bool failed;
  mr_fault fault;
  const mr_json *ok;
} mr_reply;

/**
 * Ends the call with an error: `return mr_fail_with(fault)`. Codes are lower-case words of your own; the platform's own
 * (`denied`, `deadline`, …) pass through from host calls. A retryable failure is tried again by the retry policy;
 * `retry_after_ms` in the details tells it how long to wait at least.
 */
MR_API int32_t mr_fail_with(mr_fault fault) {
  mr_writer out = {};
  mr_open_object(&out);
  mr_set_text(&out, "code", fault.code);
  mr_set_text(&out, "message", fault.message);
  mr_set_bool(&out, "retryable", fault.retryable);
  if (fault.details && !mr_is_null(fault.details)) mr_set_json(&out, "details", fault.details);
  mr_close(&out);
  mr_env_error_set(mr_block(out.bytes, out.length));
  return 1;
}

/** Text as by printf. */
__attribute__((format(printf, 1, 0))) MR_API char *mr_text_of(const char *format, va_list values) {
  va_list again;
  va_copy(again, values);
  int length = vsnprintf(0, 0, format, again);
  va_end(again);
  char *text = mr_bytes_of((size_t)length).at;
  vsnprintf(text, (size_t)length + 1, format, values);
  return text;
}

/** Text as by printf: `mr_format("%s/%d", base, page)`. */
__attribute__((format(printf, 1, 2))) MR_API char *mr_format(const char *format, ...) {
  va_list values;
  va_start(values, format);
  char *text = mr_text_of(format, values);
  va_end(values);
  return text;
}

/** `return mr_fail("bad_answer", "not JSON at byte %zu", at);` For a failure worth another try: `mr_fail_retryable`. */
__attribute__((format(printf, 2, 3))) MR_API int32_t mr_fail(const char *code, const char *format, ...) {
  va_list values;
  va_start(values, format);
  mr_fault fault = {code, mr_text_of(format, values), false, 0};
  va_end(values);
  return mr_fail_with(fault);
}

/** `retry_after_ms`: how long to wait at least; 0: the policy's own time. */
MR_API int32_t mr_fail_retryable(const char *code, const char *message, int64_t retry_after_ms) {
  const char *details = mr_format("{\"retry_after_ms\":%lld}", (long long)retry_after_ms);
  mr_fault fault = {code, message, true, retry_after_ms ? mr_parse(details, strlen(details), 0) : 0};
  return mr_fail_with(fault);
}

MR_API mr_reply mr_failed(const char *code, const char *message) {
  mr_reply reply = {true, {code, message, false, 0}, &mr_nothing};
  return reply;
}

/** Calls a host function by name; the request is JSON, or what the function takes. The others are made of this. */
MR_API mr_reply mr_call(const char *name, const mr_writer *request) {
  int64_t named = mr_block(name, strlen(name)), asked = mr_block(request->bytes, request->length);
  mr_bytes answer = mr_take_block(mr_user_host_call(named, asked));
  mr_env_free(named);
  mr_env_free(asked);
  const mr_json *json = mr_parse(answer.at, answer.length, 0);
  mr_drop(answer.at);
  if (!json) return mr_failed("host_error", mr_format("the answer to %s is not JSON", name));
  const mr_json *error = mr_get(json, "error");
  mr_reply reply = {false, {"", "", false, &mr_nothing}, mr_get(json, "ok")};
  if (mr_is_null(error)) return reply;
  reply.failed = true;
  reply.fault.code = mr_text(mr_get(error, "code"), "host_error");
  reply.fault.message = mr_text(mr_get(error, "message"), "the host gave no reason");
  reply.fault.retryable = mr_bool(mr_get(error, "retryable"), false);
  reply.fault.details = mr_get(error, "details");
  return reply;
}

/**
 * Saves where this run is, as JSON: after a crash or a retry the next attempt gets it back as its cursor and keeps
 * every row that was emitted before. Flush your rows first.
 */
MR_API mr_reply mr_checkpoint(const char *cursor_json) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_raw(&request, "cursor", cursor_json);
  mr_close(&request);
  return mr_call("checkpoint", &request);
}

MR_API mr_reply mr_emit_as(const char *name, const char *rows, size_t length) {
  mr_writer request = {};
  request.bytes = (char *)rows;
  request.length = length;
  return mr_call(name, &request);
}
/**
 * Rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. `rows` of `ok` is their
 * count, once they are durable. Flush your rows first.
 */
MR_API mr_reply mr_emit_csv(const char *text, size_t length) { return mr_emit_as("emit:csv", text, length); }
/** The same with an Arrow stream: the IPC streaming format, schema first. */
MR_API mr_reply mr_emit_arrow(const char *stream, size_t length) { return mr_emit_as("emit:arrow", stream, length); }

/** How far this run is, for people who watch it. */
MR_API mr_reply mr_progress(double done, double total, const char *message) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_number(&request, "done", done);
  mr_set_number(&request, "total", total);
  mr_set_text(&request, "message", message);
  mr_close(&request);
  return mr_call("progress", &request);
}

/** A line of this run's log with fields that can be searched for, an object of JSON or NULL. */
MR_API void mr_log_with(const char *level, const char *fields_json, const char *message) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "level", level);
  mr_set_text(&request, "message", message);
  if (fields_json) mr_set_raw(&request, "fields", fields_json);
  mr_close(&request);
  mr_call("log", &request);
}

/** A line of this run's log: level is debug, info, warn or error. */
__attribute__((format(printf, 2, 3))) MR_API void mr_log(const char *level, const char *format, ...) {
  va_list values;
  va_start(values, format);
  mr_log_with(level, 0, mr_text_of(format, values));
  va_end(values);
}

/** Waits, and others run meanwhile. Fails with `deadline` at once when the call would be over before. */
MR_API mr_reply mr_sleep(int32_t ms) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_integer(&request, "ms", ms);
  mr_close(&request);
  return mr_call("sleep", &request);
}

/** Zero what you do not need: `mr_own_metric one = {.name = "pages", .value = 3}`. */
typedef struct mr_own_metric {
  const char *name;
  double value;
  /** NULL: gauge. A `counter` only grows, save for restarts. */
  const char *type;
  /** Names and values in turn, ended by NULL; NULL for none. */
  const char *const *dimensions;
  /** RFC 3339; NULL: now. */
  const char *time;
} mr_own_metric;

/** Writes names and values that come in turn, ended by NULL, into the object that is open. */
MR_API void mr_set_pairs(mr_writer *out, const char *const *pairs) {
  for (; pairs && pairs[0] && pairs[1]; pairs += 2) mr_set_text(out, pairs[0], pairs[1]);
}

/** A value of the plugin's own in the dataset `metrics`, kept if and when the run is. */
MR_API mr_reply mr_metric(const mr_own_metric *metric) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "name", metric->name);
  mr_set_number(&request, "value", metric->value);
  mr_set_text(&request, "type", metric->type ? metric->type : "gauge");
  if (metric->time) mr_set_text(&request, "time", metric->time);
  mr_key(&request, "dimensions");
  mr_open_object(&request);
  mr_set_pairs(&request, metric->dimensions);
  mr_close(&request);
  mr_close(&request);
  return mr_call("metric", &request);
}

/** The input of this call. What is not JSON ends the call with the code `refused`, here and at once. */
MR_API const mr_json *mr_read_call(void) {
  mr_bytes input = mr_input();
  size_t at = 0;
  const mr_json *json = mr_parse(input.at, input.length, &at);
  if (json) return json;
  mr_fail("refused", "the input is not JSON: it goes wrong at byte %zu of %zu", at, input.length);
  __builtin_trap();
}

/** Sets the output to what was written; returns what the export returns. */
MR_API int32_t mr_answer(const mr_writer *out) { return mr_output(out->bytes, out->length); }

#endif
