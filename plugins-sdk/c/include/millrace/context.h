/** Documents about resources: `enrich` writes them; polls are given them, and anybody who may can look. */
#ifndef MILLRACE_CONTEXT_H
#define MILLRACE_CONTEXT_H

#include "host.h"

typedef struct mr_enrich {
  /** The resource, with `site`, `class`, `subclass` and `labels`; its four main fields follow. */
  const mr_json *resource;
  const char *name;
  const char *id;
  const char *type;
  /** Where it is: a URL, an address. */
  const char *endpoint;
  const mr_json *config;
  int32_t attempt;
  mr_writer out;
  bool open;
} mr_enrich;

MR_API mr_enrich mr_enrich_read(void) {
  const mr_json *input = mr_read_call(), *resource = mr_get(input, "resource");
  mr_enrich run = {
      resource,
      mr_text(mr_get(resource, "name"), ""),
      mr_text(mr_get(resource, "id"), ""),
      mr_text(mr_get(resource, "type"), ""),
      mr_text(mr_get(resource, "endpoint"), ""),
      mr_get(input, "config"),
      (int32_t)mr_integer(mr_get(input, "attempt"), 1),
      {},
      false,
  };
  mr_open_object(&run.out);
  mr_key(&run.out, "documents");
  mr_open_array(&run.out);
  return run;
}

/**
 * Adds a document; the namespace is declared in plugin.json, with the JSON Schema of the value. Into what this gives,
 * set `ttl` (at most the namespace's: `10m`) or `resource` (another one, by its name, or by its id when the same
 * discovery found it), before the next one.
 */
MR_API mr_writer *mr_document(mr_enrich *run, const char *namespace_, const char *key, const char *value_json) {
  if (run->open) mr_close(&run->out);
  run->open = true;
  mr_open_object(&run->out);
  mr_set_text(&run->out, "namespace", namespace_);
  mr_set_text(&run->out, "key", key);
  mr_set_raw(&run->out, "value", value_json);
  return &run->out;
}

MR_API int32_t mr_enrich_answer(mr_enrich *run, const char *status) {
  if (run->open) mr_close(&run->out);
  mr_close(&run->out);
  mr_set_text(&run->out, "status", status);
  mr_close(&run->out);
  return mr_answer(&run->out);
}
/** Documents that were not added stay until their time is over. */
MR_API int32_t mr_enrich_ok(mr_enrich *run) { return mr_enrich_answer(run, "ok"); }
/** Some of what was to be found out is there, and the rest failed. */
MR_API int32_t mr_enrich_partial(mr_enrich *run) { return mr_enrich_answer(run, "partial"); }

MR_API mr_reply mr_context(
    const char *op, const char *resource, const char *namespace_, const char *key, int32_t limit, const char *after) {
  mr_writer request = {};
  mr_open_object(&request);
  mr_set_text(&request, "op", op);
  if (resource) mr_set_text(&request, "resource", resource);
  mr_set_text(&request, "namespace", namespace_);
  mr_set_text(&request, "key", key);
  if (limit > 0) mr_set_integer(&request, "limit", limit);
  if (after && *after) mr_set_text(&request, "after", after);
  mr_close(&request);
  return mr_call("context", &request);
}

/**
 * `value`, `instance`, `written` and `ttl_ms` in `ok`; missing when there is none. `resource` is a name; NULL: the one
 * that this call is about. Fails with `denied`.
 */
MR_API mr_reply mr_context_get(const char *resource, const char *namespace_, const char *key) {
  return mr_context("get", resource, namespace_, key, 0, 0);
}
/** Those whose key begins so, in `documents` of `ok`. */
MR_API mr_reply mr_context_list(const char *resource, const char *namespace_, const char *prefix) {
  return mr_context("list", resource, namespace_, prefix, 0, 0);
}
/** Pages, as with `mr_kv_page`. */
MR_API mr_reply mr_context_page(
    const char *resource, const char *namespace_, const char *prefix, int32_t limit, const char *after) {
  return mr_context("list", resource, namespace_, prefix, limit, after);
}

#endif
