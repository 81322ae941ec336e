/** Documents about resources: `enrich` writes them, `context` reads them. */
import { answer, readCall } from "./call";
import { call, Reply } from "./host";
import { Json } from "./json";
import { Resource } from "./poll";

export class EnrichCall {
  readonly resource: Resource;
  readonly config: Json;
  readonly attempt: i32;
  private documents: Json = Json.array();

  constructor(input: Json) {
    this.resource = new Resource(input.get("resource"));
    this.config = input.get("config");
    this.attempt = <i32>input.get("attempt").asInteger(1);
  }

  static read(): EnrichCall {
    return new EnrichCall(readCall());
  }

  /**
   * Adds a document about the resource of this call and returns its JSON, for `ttl` (a duration, at most the
   * namespace's) and `resource` (another one, by name, or by id when the same discovery found it).
   */
  document(namespace: string, key: string, value: Json): Json {
    const document = Json.object().set("namespace", Json.text(namespace)).set("key", Json.text(key));
    this.documents.add(document.set("value", value));
    return document;
  }

  /** Documents that are not among them stay until their time is over. */
  ok(): i32 {
    return this.answer("ok");
  }
  partial(): i32 {
    return this.answer("partial");
  }

  private answer(status: string): i32 {
    return answer(Json.object().set("documents", this.documents).set("status", Json.text(status)));
  }
}

/** `ok.get("value")`, missing when there is none. `resource` is a name; empty: the resource of this call. */
export function contextGet(namespace: string, key: string, resource: string = ""): Reply {
  return call("context", operation("get", namespace, key, resource));
}

/** Those whose key begins so, in `ok.get("documents")`; pages as with `kvList`. */
export function contextList(
  namespace: string,
  prefix: string = "",
  resource: string = "",
  limit: i32 = 0,
  after: string = "",
): Reply {
  const request = operation("list", namespace, prefix, resource);
  if (limit > 0) request.set("limit", Json.integer(limit));
  if (after.length) request.set("after", Json.text(after));
  return call("context", request);
}

function operation(name: string, namespace: string, key: string, resource: string): Json {
  const request = Json.object().set("op", Json.text(name)).set("namespace", Json.text(namespace));
  if (resource.length) request.set("resource", Json.text(resource));
  return request.set("key", Json.text(key));
}
