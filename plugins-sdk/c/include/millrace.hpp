/**
 * Millrace plugins in C++: the C header in C++'s manner. Scopes close what they opened, text is `std::string_view`,
 * JSON is walked by `for`, what may fail is a `Result`. Built without exceptions and RTTI, as everything here is.
 *
 *   MR_EXPORT(fetch) {
 *     millrace::Fetch run;
 *     millrace::Rows rows;
 *     for (millrace::Time t = run.begin; t < run.end; t += 1h) rows.row().set("time", t).set("value", 1.5);
 *     return run.ok(rows);
 *   }
 *
 * Everything is valid until the call returns, and nothing has to be freed: see millrace.h.
 */
#ifndef MILLRACE_HPP
#define MILLRACE_HPP

#include "millrace.h"

#include <chrono>
#include <compare>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

namespace millrace {

using std::string_view;
using namespace std::chrono_literals;

/** The same text with a zero byte behind it, for the C functions. */
inline const char *zero_ended(string_view text) {
  mr_bytes bytes = mr_bytes_of(text.size());
  memcpy(bytes.at, text.data(), text.size());
  return bytes.at;
}

/** Names and values in turn, as the C functions take them. */
inline const char *const *pairs_of(std::initializer_list<std::pair<const char *, string_view>> pairs) {
  const char **list = (const char **)mr_alloc((pairs.size() * 2 + 1) * sizeof(char *)), **at = list;
  for (const auto &[name, value] : pairs) *at++ = name, *at++ = zero_ended(value);
  return *at = nullptr, list;
}

/** Microseconds since the epoch. */
struct Time {
  int64_t us = 0;
  auto operator<=>(const Time &) const = default;
  Time operator+(std::chrono::microseconds d) const { return {us + d.count()}; }
  Time operator-(std::chrono::microseconds d) const { return {us - d.count()}; }
  std::chrono::microseconds operator-(Time other) const { return std::chrono::microseconds(us - other.us); }
  Time &operator+=(std::chrono::microseconds d) { return us += d.count(), *this; }
  /** RFC 3339. */
  string_view text() const { return mr_format_time(us); }
  /** `2012-01-31`, in UTC. */
  string_view day() const { return mr_format_date(us); }
  /** Nothing when it is no RFC 3339. */
  static std::optional<Time> parse(string_view text) {
    int64_t us = mr_parse_time(zero_ended(text));
    return us == MR_NO_TIME ? std::nullopt : std::optional(Time{us});
  }
  /** By the host's clock. */
  static Time now() { return {(int64_t)(mr_now_ms() * 1000)}; }
};

/** JSON that was read. Looking into it never fails: what is not there is false, and its values are the fallbacks. */
class Json {
 public:
  Json(const mr_json *at = &mr_nothing) : at_(at ? at : &mr_nothing) {}
  /** Nothing when it is not JSON. */
  static std::optional<Json> parse(string_view text) {
    const mr_json *json = mr_parse(text.data(), text.size(), 0);
    return json ? std::optional(Json(json)) : std::nullopt;
  }
  /** The input of the call. */
  static Json input() { return mr_read_call(); }

  /** Whether it is there, and not null. */
  explicit operator bool() const { return !mr_is_null(at_); }
  mr_kind kind() const { return at_->kind; }
  /** Entries of an object or array. */
  size_t size() const { return at_->count; }
  Json operator[](string_view key) const { return mr_get(at_, zero_ended(key)); }
  Json operator[](const char *key) const { return mr_get(at_, key); }
  /** Walks there: for all of them use a loop. */
  template <std::integral I>
  Json operator[](I index) const { return mr_at(at_, (size_t)index); }
  /** Its name within its object. */
  string_view key() const { return at_->key ? at_->key : ""; }

  string_view text(string_view fallback = "") const {
    return at_->kind == MR_TEXT ? string_view(at_->text, at_->length) : fallback;
  }
  double number(double fallback = 0) const { return mr_number(at_, fallback); }
  int64_t integer(int64_t fallback = 0) const { return mr_integer(at_, fallback); }
  bool truth(bool fallback = false) const { return mr_bool(at_, fallback); }
  std::optional<Time> time() const { return Time::parse(text()); }

  struct iterator {
    const mr_json *at;
    Json operator*() const { return at; }
    iterator &operator++() { return at = at->next, *this; }
    bool operator==(const iterator &) const = default;
  };
  iterator begin() const { return {at_->kind == MR_ARRAY || at_->kind == MR_OBJECT ? at_->first : nullptr}; }
  iterator end() const { return {nullptr}; }
  const mr_json *c() const { return at_; }

