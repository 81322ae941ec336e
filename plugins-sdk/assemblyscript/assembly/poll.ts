/** `discover`: what there is to poll. `poll`: the metrics of one resource. */
import { answer, answerWith, readCall } from "./call";
import { Json } from "./json";
import { JsonWriter } from "./json-writer";

/** Something to poll. */
export class Resource {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  /** Where it is: a URL, an address. */
  readonly endpoint: string;
  readonly labels: Json;

  constructor(public readonly json: Json) {
    this.name = json.get("name").asText();
    this.id = json.get("id").asText();
    this.type = json.get("type").asText();
    this.endpoint = json.get("endpoint").asText();
    this.labels = json.get("labels");
  }
}

export class PollCall {
  readonly resource: Resource;
  readonly config: Json;
  /** What the poll before answered with, or missing. */
  readonly previous: Json;
  /** Documents about the resource, by namespace and key: of the namespaces that plugin.json lists for `poll`. */
  readonly context: Json;
  readonly attempt: i32;

  constructor(input: Json) {
    this.resource = new Resource(input.get("resource"));
    this.config = input.get("config");
    this.previous = input.get("previous");
    this.context = input.get("context");
    this.attempt = <i32>input.get("attempt").asInteger(1);
  }

  static read(): PollCall {
    return new PollCall(readCall());
  }

  ok(metrics: Metrics): i32 {
    return this.answer(metrics, "ok");
  }
  partial(metrics: Metrics): i32 {
    return this.answer(metrics, "partial");
  }

  private answer(metrics: Metrics, status: string): i32 {
    const out = Json.object().set("metrics", metrics.groups).set("status", Json.text(status));
    return answer(out);
  }
}

/** Groups of values that were measured together, each with its dimensions. */
export class Metrics {
  readonly groups: Json = Json.array();
  private dimensions: Json = Json.missing;
  private values: Json = Json.missing;

  /** Starts a group. `time` is RFC 3339; empty: the time of the poll. */
  group(name: string, time: string = ""): this {
    this.dimensions = Json.object();
    this.values = Json.object();
    const group = Json.object().set("group", Json.text(name));
    if (time.length) group.set("time", Json.text(time));
    this.groups.add(group.set("dimensions", this.dimensions).set("values", this.values));
    return this;
  }
  dimension(name: string, value: string): this {
    this.dimensions.set(name, Json.text(value));
    return this;
  }
  /** A value that goes up and down. */
  gauge(name: string, value: f64): this {
    return this.value(name, value, "gauge");
  }
  /** A value that only grows, save for restarts: rates are made of it. */
  counter(name: string, value: f64): this {
    return this.value(name, value, "counter");
  }

  private value(name: string, value: f64, type: string): this {
    assert(this.values.isObject, "call group() before the first value");
    this.values.set(name, Json.object().set("value", Json.number(value)).set("type", Json.text(type)));
    return this;
  }
}

export class DiscoverCall {
  readonly config: Json;
  readonly site: string;
  private resources: Json = Json.array();

  constructor(input: Json) {
    this.config = input.get("config");
    this.site = input.get("site").asText();
  }

  static read(): DiscoverCall {
    return new DiscoverCall(readCall());
  }

  /** Adds a resource and returns its JSON, for `site`, `class`, `subclass`, `labels`, `ttl`. */
  resource(id: string, type: string, endpoint: string): Json {
    const resource = Json.object()
      .set("id", Json.text(id))
      .set("type", Json.text(type))
      .set("endpoint", Json.text(endpoint));
    this.resources.add(resource);
    return resource;
  }

  /** These are all: resources that are not among them may be removed. */
  complete(): i32 {
    return this.answer(true);
  }
  /** There may be more: nothing is removed. */
  incomplete(): i32 {
    return this.answer(false);
  }

  private answer(complete: bool): i32 {
    return answerWith(
      new JsonWriter()
        .openObject()
        .setJson("resources", this.resources)
        .setBool("complete", complete)
        .closeObject(),
    );
  }
}
