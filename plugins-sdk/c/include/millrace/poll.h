/** `poll`: the metrics of one resource. `discover`: what there is to poll. */
#ifndef MILLRACE_POLL_H
#define MILLRACE_POLL_H

#include "host.h"

typedef struct mr_poll {
  /** The resource, with `site`, `class`, `subclass` and `labels`; its four main fields follow. */
  const mr_json *resource;
  const char *name;
  const char *id;
  const char *type;
  /** Where it is: a URL, an address. */
  const char *endpoint;
  const mr_json *config;
  /** What the poll before answered with, or missing. */
  const mr_json *previous;
  /** Documents about the resource, by namespace and key: of the namespaces that plugin.json lists for `poll`. */
  const mr_json *context;
  int32_t attempt;
  /** The answer: filled by `mr_group`, `mr_dimension`, `mr_gauge`, `mr_counter`. */
  mr_writer out;
  /** How far into a group the answer is: 0 none, 1 its dimensions, 2 its values. */
  int stage;
} mr_poll;

MR_API mr_poll mr_poll_read(void) {
  const mr_json *input = mr_read_call(), *resource = mr_get(input, "resource");
  mr_poll run = {
      resource,
      mr_text(mr_get(resource, "name"), ""),
      mr_text(mr_get(resource, "id"), ""),
      mr_text(mr_get(resource, "type"), ""),
      mr_text(mr_get(resource, "endpoint"), ""),
      mr_get(input, "config"),
      mr_get(input, "previous"),
      mr_get(input, "context"),
      (int32_t)mr_integer(mr_get(input, "attempt"), 1),
      {},
      0,
  };
  mr_open_object(&run.out);
  mr_key(&run.out, "metrics");
  mr_open_array(&run.out);
  return run;
}

MR_API void mr_end_group(mr_poll *run) {
  if (run->stage == 1) {
    mr_close(&run->out);
    mr_key(&run->out, "values");
    mr_open_object(&run->out);
  }
  if (run->stage) mr_close(&run->out);
  if (run->stage) mr_close(&run->out);
  run->stage = 0;
}

/** Starts a group of values that were measured together. `time` is RFC 3339; NULL: the time of the poll. */
MR_API void mr_group(mr_poll *run, const char *name, const char *time) {
  mr_end_group(run);
  mr_open_object(&run->out);
  mr_set_text(&run->out, "group", name);
  if (time) mr_set_text(&run->out, "time", time);
  mr_key(&run->out, "dimensions");
  mr_open_object(&run->out);
  run->stage = 1;
}

/** Of the group, before its first value. */
MR_API void mr_dimension(mr_poll *run, const char *name, const char *value) {
  if (run->stage != 1) __builtin_trap();
  mr_set_text(&run->out, name, value);
}

MR_API void mr_value(mr_poll *run, const char *name, double value, const char *type) {
  if (run->stage == 0) __builtin_trap();
  if (run->stage == 1) {
    mr_close(&run->out);
    mr_key(&run->out, "values");
    mr_open_object(&run->out);
    run->stage = 2;
  }
  mr_key(&run->out, name);
  mr_open_object(&run->out);
  mr_set_number(&run->out, "value", value);
  mr_set_text(&run->out, "type", type);
  mr_close(&run->out);
}
/** A value that goes up and down. */
MR_API void mr_gauge(mr_poll *run, const char *name, double value) { mr_value(run, name, value, "gauge"); }
/** A value that only grows, save for restarts: rates are made of it. */
MR_API void mr_counter(mr_poll *run, const char *name, double value) { mr_value(run, name, value, "counter"); }

MR_API int32_t mr_poll_answer(mr_poll *run, const char *status) {
  mr_end_group(run);
  mr_close(&run->out);
  mr_set_text(&run->out, "status", status);
  mr_close(&run->out);
  return mr_answer(&run->out);
}
MR_API int32_t mr_poll_ok(mr_poll *run) { return mr_poll_answer(run, "ok"); }
MR_API int32_t mr_poll_partial(mr_poll *run) { return mr_poll_answer(run, "partial"); }

typedef struct mr_discover {
  const mr_json *config;
  const char *site;
  mr_writer out;
  bool open;
} mr_discover;

MR_API mr_discover mr_discover_read(void) {
  const mr_json *input = mr_read_call();
  mr_discover run = {mr_get(input, "config"), mr_text(mr_get(input, "site"), ""), {}, false};
  mr_open_object(&run.out);
  mr_key(&run.out, "resources");
  mr_open_array(&run.out);
  return run;
}

/** Adds a resource. Into what this gives, set `site`, `class`, `subclass`, `ttl` or `labels`, before the next one. */
MR_API mr_writer *mr_resource(mr_discover *run, const char *id, const char *type, const char *endpoint) {
  if (run->open) mr_close(&run->out);
  run->open = true;
  mr_open_object(&run->out);
  mr_set_text(&run->out, "id", id);
  mr_set_text(&run->out, "type", type);
  mr_set_text(&run->out, "endpoint", endpoint);
  return &run->out;
}

MR_API int32_t mr_discover_answer(mr_discover *run, bool complete) {
  if (run->open) mr_close(&run->out);
  mr_close(&run->out);
  mr_set_bool(&run->out, "complete", complete);
  mr_close(&run->out);
  return mr_answer(&run->out);
}
/** These are all: resources that are not among them may be removed. */
MR_API int32_t mr_discover_complete(mr_discover *run) { return mr_discover_answer(run, true); }
/** There may be more: nothing is removed. */
MR_API int32_t mr_discover_incomplete(mr_discover *run) { return mr_discover_answer(run, false); }

#endif
