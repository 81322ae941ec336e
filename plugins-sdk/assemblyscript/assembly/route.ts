/** `route`: one HTTP request that the gateway hands to the plugin. */
import { decodeBase64, encodeBase64 } from "./base64";
import { answer, readCall } from "./call";
import { Json } from "./json";
import { decodeUtf8, encodeUtf8 } from "./utf8";

export class RouteCall {
  readonly method: string;
  readonly path: string;
  /** The declared route's `{name}` parts. */
  readonly params: Json;
  readonly headers: Json;
  private query: Json;
  private out: Json = Json.object();
  private outHeaders: Json = Json.object();

  constructor(public readonly json: Json) {
    this.method = json.get("method").asText();
    this.path = json.get("path").asText();
    this.params = json.get("params");
    this.headers = json.get("headers");
    this.query = json.get("query");
  }

  static read(): RouteCall {
    return new RouteCall(readCall());
  }

  /** A query parameter, or `fallback`; of one that was given many times, the first. */
  ask(name: string, fallback: string = ""): string {
    const value = this.query.get(name);
    return value.isArray ? value.at(0).asText(fallback) : value.asText(fallback);
  }
  /** A `{name}` part of the path. */
  param(name: string): string {
    return this.params.get(name).asText();
  }
  /** The body as text; what is not UTF-8 becomes U+FFFD. */
  get body(): string {
    const encoded = this.json.get("body_base64");
    return encoded.isText ? decodeUtf8(this.bytes) : this.json.get("body").asText();
  }
  get bytes(): ArrayBuffer {
    const encoded = this.json.get("body_base64");
    if (!encoded.isText) return encodeUtf8(this.json.get("body").asText());
    const decoded = decodeBase64(encoded.asText());
    return decoded != null ? decoded : new ArrayBuffer(0);
  }

  /** A header of the answer. */
  header(name: string, value: string): this {
    this.outHeaders.set(name, Json.text(value));
    return this;
  }

  sendJson(body: Json, status: i32 = 200): i32 {
    return this.sendText(body.toString(), status, "application/json; charset=utf-8");
  }
  sendText(body: string, status: i32 = 200, type: string = "text/plain; charset=utf-8"): i32 {
    this.out.set("body", Json.text(body));
    return this.send(status, type);
  }
  sendBytes(body: ArrayBuffer, status: i32 = 200, type: string = "application/octet-stream"): i32 {
    this.out.set("body_base64", Json.text(encodeBase64(body)));
    return this.send(status, type);
  }
  /** `{"error":{"code","message"}}`: for what the caller did wrong. For what the plugin cannot do, `fail`. */
  sendError(status: i32, code: string, message: string): i32 {
    const error = Json.object().set("code", Json.text(code)).set("message", Json.text(message));
    return this.sendJson(Json.object().set("error", error), status);
  }

  private send(status: i32, type: string): i32 {
    if (!this.outHeaders.has("content-type")) this.header("content-type", type);
    this.out.set("status", Json.integer(status)).set("headers", this.outHeaders);
    return answer(this.out);
  }
}
