/** Sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants. */
import { decodeBase64, encodeBase64 } from "./base64";
import { call, Reply } from "./host";
import { Json } from "./json";
import { decodeUtf8 } from "./utf8";

/** One request and its answer over `tcp`, `tls` or `udp`. */
export class SocketRequest {
  private request: Json = Json.object();
  private expected: Json = Json.object();

  constructor(proto: string, host: string, port: i32) {
    this.request.set("proto", Json.text(proto)).set("host", Json.text(host)).set("port", Json.integer(port));
  }
  text(send: string): this {
    this.request.set("send", Json.text(send));
    return this;
  }
  bytes(send: ArrayBuffer): this {
    this.request.set("send_base64", Json.text(encodeBase64(send)));
    return this;
  }
  /** The answer is whole with so many bytes; 0 waits for none. Else: one datagram, or all until the other side ends. */
  expectBytes(count: i32): this {
    this.expected.set("bytes", Json.integer(count));
    return this;
  }
  /** The answer is whole when this text has come. */
  expectUntil(text: string): this {
    this.expected.set("until", Json.text(text));
    return this;
  }
  timeout(ms: i32): this {
    this.request.set("timeout_ms", Json.integer(ms));
    return this;
  }
  /** Takes whatever certificate it is shown. */
  anyCertificate(): this {
    this.request.set("verify", Json.bool(false));
    return this;
  }
  send(): SocketReply {
    return new SocketReply(call("socket", this.request.set("expect", this.expected)));
  }
}

export class SocketReply extends Reply {
  constructor(reply: Reply) {
    super(reply.ok, reply.fault);
  }
  get bytes(): ArrayBuffer {
    const decoded = decodeBase64(this.ok.get("data_base64").asText());
    return decoded == null ? new ArrayBuffer(0) : decoded;
  }
  get text(): string {
    return decodeUtf8(this.bytes);
  }
  /** Whether the other side closed the connection. */
  get closed(): bool {
    return this.ok.get("closed").asBool();
  }
  get elapsedMs(): f64 {
    return this.ok.get("elapsed_ms").asNumber();
  }
}

/**
 * Whether something is there: `kind` is `tcp`, `tls` (with facts of the certificate) or `icmp` (without a port).
 * `ok.get("reachable")`; it fails only when it could not be tried.
 */
export function ping(kind: string, host: string, port: i32 = 0, timeoutMs: i32 = 0): Reply {
  const request = Json.object().set("kind", Json.text(kind)).set("host", Json.text(host));
  if (port > 0) request.set("port", Json.integer(port));
  if (timeoutMs > 0) request.set("timeout_ms", Json.integer(timeoutMs));
  return call("ping", request);
}

/** SNMP v2c with a community; `user` makes it v3. */
export class Snmp {
  private request: Json = Json.object();
  private oids: Json = Json.array();

  constructor(host: string, port: i32 = 161) {
    this.request.set("host", Json.text(host)).set("port", Json.integer(port));
  }
  community(name: string): this {
    this.request.set("community", Json.text(name));
    return this;
  }
  /** `{name, auth_protocol, auth_key, priv_protocol, priv_key}`. */
  user(user: Json): this {
    this.request.set("version", Json.text("3")).set("user", user);
    return this;
  }
  /** `retries`, `max_repetitions`, `max_values`. */
  set(name: string, value: i32): this {
    this.request.set(name, Json.integer(value));
    return this;
  }
  oid(oid: string): this {
    this.oids.add(Json.text(oid));
    return this;
  }
  timeout(ms: i32): this {
    this.request.set("timeout_ms", Json.integer(ms));
    return this;
  }
  /** `ok.get("values")`: an array of `{oid, type, value}`. */
  get(): Reply {
    return this.ask("get");
  }
  /** All below each OID. */
  walk(): Reply {
    return this.ask("walk");
  }
  private ask(op: string): Reply {
    return call("snmp", this.request.set("op", Json.text(op)).set("oids", this.oids));
  }
}
