/** `fetch`: the rows of one window [begin, end) of a pipe. `register`: the defaults of a pipe. */
#ifndef MILLRACE_FETCH_H
#define MILLRACE_FETCH_H

#include "host.h"

/** A batch of emitted rows goes out when it is this large: some thousands of rows, far below the host's limit. */
#define MR_BATCH_BYTES (256 * 1024)

/** The pipe that a call is for. */
typedef struct mr_pipe {
  const char *name;
  const char *connector;
  const char *metric;
  /** "" when the pipe has none. */
  const char *location;
  const mr_json *parameters;
} mr_pipe;

MR_API mr_pipe mr_pipe_of(const mr_json *input) {
  const mr_json *json = mr_get(input, "pipe");
  mr_pipe pipe = {
      mr_text(mr_get(json, "name"), ""),
      mr_text(mr_get(json, "connector"), ""),
      mr_text(mr_get(json, "metric"), ""),
      mr_text(mr_get(json, "location"), ""),
      mr_get(json, "parameters"),
  };
  return pipe;
}

typedef struct mr_fetch {
  mr_pipe pipe;
  const mr_json *config;
  /** Begin inclusive, end exclusive, in microseconds since the epoch. */
  int64_t begin_us;
  int64_t end_us;
  /** What the last checkpoint of this run saved, or the `next` of the call before; missing or null at the start. */
  const mr_json *cursor;
  /** 1 on the first try. For information only. */
  int32_t attempt;
  /** Set it to JSON when there is more in this window: the host calls again with it as the cursor. */
  const char *next;
  /** Set it to how far the source is known to be complete: RFC 3339, or an integer behind the last in decimal. */
  const char *watermark;
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no begin_us and end_us. */
  const char *begin;
  const char *end;
} mr_fetch;

MR_API mr_fetch mr_fetch_read(void) {
  const mr_json *input = mr_read_call();
  mr_fetch run = {
      mr_pipe_of(input),
      mr_get(input, "config"),
      mr_parse_time(mr_text(mr_get(input, "begin"), "")),
      mr_parse_time(mr_text(mr_get(input, "end"), "")),
      mr_get(input, "cursor"),
      (int32_t)mr_integer(mr_get(input, "attempt"), 1),
      0,
      0,
      mr_text(mr_get(input, "begin"), ""),
      mr_text(mr_get(input, "end"), ""),
  };
  return run;
}

/** Whether a time lies in the window. Sources by whole days give more than was asked for: drop what is outside. */
MR_API bool mr_in_window(const mr_fetch *run, int64_t us) { return us >= run->begin_us && us < run->end_us; }
/** The UTC day that the window begins in, as `2012-01-31`. */
MR_API const char *mr_first_day(const mr_fetch *run) { return mr_format_date(run->begin_us); }
/** The last UTC day that the window touches: for sources that want an inclusive end. */
MR_API const char *mr_last_day(const mr_fetch *run) { return mr_format_date(run->end_us - 1); }

/** Rows to return with the answer: `mr_rows rows = {}`. To send them as they come: `mr_rows rows = {.emit = true}`. */
typedef struct mr_rows {
  mr_writer out;
  bool emit;
  /** Rows ended so far. */
  size_t count;
  /** Once the host has refused a batch (cancelled, over a limit), no further one is sent. */
  bool failed;
  mr_fault fault;
} mr_rows;

/** Begins a row; set its columns in what this gives: `mr_set_text(row, "city", …)`. */
MR_API mr_writer *mr_row(mr_rows *rows) {
  if (rows->emit) rows->out.follows = false;
  mr_open_object(&rows->out);
  return &rows->out;
}

/** Sends what waits. False when the host refused: `if (!mr_flush(&rows)) return mr_fail_with(rows.fault)`. */
MR_API bool mr_flush(mr_rows *rows) {
  if (rows->emit && rows->out.length && !rows->failed) {
    mr_reply reply = mr_call("emit", &rows->out);
    rows->failed = reply.failed;
    rows->fault = reply.fault;
  }
  if (rows->emit) rows->out.length = 0;
  return !rows->failed;
}

MR_API void mr_end_row(mr_rows *rows) {
  mr_close(&rows->out);
  rows->count++;
  if (!rows->emit) return;
  mr_put_byte(&rows->out, '\n');
  if (rows->out.length >= MR_BATCH_BYTES) mr_flush(rows);
}

/** `rows` may be NULL. What is still to be emitted is flushed first. */
MR_API int32_t mr_fetch_answer(const mr_fetch *run, const char *status, mr_rows *rows) {
  mr_writer out = {};
  if (rows && !mr_flush(rows)) return mr_fail_with(rows->fault);
  mr_open_object(&out);
  mr_set_text(&out, "status", status);
  if (run->next) mr_set_raw(&out, "next", run->next);
  if (run->watermark) mr_set_text(&out, "watermark", run->watermark);
  if (rows && !rows->emit) {
    mr_key(&out, "rows");
    mr_open_array(&out);
    if (rows->out.length) mr_add_raw(&out, rows->out.bytes, rows->out.length);
    mr_close(&out);
  }
  mr_close(&out);
  return mr_answer(&out);
}

/** Done. */
MR_API int32_t mr_fetch_ok(const mr_fetch *run, mr_rows *rows) { return mr_fetch_answer(run, "ok", rows); }
/** Some of what was asked for is there, and the rest failed. */
MR_API int32_t mr_fetch_partial(const mr_fetch *run, mr_rows *rows) { return mr_fetch_answer(run, "partial", rows); }
/** The source has nothing for this window, and that is fine. */
MR_API int32_t mr_fetch_no_data(const mr_fetch *run) { return mr_fetch_answer(run, "no_data", 0); }
/** The source has not changed since the last run. */
MR_API int32_t mr_fetch_not_modified(const mr_fetch *run) { return mr_fetch_answer(run, "not_modified", 0); }

typedef struct mr_register {
  mr_pipe pipe;
  const mr_json *config;
  mr_writer columns;
  mr_writer index;
  /** Other defaults of the pipe: `mr_set_text(&run.defaults, "schedule", "every 1h")`. */
  mr_writer defaults;
} mr_register;

MR_API mr_register mr_register_read(void) {
  const mr_json *input = mr_read_call();
  mr_register run = {mr_pipe_of(input), mr_get(input, "config"), {}, {}, {}};
  mr_open_object(&run.columns);
  mr_open_array(&run.index);
  mr_open_object(&run.defaults);
  return run;
}

/** A column and its type. */
MR_API void mr_column(mr_register *run, const char *name, const char *type) { mr_set_text(&run->columns, name, type); }
/** A column of the index. */
MR_API void mr_index(mr_register *run, const char *name) { mr_add_text(&run->index, name); }
/** The column that a row's time is in. */
MR_API void mr_datetime(mr_register *run, const char *name) { mr_set_text(&run->defaults, "datetime", name); }

MR_API int32_t mr_register_ok(mr_register *run) {
  mr_close(&run->columns);
  mr_close(&run->index);
  mr_writer *out = &run->defaults;
  mr_key(out, "columns");
  mr_add_raw(out, run->columns.bytes, run->columns.length);
  mr_key(out, "index");
  mr_add_raw(out, run->index.bytes, run->index.length);
  mr_close(out);
  return mr_answer(out);
}

#endif
