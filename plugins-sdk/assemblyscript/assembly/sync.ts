/** `sync`: a window whose rows the plugin writes itself. `before_sync` and `after_sync`: hooks around each window. */
import { answer, readCall } from "./call";
import { Pipe, Window } from "./fetch";
import { Json } from "./json";
import { parseTime } from "./time";

/** What every call around a window knows. */
class WindowCall {
  readonly pipe: Pipe;
  readonly config: Json;
  /** On an axis of integers it is `NO_TIME` on both sides: see `begin` and `end`. */
  readonly window: Window;
  /** As they came: RFC 3339, or decimal integers, for which there are `I64.parseInt` and `U64.parseInt`. */
  readonly begin: string;
  readonly end: string;
  /** 1 on the first try. For information only. */
  readonly attempt: i32;

  constructor(input: Json) {
    this.pipe = new Pipe(input.get("pipe"));
    this.config = input.get("config");
    const begin = input.get("begin").asText();
    const end = input.get("end").asText();
    this.begin = begin;
    this.end = end;
    this.window = new Window(parseTime(begin), parseTime(end));
    this.attempt = <i32>input.get("attempt").asInteger(1);
  }
}

/** Rows go by an `Emitter`, `emitCsv` or `emitArrow`; how far it is, by `checkpoint`. */
export class SyncCall extends WindowCall {
  /** What the last checkpoint of this run saved; missing or null at the start. */
  readonly cursor: Json;

  constructor(input: Json) {
    super(input);
    this.cursor = input.get("cursor");
  }

  static read(): SyncCall {
    return new SyncCall(readCall());
  }

  ok(): i32 {
    return this.answer("ok");
  }
  /** The source has nothing for this window, and that is fine. */
  noData(): i32 {
    return this.answer("no_data");
  }
  /** The source has not changed since the last run. */
  notModified(): i32 {
    return this.answer("not_modified");
  }
  /** Some of what was asked for is there, and the rest failed. */
  partial(): i32 {
    return this.answer("partial");
  }

  private answer(status: string): i32 {
    return answer(Json.object().set("status", Json.text(status)));
  }
}

export class BeforeSyncCall extends WindowCall {
  constructor(input: Json) {
    super(input);
  }

  static read(): BeforeSyncCall {
    return new BeforeSyncCall(readCall());
  }

  /** The window goes ahead. */
  proceed(): i32 {
    return answer(Json.object());
  }
  /** The window stays as it is; people read the reason. */
  veto(reason: string): i32 {
    return answer(Json.object().set("veto", Json.text(reason)));
  }
}

export class AfterSyncCall extends WindowCall {
  /** `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed. */
  readonly outcome: string;
  /** Rows of the window that are seen now. */
  readonly rows: i64;
  /** Why it failed, or "". */
  readonly message: string;
  /** Id of the run. */
  readonly run: string;

  constructor(input: Json) {
    super(input);
    this.outcome = input.get("outcome").asText();
    this.rows = input.get("rows").asInteger();
    this.message = input.get("message").asText();
    this.run = input.get("run").asText();
  }

  static read(): AfterSyncCall {
    return new AfterSyncCall(readCall());
  }

  ok(): i32 {
    return answer(Json.object());
  }
}
