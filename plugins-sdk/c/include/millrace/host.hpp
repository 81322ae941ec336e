/** What a C++ plugin asks of the host. Part of millrace.hpp: include that. */
#ifndef MILLRACE_HOST_HPP
#define MILLRACE_HOST_HPP

namespace millrace {

/** The answer to an HTTP request. */
struct Response {
  int32_t status;
  Json headers;
  string_view body;
  std::chrono::duration<double, std::milli> elapsed;
  /** When the server's certificate runs out (RFC 3339), or "" without TLS. */
  string_view tls_valid_until;
  bool ok() const { return status >= 200 && status < 300; }
  string_view header(const char *name) const { return headers[name].text(); }
  /** Fault `bad_answer` when it is none. */
  Result<Json> json() const {
    std::optional<Json> json = Json::parse(body);
    return json ? Result<Json>(*json) : Result<Json>(Fault("bad_answer", "the answer is not JSON"));
  }
};

/** `Request("POST", url).header("accept", "text/csv").timeout(2s).send()` */
class Request {
 public:
  Request(const char *method, string_view url) { ask_.method = method, ask_.url = zero_ended(url); }
  /** At most 16 of them. */
  Request &header(const char *name, string_view value) {
    if (count_ + 2 >= sizeof headers_ / sizeof *headers_) __builtin_trap();
    headers_[count_++] = name;
    headers_[count_++] = zero_ended(value);
    return *this;
  }
  Request &body(string_view bytes) { return ask_.body = bytes.data(), ask_.body_length = bytes.size(), *this; }
  Request &timeout(std::chrono::milliseconds most) { return ask_.timeout_ms = (int32_t)most.count(), *this; }
  Request &attempts(int32_t most) { return ask_.attempts = most, *this; }
  Request &cache(bool on = true) { return ask_.cache = on, *this; }
  Result<Response> send() {
    ask_.headers = headers_;
    mr_response got = mr_http(&ask_);
    if (got.failed) return Fault(got.fault);
    std::chrono::duration<double, std::milli> elapsed(got.elapsed_ms);
    return Response{got.status, got.headers, {got.body.at, got.body.length}, elapsed, got.tls_valid_until};
  }

 private:
  mr_request ask_ = {};
  const char *headers_[33] = {};
  size_t count_ = 0;
};

inline Result<Response> get(string_view url) { return Request("GET", url).send(); }
/** Text that stands for a secret in a request: the host puts the value in. */
inline string_view placeholder(const char *secret) { return mr_placeholder(secret); }

/** The plugin's own store of small values. A time of 0 means for ever. */
namespace kv {
using std::chrono::milliseconds;
/** `value` and `revision` in it; false when there is no such key. */
inline Result<Json> entry(string_view key) { return result_of(mr_kv_get(zero_ended(key))); }
inline Result<Json> put(string_view key, const Text &value, milliseconds ttl = {}) {
  return result_of(mr_kv_put_for(ttl.count(), zero_ended(key), value.c()));
}
/** Fails with `exists`: of many racers one succeeds. */
inline Result<Json> create(string_view key, const Text &value, milliseconds ttl = {}) {
  return result_of(mr_kv_create_for(ttl.count(), zero_ended(key), value.c()));
}
/** Fails with `conflict` when somebody wrote since that revision. */
inline Result<Json> update(string_view key, const Text &value, Json revision, milliseconds ttl = {}) {
  return result_of(mr_kv_update_for(ttl.count(), zero_ended(key), value.c(), revision.c()));
}
inline Result<Json> remove(string_view key) { return result_of(mr_kv_delete(zero_ended(key))); }
inline Result<Json> list(string_view prefix) { return result_of(mr_kv_list(zero_ended(prefix))); }
/** At most `limit` of its `entries`; while there is more, `next` is what to give as `after`. */
inline Result<Json> page(string_view prefix, int32_t limit, string_view after = "") {
  return result_of(mr_kv_page(zero_ended(prefix), limit, zero_ended(after)));
}
}  // namespace kv

/** Read-only SQL on granted tables; `params` is an object for ClickHouse's `{name:Type}`. */
inline Result<Json> query(string_view sql, Text &params, int32_t max_rows = 0) {
  return result_of(mr_query(zero_ended(sql), params.c(), max_rows));
}
/** Its value. Needs `name!` among the permissions. */
inline Result<string_view> secret(const char *name) {
  Result<Json> reply = result_of(mr_secret(name));
  return reply ? Result<string_view>((*reply)["value"].text()) : Result<string_view>(reply.fault());
}
/** Another instance's function, for no longer than `most` where given; what it answered is `output`. */
inline Result<Json> call(
    const char *instance, const char *function, const Text &input, std::chrono::milliseconds most = {}) {
  return result_of(mr_call_function_within((int32_t)most.count(), instance, function, input.c()));
}
inline Result<Json> publish(const char *subject, const Text &body) { return result_of(mr_publish(subject, body.c())); }
inline Result<Json> progress(double done, double total, string_view message) {
  return result_of(mr_progress(done, total, zero_ended(message)));
}
/** A line of the run's log: level is debug, info, warn or error. */
inline void log(const char *level, string_view message) { mr_log_with(level, nullptr, zero_ended(message)); }
/** With fields that can be searched for, an object. */
inline void log(const char *level, string_view message, const Text &fields) {
  mr_log_with(level, fields.c(), zero_ended(message));
}
/** What a metric may have beside its value. */
struct MetricMore {
  /** A `counter` only grows, save for restarts. */
  const char *type = "gauge";
  std::initializer_list<std::pair<const char *, string_view>> dimensions = {};
  /** Absent: now. */
  std::optional<Time> time = {};
};
/** A value of the plugin's own in the dataset `metrics`, kept if and when the run is. */
inline Result<Json> metric(const char *name, double value, const MetricMore &more = {}) {
  const char *time = more.time ? mr_format_time(more.time->us) : nullptr;
  mr_own_metric one = {name, value, more.type, pairs_of(more.dimensions), time};
  return result_of(mr_metric(&one));
}

/** What is stored of rows: how many, or why not. */
inline Result<int64_t> rows_of(const mr_reply &reply) {
  Result<Json> stored = result_of(reply);
  return stored ? Result<int64_t>((*stored)["rows"].integer()) : Result<int64_t>(stored.fault());
}
/** Rows as CSV with a header: some MiB at a time, 16 at most. Their count, once they are durable. */
inline Result<int64_t> emit_csv(string_view text) { return rows_of(mr_emit_csv(text.data(), text.size())); }
/** The same with an Arrow stream: the IPC streaming format, schema first. */
inline Result<int64_t> emit_arrow(string_view stream) { return rows_of(mr_emit_arrow(stream.data(), stream.size())); }
/** The next attempt begins with this cursor; an `Emitter` has its own, which sends what waits. */
inline Result<Json> checkpoint(const Text &cursor) { return result_of(mr_checkpoint(cursor.c())); }

/** Waits, and others run meanwhile. */
inline Result<Json> sleep(std::chrono::milliseconds time) { return result_of(mr_sleep((int32_t)time.count())); }

}  // namespace millrace

#endif
