/** What an export of a C++ plugin is called with, a class for each interface. Part of millrace.hpp: include that. */
#ifndef MILLRACE_CALLS_HPP
#define MILLRACE_CALLS_HPP

namespace millrace {

class Fetch {
 public:
  Fetch() : run_(mr_fetch_read()), begin{run_.begin_us}, end{run_.end_us}, config(run_.config), cursor(run_.cursor) {}
  bool has(Time time) const { return time >= begin && time < end; }
  const mr_pipe &pipe() const { return run_.pipe; }
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no Time. */
  string_view from() const { return run_.begin; }
  string_view to() const { return run_.end; }
  Fetch &next(const Text &cursor) { return run_.next = cursor.c(), *this; }
  Fetch &watermark(Time time) { return run_.watermark = mr_format_time(time.us), *this; }
  int32_t ok(Rows &rows) { return mr_fetch_ok(&run_, rows.c()); }
  int32_t partial(Rows &rows) { return mr_fetch_partial(&run_, rows.c()); }
  int32_t no_data() { return mr_fetch_no_data(&run_); }
  int32_t not_modified() { return mr_fetch_not_modified(&run_); }

 private:
  mr_fetch run_;

 public:
  /** Begin inclusive, end exclusive. */
  const Time begin, end;
  const Json config, cursor;
};

/** A window whose rows the plugin writes itself: by an `Emitter`, `emit_csv` or `emit_arrow`. */
class Sync {
 public:
  Sync() : run_(mr_sync_read()), begin{run_.begin_us}, end{run_.end_us}, config(run_.config), cursor(run_.cursor) {}
  bool has(Time time) const { return time >= begin && time < end; }
  const mr_pipe &pipe() const { return run_.pipe; }
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no Time. */
  string_view from() const { return run_.begin; }
  string_view to() const { return run_.end; }
  int32_t ok() { return mr_sync_ok(&run_, nullptr); }
  /** Sends what still waits. */
  int32_t ok(Emitter &rows) { return mr_sync_ok(&run_, rows.c()); }
  int32_t partial() { return mr_sync_partial(&run_, nullptr); }
  int32_t partial(Emitter &rows) { return mr_sync_partial(&run_, rows.c()); }
  int32_t no_data() { return mr_sync_no_data(&run_); }
  int32_t not_modified() { return mr_sync_not_modified(&run_); }

 private:
  mr_sync run_;

 public:
  /** Begin inclusive, end exclusive. */
  const Time begin, end;
  const Json config, cursor;
};

/** A hook before each window. */
class BeforeSync {
 public:
  BeforeSync() : BeforeSync(mr_before_sync_read()) {}
  explicit BeforeSync(const mr_before_sync &run)
      : run_(run), begin{run_.begin_us}, end{run_.end_us}, config(run_.config) {}
  const mr_pipe &pipe() const { return run_.pipe; }
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no Time. */
  string_view from() const { return run_.begin; }
  string_view to() const { return run_.end; }
  /** The window goes ahead. */
  int32_t proceed() { return mr_proceed(); }
  /** The window stays as it is, and people read why. */
  int32_t veto(string_view reason) { return mr_veto("%s", zero_ended(reason)); }

 private:
  mr_before_sync run_;

 public:
  /** Begin inclusive, end exclusive. */
  const Time begin, end;
  const Json config;
};

/** A hook behind each window that is done, or has failed for good. */
class AfterSync {
 public:
  AfterSync() : run_(mr_after_sync_read()), begin{run_.window.begin_us}, end{run_.window.end_us},
                config(run_.window.config), rows(run_.rows) {}
  const mr_pipe &pipe() const { return run_.window.pipe; }
  /** Begin and end as they came: RFC 3339, or on an axis of integers decimals, which have no Time. */
  string_view from() const { return run_.window.begin; }
  string_view to() const { return run_.window.end; }
  /** `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed. */
  string_view outcome() const { return run_.outcome; }
  /** Why it failed, or "". */
  string_view message() const { return run_.message; }
  /** Id of the run. */
  string_view run() const { return run_.run; }
  int32_t ok() { return mr_after_sync_ok(); }

 private:
  mr_after_sync run_;

 public:
  /** Begin inclusive, end exclusive. */
  const Time begin, end;
  const Json config;
  /** Rows of the window that are seen now. */
  const int64_t rows;
};

/** The defaults of a pipe: `return run.column("time", "timestamp").index("time").datetime("time").ok();` */
class Register {
 public:
  Register() : run_(mr_register_read()) {}
  const mr_pipe &pipe() const { return run_.pipe; }
  Json config() const { return run_.config; }
  Register &column(const char *name, const char *type) { return mr_column(&run_, name, type), *this; }
  Register &index(const char *column) { return mr_index(&run_, column), *this; }
  Register &datetime(const char *column) { return mr_datetime(&run_, column), *this; }
  /** Any other default: `schedule`, `chunk`, `begin`, … */
  template <class T>
  Register &set(const char *name, const T &value) {
    return mr_key(&run_.defaults, name), write(&run_.defaults, value), *this;
  }
  int32_t ok() { return mr_register_ok(&run_); }

