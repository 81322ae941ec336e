/** `fetch`: the rows of one window [begin, end) of a pipe. `register`: the defaults of a pipe. */
import { answer, answerWith, readCall } from "./call";
import { Json } from "./json";
import { JsonWriter } from "./json-writer";
import { RowWriter } from "./rows";
import { formatDate, parseTime } from "./time";

/** The pipe that a call is for. */
export class Pipe {
  readonly name: string;
  readonly connector: string;
  readonly metric: string;
  /** "" when the pipe has none. */
  readonly location: string;
  readonly parameters: Json;

  constructor(pipe: Json) {
    this.name = pipe.get("name").asText();
    this.connector = pipe.get("connector").asText();
    this.metric = pipe.get("metric").asText();
    this.location = pipe.get("location").asText();
    this.parameters = pipe.get("parameters");
  }
}

/** Begin inclusive, end exclusive, in microseconds since the epoch. */
export class Window {
  constructor(
    public readonly beginUs: i64,
    public readonly endUs: i64,
  ) {}

  /** The UTC day that the window begins in, as `2012-01-31`. */
  get firstDay(): string {
    return formatDate(this.beginUs);
  }
  /** The last UTC day that the window touches: for sources that want an inclusive end. */
  get lastDay(): string {
    return formatDate(this.endUs - 1);
  }
  /** Whether a time lies inside. Sources by whole days give more than was asked for: drop what is outside. */
  has(us: i64): bool {
    return us >= this.beginUs && us < this.endUs;
  }
}

export class FetchCall {
  readonly pipe: Pipe;
  readonly config: Json;
  /** On an axis of integers it is `NO_TIME` on both sides: see `begin` and `end`. */
  readonly window: Window;
  /** As they came: RFC 3339, or decimal integers, for which there are `I64.parseInt` and `U64.parseInt`. */
  readonly begin: string;
  readonly end: string;
  /** What the last checkpoint of this run saved, or the `next` of the call before; missing or null at the start. */
  readonly cursor: Json;
  /** 1 on the first try. For information only. */
  readonly attempt: i32;

  private nextCursor: Json = Json.missing;
  private mark: string = "";

  constructor(input: Json) {
    this.pipe = new Pipe(input.get("pipe"));
    this.config = input.get("config");
    const begin = input.get("begin").asText();
    const end = input.get("end").asText();
    this.begin = begin;
    this.end = end;
    this.window = new Window(parseTime(begin), parseTime(end));
    this.cursor = input.get("cursor");
    this.attempt = <i32>input.get("attempt").asInteger(1);
  }

  static read(): FetchCall {
    return new FetchCall(readCall());
  }

  /** There is more in this window: the host calls again with `cursor` as its cursor. */
  next(cursor: Json): this {
    this.nextCursor = cursor;
    return this;
  }
  /** How far the source is known to be complete: RFC 3339, or on an axis of integers the one behind the last. */
  watermark(time: string): this {
    this.mark = time;
    return this;
  }

  /** Done. `rows` are returned with the answer; leave them out after an `Emitter`. */
  ok(rows: RowWriter | null = null): i32 {
    return this.answer("ok", rows);
  }
  /** The source has nothing for this window, and that is fine. */
  noData(): i32 {
    return this.answer("no_data", null);
  }
  /** The source has not changed since the last run. */
  notModified(): i32 {
    return this.answer("not_modified", null);
  }
  /** Some of what was asked for is there, and the rest failed. */
  partial(rows: RowWriter | null = null): i32 {
    return this.answer("partial", rows);
  }

  private answer(status: string, rows: RowWriter | null): i32 {
    const out = new JsonWriter().openObject().setText("status", status);
    if (!this.nextCursor.isNull) out.setJson("next", this.nextCursor);
    if (this.mark.length) out.setText("watermark", this.mark);
    if (rows != null) out.key("rows").openArray().addBytes(rows.start, rows.length).closeArray();
    return answerWith(out.closeObject());
  }
}

export class RegisterCall {
  readonly pipe: Pipe;
  readonly config: Json;
  private columns: Json = Json.object();
  private indexed: Json = Json.array();
  private out: Json = Json.object();

  constructor(input: Json) {
    this.pipe = new Pipe(input.get("pipe"));
    this.config = input.get("config");
  }

  static read(): RegisterCall {
    return new RegisterCall(readCall());
  }

  /** Types: string int64 uint64 float64 bool timestamp date decimal(p,s) uuid json. */
  column(name: string, type: string): this {
    this.columns.set(name, Json.text(type));
    return this;
  }
  /** Adds a column to the key by which rows replace each other. */
  index(name: string): this {
    this.indexed.add(Json.text(name));
    return this;
  }
  /** The column that says when a row was. */
  datetime(name: string): this {
    return this.set("datetime", Json.text(name));
  }
  /** Any other default: `schedule`, `chunk`, `begin`, … */
  set(key: string, value: Json): this {
    this.out.set(key, value);
    return this;
  }

  ok(): i32 {
    if (this.columns.length) this.out.set("columns", this.columns);
    if (this.indexed.length) this.out.set("index", this.indexed);
    return answer(this.out);
  }
}