 private:
  const mr_json *at_;
};

/** How something ended badly. */
struct Fault {
  string_view code;
  string_view message;
  bool retryable = false;
  Json details = {};
  Fault() = default;
  Fault(string_view code, string_view message, bool retryable = false, Json details = {})
      : code(code), message(message), retryable(retryable), details(details) {}
  Fault(const mr_fault &fault) : Fault(fault.code, fault.message, fault.retryable, fault.details) {}
};

/** Ends the call with an error: `return fail("no_places", "config names none")`. */
inline int32_t fail(const Fault &fault) {
  return mr_fail_with({zero_ended(fault.code), zero_ended(fault.message), fault.retryable, fault.details.c()});
}
inline int32_t fail(string_view code, string_view message) { return fail(Fault(code, message)); }
/** One that the retry policy tries again, `after` so long at least. */
inline int32_t fail_retryable(string_view code, string_view message, std::chrono::milliseconds after = {}) {
  return mr_fail_retryable(zero_ended(code), zero_ended(message), after.count());
}

/** What may fail: `if (!reply) return reply.fail(); use(*reply);` */
template <class T>
class Result {
 public:
  Result(T value) : value_(value) {}
  Result(const Fault &fault) : fault_(fault) {}
  explicit operator bool() const { return value_.has_value(); }
  const T &operator*() const { return *value_; }
  const T *operator->() const { return &*value_; }
  /** Only when it is false. */
  const Fault &fault() const { return fault_; }
  /** Ends the call with its fault. */
  int32_t fail() const { return millrace::fail(fault_); }

 private:
  std::optional<T> value_;
  Fault fault_;
};

inline Result<Json> result_of(const mr_reply &reply) {
  return reply.failed ? Result<Json>(Fault(reply.fault)) : Result<Json>(Json(reply.ok));
}

class Object;
class Array;

/** Writes one value of any type that JSON has, or a time, or an optional of one. */
inline void write(mr_writer *out, string_view text) { mr_add_bytes(out, text.data(), text.size()); }
inline void write(mr_writer *out, const char *text) { mr_add_text(out, text); }
inline void write(mr_writer *out, std::same_as<bool> auto value) { mr_add_bool(out, value); }
inline void write(mr_writer *out, std::nullptr_t) { mr_add_null(out); }
inline void write(mr_writer *out, std::floating_point auto value) { mr_add_number(out, value); }
inline void write(mr_writer *out, Time time) { write(out, time.text()); }
inline void write(mr_writer *out, Json json) {
  json.kind() == MR_MISSING ? mr_add_null(out) : mr_add_json(out, json.c());
}
template <std::integral I>
  requires(!std::same_as<I, bool>)
void write(mr_writer *out, I value) { mr_add_integer(out, (int64_t)value); }
template <class T>
void write(mr_writer *out, const std::optional<T> &value) {
  if (value) write(out, *value);
  else mr_add_null(out);
}

/** An object or array that is open as long as its scope; what is opened inside must close first. */
class Scope {
 public:
  Scope(const Scope &) = delete;
  Scope(Scope &&other) : out_(std::exchange(other.out_, nullptr)), rows_(other.rows_) {}
  ~Scope() { close(); }
  void close() {
    if (!out_) return;
    if (rows_) mr_end_row(rows_);
    else mr_close(out_);
    out_ = nullptr;
  }

 protected:
  explicit Scope(mr_writer *out, mr_rows *rows = nullptr) : out_(out), rows_(rows) {}
  mr_writer *out_;
  mr_rows *rows_;
};

class Object : public Scope {
 public:
  /** Takes over an object that is open already. */
  explicit Object(mr_writer *open, mr_rows *row_of = nullptr) : Scope(open, row_of) {}
  template <class T>
  Object &set(const char *key, const T &value) { return mr_key(out_, key), write(out_, value), *this; }
  Object object(const char *key) { return mr_key(out_, key), mr_open_object(out_), Object(out_); }
  Array array(const char *key);
};

class Array : public Scope {
 public:
  explicit Array(mr_writer *open) : Scope(open) {}
  template <class T>
  Array &add(const T &value) { return write(out_, value), *this; }
  Object object() { return mr_open_object(out_), Object(out_); }
};
inline Array Object::array(const char *key) { return mr_key(out_, key), mr_open_array(out_), Array(out_); }

/** JSON of one's own: `Text text; { auto o = text.object(); o.set("n", 1); } kv::put("key", text);` */
class Text {
 public:
  Object object() { return mr_open_object(&out_), Object(&out_); }
  Array array() { return mr_open_array(&out_), Array(&out_); }
  template <class T>
  static Text of(const T &value) {
    Text text;
    write(&text.out_, value);
    return text;
  }
  string_view view() const { return {out_.bytes, out_.length}; }
  const char *c() const { return zero_ended(view()); }
  /** Ends the call with it as the output. */
  int32_t answer() const { return mr_answer(&out_); }
  mr_writer *writer() { return &out_; }

 private:
  mr_writer out_ = {};
};

/** Rows to return with the answer; `Emitter`: to send as they come, any number. */
class Rows {
 public:
  /** A row, until the end of its scope: `rows.row().set("time", t);` */
  Object row() { return Object(mr_row(&rows_), &rows_); }
  size_t count() const { return rows_.count; }
  /** Once the host has refused a batch, no further one is sent. */
  bool failed() const { return rows_.failed; }
  mr_rows *c() { return &rows_; }

 protected:
  mr_rows rows_ = {};
};

class Emitter : public Rows {
 public:
  Emitter() { rows_.emit = true; }
  /** Sends what waits, and keeps all of it: the next attempt begins with this cursor. */
  Result<Json> checkpoint(const Text &cursor) {
    if (!mr_flush(&rows_)) return Fault(rows_.fault);
    return result_of(mr_checkpoint(cursor.c()));
  }
};

}  // namespace millrace

#include "millrace/calls.hpp"
#include "millrace/host.hpp"
#include "millrace/network.hpp"

#endif