 private:
  mr_register run_;
};

/** Documents about a resource. Those that are not added stay until their time is over. */
class Enrich {
 public:
  Enrich() : run_(mr_enrich_read()) {}
  string_view id() const { return run_.id; }
  string_view endpoint() const { return run_.endpoint; }
  Json resource() const { return run_.resource; }
  Json config() const { return run_.config; }
  /** More of a document: `ttl`, at most the namespace's, and `about`, another resource by its name. */
  struct More {
    string_view about = "";
    string_view ttl = "";
  };
  /** The namespace is declared in plugin.json, with the JSON Schema of the value. */
  Enrich &document(string_view ns, string_view key, const Text &value, More more) {
    mr_writer *out = mr_document(&run_, zero_ended(ns), zero_ended(key), value.c());
    if (!more.about.empty()) mr_set_text(out, "resource", zero_ended(more.about));
    if (!more.ttl.empty()) mr_set_text(out, "ttl", zero_ended(more.ttl));
    return *this;
  }
  Enrich &document(string_view ns, string_view key, const Text &value) { return document(ns, key, value, More{}); }
  int32_t ok() { return mr_enrich_ok(&run_); }
  int32_t partial() { return mr_enrich_partial(&run_); }

 private:
  mr_enrich run_;
};

/** Values that were measured together; all dimensions before the first value. */
class Group {
 public:
  explicit Group(mr_poll *run) : run_(run) {}
  Group &dimension(const char *name, string_view value) { return mr_dimension(run_, name, zero_ended(value)), *this; }
  Group &gauge(const char *name, double value) { return mr_gauge(run_, name, value), *this; }
  Group &counter(const char *name, double value) { return mr_counter(run_, name, value), *this; }

 private:
  mr_poll *run_;
};

class Poll {
 public:
  Poll() : run_(mr_poll_read()) {}
  string_view id() const { return run_.id; }
  string_view endpoint() const { return run_.endpoint; }
  Json resource() const { return run_.resource; }
  Json config() const { return run_.config; }
  Json previous() const { return run_.previous; }
  Json context() const { return run_.context; }
  Group group(const char *name, std::optional<Time> time = {}) {
    return mr_group(&run_, name, time ? mr_format_time(time->us) : nullptr), Group(&run_);
  }
  int32_t ok() { return mr_poll_ok(&run_); }
  int32_t partial() { return mr_poll_partial(&run_); }

 private:
  mr_poll run_;
};

class Discover {
 public:
  Discover() : run_(mr_discover_read()) {}
  Json config() const { return run_.config; }
  string_view site() const { return run_.site; }
  /** Sets more of the resource before the next one: `site`, `class`, `labels`. It closes by itself. */
  mr_writer *resource(string_view id, string_view type, string_view endpoint) {
    return mr_resource(&run_, zero_ended(id), zero_ended(type), zero_ended(endpoint));
  }
  int32_t complete() { return mr_discover_complete(&run_); }
  int32_t incomplete() { return mr_discover_incomplete(&run_); }

 private:
  mr_discover run_;
};

class Route {
 public:
  Route() : run_(mr_route_read()) {}
  string_view method() const { return run_.method; }
  string_view path() const { return run_.path; }
  string_view param(const char *name) const { return mr_param(&run_, name); }
  string_view ask(const char *name, const char *fallback = "") const { return mr_ask(&run_, name, fallback); }
  string_view body() const { return {run_.body.at, run_.body.length}; }
  Route &header(const char *name, string_view value) {
    return mr_set_text(&run_.answer_headers, name, zero_ended(value)), *this;
  }
  int32_t send(int32_t status, Text &json) { return mr_send_json(&run_, status, json.writer()); }
  int32_t send_text(int32_t status, const char *type, string_view text) {
    return mr_send_text(&run_, status, type, zero_ended(text));
  }
  int32_t send_bytes(int32_t status, const char *type, string_view bytes) {
    return mr_send_bytes(&run_, status, type, bytes.data(), bytes.size());
  }
  int32_t send_error(int32_t status, string_view code, string_view message) {
    return mr_send_error(&run_, status, zero_ended(code), zero_ended(message));
  }

 private:
  mr_route run_;
};

}  // namespace millrace

#endif
