/** Sockets, probes, SNMP and what is known of resources, for C++. Part of millrace.hpp: include that. */
#ifndef MILLRACE_NETWORK_HPP
#define MILLRACE_NETWORK_HPP

namespace millrace {

struct SocketReply {
  string_view data;
  /** Whether the other side closed the connection. */
  bool closed;
  std::chrono::duration<double, std::milli> elapsed;
};

/** One request: `Socket::tcp(host, 7).send("hello\r\n").until("\n").timeout(2s).exchange()` */
class Socket {
 public:
  static Socket tcp(string_view host, int32_t port) { return Socket("tcp", host, port); }
  static Socket tls(string_view host, int32_t port) { return Socket("tls", host, port); }
  static Socket udp(string_view host, int32_t port) { return Socket("udp", host, port); }
  Socket &send(string_view bytes) { return ask_.send = bytes.data(), ask_.send_length = bytes.size(), *this; }
  /** The answer is whole when this text has come. */
  Socket &until(string_view text) { return ask_.until = zero_ended(text), *this; }
  /** It is whole with so many bytes. Without both: one datagram, or all until the other side ends. */
  Socket &length(size_t bytes) { return ask_.length = bytes, *this; }
  /** Waits for no answer. */
  Socket &no_answer() { return ask_.no_answer = true, *this; }
  Socket &timeout(std::chrono::milliseconds most) { return ask_.timeout_ms = (int32_t)most.count(), *this; }
  /** Takes whatever certificate it is shown. */
  Socket &any_certificate() { return ask_.any_certificate = true, *this; }
  Result<SocketReply> exchange() {
    mr_socket_reply got = mr_socket(&ask_);
    if (got.failed) return Fault(got.fault);
    std::chrono::duration<double, std::milli> elapsed(got.elapsed_ms);
    return SocketReply{{got.data.at, got.data.length}, got.closed, elapsed};
  }

 private:
  Socket(const char *proto, string_view host, int32_t port) {
    ask_.proto = proto, ask_.host = zero_ended(host), ask_.port = port;
  }
  mr_socket_ask ask_ = {};
};

/** Whether something is there: `kind` is tcp, tls (with `certificate`) or icmp. `reachable`; else a `reason`. */
inline Result<Json> ping(const char *kind, string_view host, int32_t port = 0, std::chrono::milliseconds timeout = {}) {
  return result_of(mr_ping(kind, zero_ended(host), port, (int32_t)timeout.count()));
}

/** A device: `Snmp(host).community("public").get({"1.3.6.1.2.1.1.5.0"})`, its `values` each with `oid` and `value`. */
class Snmp {
 public:
  explicit Snmp(string_view host, int32_t port = 161) { ask_.host = zero_ended(host), ask_.port = port; }
  /** Of v2c. */
  Snmp &community(string_view name) { return ask_.community = zero_ended(name), *this; }
  /** Makes it v3: `name`, `auth_protocol`, `auth_key`, `priv_protocol`, `priv_key`. */
  Snmp &user(std::initializer_list<std::pair<const char *, string_view>> fields) {
    return ask_.user = pairs_of(fields), *this;
  }
  /** Of a walk. */
  Snmp &max_values(int32_t most) { return ask_.max_values = most, *this; }
  Snmp &retries(int32_t most) { return ask_.retries = most, *this; }
  Snmp &timeout(std::chrono::milliseconds most) { return ask_.timeout_ms = (int32_t)most.count(), *this; }
  Result<Json> get(std::initializer_list<string_view> oids) { return result_of(mr_snmp_get(&ask_, texts_of(oids))); }
  /** Everything below each OID; `truncated`: there was more. */
  Result<Json> walk(std::initializer_list<string_view> oids) { return result_of(mr_snmp_walk(&ask_, texts_of(oids))); }

 private:
  static const char *const *texts_of(std::initializer_list<string_view> texts) {
    const char **list = (const char **)mr_alloc((texts.size() + 1) * sizeof(char *)), **at = list;
    for (string_view text : texts) *at++ = zero_ended(text);
    return *at = nullptr, list;
  }
  mr_snmp_ask ask_ = {};
};

/** Documents that enrichments wrote: about a resource by its name, or, without one, that of the call. */
namespace context {
inline const char *name_of(string_view resource) { return resource.empty() ? nullptr : zero_ended(resource); }
/** `value`, `instance`, `written`, `ttl_ms` in it; nothing when there is no such document. */
inline Result<Json> get(string_view ns, string_view key, string_view resource = "") {
  return result_of(mr_context_get(name_of(resource), zero_ended(ns), zero_ended(key)));
}
/** Those whose key begins so, in `documents`. */
inline Result<Json> list(string_view ns, string_view prefix = "", string_view resource = "") {
  return result_of(mr_context_list(name_of(resource), zero_ended(ns), zero_ended(prefix)));
}
/** At most `limit` of them; while there is more, `next` is what to give as `after`. */
inline Result<Json> page(
    string_view ns, string_view prefix, int32_t limit, string_view after = "", string_view resource = "") {
  const char *of = name_of(resource);
  return result_of(mr_context_page(of, zero_ended(ns), zero_ended(prefix), limit, zero_ended(after)));
}
}  // namespace context

}  // namespace millrace

#endif
