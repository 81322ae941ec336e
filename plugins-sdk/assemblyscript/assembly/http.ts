/** HTTP through the host, which allows only what the manifest asks for and the operator grants. */
import { decodeBase64, encodeBase64 } from "./base64";
import { call, Reply } from "./host";
import { Json } from "./json";
import { decodeUtf8, encodeUtf8 } from "./utf8";

export class HttpRequest {
  method: string = "GET";
  /** Header names and values. */
  headers: Json = Json.object();
  /** Text of the body; empty for none. */
  body: string = "";
  /** Bytes of the body, instead of text. */
  bytes: ArrayBuffer | null = null;
  /** 0: the host's default. The run's own deadline holds in any case. */
  timeoutMs: i32 = 0;
  /** Tries in all, when the other side is away or overloaded: 1 to 5. More than 1 not with POST and PATCH. */
  attempts: i32 = 1;
  /** GET only: keep the answer, and show it again when the server says that it still stands. */
  cache: bool = false;
  /** Through the operator's proxy. */
  proxy: bool = false;

  constructor(public readonly url: string) {}

  /** Stands for a secret in the query, a header or the body. The host puts the value in; the plugin never sees it. */
  static secret(name: string): string {
    return `{{secret:${name}}}`;
  }

  header(name: string, value: string): this {
    this.headers.set(name, Json.text(value));
    return this;
  }

  send(): HttpReply {
    const request = Json.object()
      .set("method", Json.text(this.method))
      .set("url", Json.text(this.url))
      .set("headers", this.headers);
    const bytes = this.bytes;
    if (bytes != null) request.set("body_base64", Json.text(encodeBase64(bytes)));
    else if (this.body.length) request.set("body", Json.text(this.body));
    if (this.attempts > 1) request.set("retry", Json.object().set("attempts", Json.integer(this.attempts)));
    if (this.cache) request.set("cache", Json.bool(true));
    if (this.proxy) request.set("proxy", Json.bool(true));
    if (this.timeoutMs > 0) request.set("timeout_ms", Json.integer(this.timeoutMs));
    return new HttpReply(call("http", request));
  }
}

/** An answer of any status, or a failure to get one: look at `failed` first. */
export class HttpReply extends Reply {
  constructor(reply: Reply) {
    super(reply.ok, reply.fault);
  }
  get status(): i32 {
    return <i32>this.ok.get("status").asInteger();
  }
  get isSuccess(): bool {
    return this.status >= 200 && this.status < 300;
  }
  /** A header by its lower-case name, or "". */
  header(name: string): string {
    return this.ok.get("headers").get(name).asText();
  }
  /** The body as text; what is not UTF-8 becomes U+FFFD. */
  get text(): string {
    const body = this.ok.get("body");
    return body.isText ? body.asText() : decodeUtf8(this.bytes);
  }
  get bytes(): ArrayBuffer {
    const body = this.ok.get("body");
    if (body.isText) return encodeUtf8(body.asText());
    const decoded = decodeBase64(this.ok.get("body_base64").asText());
    return decoded != null ? decoded : new ArrayBuffer(0);
  }
  /** Whether it is the answer that was kept. */
  get cached(): bool {
    return this.ok.get("cached").asBool();
  }
  get elapsedMs(): f64 {
    return this.ok.get("elapsed_ms").asNumber();
  }
  /** When the server's certificate runs out (RFC 3339), or "" without TLS. */
  get tlsValidUntil(): string {
    return this.ok.get("tls").get("valid_until").asText();
  }
  /** `Retry-After` in milliseconds when it is a number of seconds; 0 otherwise. */
  get retryAfterMs(): i64 {
    const seconds = this.header("retry-after").trim();
    for (let i = 0; i < seconds.length; i++) if (<u32>(seconds.charCodeAt(i) - 0x30) > 9) return 0;
    return seconds.length && seconds.length < 10 ? <i64>I64.parseInt(seconds) * 1000 : 0;
  }
}

/** GET with the host's default time-out. */
export function httpGet(url: string, timeoutMs: i32 = 0): HttpReply {
  const request = new HttpRequest(url);
  request.timeoutMs = timeoutMs;
  return request.send();
}
