/** `sync`: a window whose rows the plugin writes itself. `before_sync` and `after_sync`: hooks around each window. */
#ifndef MILLRACE_SYNC_H
#define MILLRACE_SYNC_H

#include "fetch.h"

/**
 * A window as for `fetch`, with its cursor. Rows go by `mr_rows rows = {.emit = true}`, `mr_emit_csv` or
 * `mr_emit_arrow`; how far it is by `mr_checkpoint`. `next` and `watermark` are not for `sync`.
 */
typedef mr_fetch mr_sync;

MR_API mr_sync mr_sync_read(void) { return mr_fetch_read(); }

/** `rows` may be NULL. What is still to be emitted is flushed first. */
MR_API int32_t mr_sync_answer(const mr_sync *run, const char *status, mr_rows *rows) {
  if (run->next || run->watermark) {
    return mr_fail("bad_answer", "sync answers a status: where it is goes by mr_checkpoint, not by next or watermark");
  }
  if (rows && !rows->emit) return mr_fail("bad_answer", "the rows of sync are emitted: mr_rows rows = {.emit = true}");
  return mr_fetch_answer(run, status, rows);
}

/** Done. */
MR_API int32_t mr_sync_ok(const mr_sync *run, mr_rows *rows) { return mr_sync_answer(run, "ok", rows); }
/** Some of what was asked for is there, and the rest failed. */
MR_API int32_t mr_sync_partial(const mr_sync *run, mr_rows *rows) { return mr_sync_answer(run, "partial", rows); }
/** The source has nothing for this window, and that is fine. */
MR_API int32_t mr_sync_no_data(const mr_sync *run) { return mr_sync_answer(run, "no_data", 0); }
/** The source has not changed since the last run. */
MR_API int32_t mr_sync_not_modified(const mr_sync *run) { return mr_sync_answer(run, "not_modified", 0); }

/** A window that is about to be run. */
typedef struct mr_before_sync {
  mr_pipe pipe;
  const mr_json *config;
  /** Begin inclusive, end exclusive, in microseconds since the epoch. */
  int64_t begin_us;
  int64_t end_us;
  /** 1 on the first try. For information only. */
  int32_t attempt;
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no begin_us and end_us. */
  const char *begin;
  const char *end;
} mr_before_sync;

MR_API mr_before_sync mr_before_sync_of(const mr_json *input) {
  mr_before_sync run = {
      mr_pipe_of(input),
      mr_get(input, "config"),
      mr_parse_time(mr_text(mr_get(input, "begin"), "")),
      mr_parse_time(mr_text(mr_get(input, "end"), "")),
      (int32_t)mr_integer(mr_get(input, "attempt"), 1),
      mr_text(mr_get(input, "begin"), ""),
      mr_text(mr_get(input, "end"), ""),
  };
  return run;
}

MR_API mr_before_sync mr_before_sync_read(void) { return mr_before_sync_of(mr_read_call()); }

MR_API int32_t mr_answer_nothing(void) {
  mr_writer out = {};
  mr_open_object(&out);
  mr_close(&out);
  return mr_answer(&out);
}

/** The window goes ahead. */
MR_API int32_t mr_proceed(void) { return mr_answer_nothing(); }

/** The window stays as it is, and people read why: `return mr_veto("the source is closed on %s", day);` */
__attribute__((format(printf, 1, 2))) MR_API int32_t mr_veto(const char *reason, ...) {
  va_list values;
  va_start(values, reason);
  const char *text = mr_text_of(reason, values);
  va_end(values);
  mr_writer out = {};
  mr_open_object(&out);
  mr_set_text(&out, "veto", text);
  mr_close(&out);
  return mr_answer(&out);
}

/** A window that is done, or has failed for good. */
typedef struct mr_after_sync {
  mr_before_sync window;
  /** `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed. */
  const char *outcome;
  /** Rows of the window that are seen now. */
  int64_t rows;
  /** Why it failed, or "". */
  const char *message;
  /** Id of the run. */
  const char *run;
} mr_after_sync;

MR_API mr_after_sync mr_after_sync_read(void) {
  const mr_json *input = mr_read_call();
  mr_after_sync run = {
      mr_before_sync_of(input),
      mr_text(mr_get(input, "outcome"), ""),
      mr_integer(mr_get(input, "rows"), 0),
      mr_text(mr_get(input, "message"), ""),
      mr_text(mr_get(input, "run"), ""),
  };
  return run;
}

MR_API int32_t mr_after_sync_ok(void) { return mr_answer_nothing(); }

#endif
