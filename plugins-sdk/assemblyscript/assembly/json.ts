/** A JSON value: parsed, looked into, built. Looking never fails: what is not there is `Json.missing`. */
import { parseDecimal } from "./decimal";
import { JsonParser } from "./json-parser";
import { JsonWriter } from "./json-writer";

export enum JsonKind {
  Missing,
  Null,
  Bool,
  Number,
  Text,
  Array,
  Object,
}

/** What values without children share; `add` and `set` refuse to touch it. */
const NO_ITEMS: Json[] = [];
const NO_KEYS: string[] = [];

export class Json {
  /** The text of a string; the literal of a number, kept as written so that no digit is lost. */
  raw: string = "";
  /** Values of an array or object, in order. */
  readonly items: Json[];
  /** Keys of an object, in the order of `items`. */
  readonly keys: string[];

  constructor(public readonly kind: JsonKind) {
    this.items = kind >= JsonKind.Array ? new Array<Json>() : NO_ITEMS;
    this.keys = kind == JsonKind.Object ? new Array<string>() : NO_KEYS;
  }

  /** The value that answers every look for what is not there. Written as null. */
  static readonly missing: Json = new Json(JsonKind.Missing);
  /** What was wrong with the last text that `parse` refused, with its position. */
  static problem: string = "";

  /** Null when the text is not one JSON value; then `Json.problem` says why. At most 128 levels deep. */
  static parse(text: string): Json | null {
    const parser = new JsonParser(text);
    const value = parser.document();
    Json.problem = parser.problem;
    return value;
  }

  static text(value: string): Json {
    const json = new Json(JsonKind.Text);
    json.raw = value;
    return json;
  }
  /** NaN and the infinities become null. */
  static number(value: f64): Json {
    if (!isFinite(value)) return Json.null();
    return Json.literal(new JsonWriter().addNumber(value).toString());
  }
  /** All 64 bits, exactly. */
  static integer(value: i64): Json {
    return Json.literal(value.toString());
  }
  /** A number by its JSON literal, which is not checked. */
  static literal(raw: string): Json {
    const json = new Json(JsonKind.Number);
    json.raw = raw;
    return json;
  }
  static bool(value: bool): Json {
    const json = new Json(JsonKind.Bool);
    json.raw = value ? "true" : "false";
    return json;
  }
  static null(): Json {
    return new Json(JsonKind.Null);
  }
  static array(): Json {
    return new Json(JsonKind.Array);
  }
  static object(): Json {
    return new Json(JsonKind.Object);
  }

  /** Adds to an array. */
  add(value: Json): this {
    assert(this.kind == JsonKind.Array, "Json.add is for arrays");
    this.items.push(value);
    return this;
  }
  /** Sets a key of an object; an older value of the key is replaced. */
  set(key: string, value: Json): this {
    assert(this.kind == JsonKind.Object, "Json.set is for objects");
    const at = this.keys.lastIndexOf(key);
    if (at >= 0) {
      this.items[at] = value;
    } else {
      this.keys.push(key);
      this.items.push(value);
    }
    return this;
  }

  /** The value of a key; of a key that was written twice, the last. */
  get(key: string): Json {
    const at = this.keys.lastIndexOf(key);
    return at >= 0 ? this.items[at] : Json.missing;
  }
  /** The value at a position of an array or object. */
  at(position: i32): Json {
    return position >= 0 && position < this.items.length ? this.items[position] : Json.missing;
  }
  keyAt(position: i32): string {
    return this.keys[position];
  }
  has(key: string): bool {
    return this.keys.includes(key);
  }
  get length(): i32 {
    return this.items.length;
  }

  get isMissing(): bool {
    return this.kind == JsonKind.Missing;
  }
  /** Null, or not there at all. */
  get isNull(): bool {
    return this.kind == JsonKind.Null || this.kind == JsonKind.Missing;
  }
  get isBool(): bool {
    return this.kind == JsonKind.Bool;
  }
  get isNumber(): bool {
    return this.kind == JsonKind.Number;
  }
  get isText(): bool {
    return this.kind == JsonKind.Text;
  }
  get isArray(): bool {
    return this.kind == JsonKind.Array;
  }
  get isObject(): bool {
    return this.kind == JsonKind.Object;
  }

  /** The text of a string; of anything else, `fallback`. */
  asText(fallback: string = ""): string {
    return this.kind == JsonKind.Text ? this.raw : fallback;
  }
  /** The nearest double; of anything but a number, `fallback`. */
  asNumber(fallback: f64 = NaN): f64 {
    return this.kind == JsonKind.Number ? parseDecimal(this.raw) : fallback;
  }
  /** A whole number within 64 bits, exactly; of anything else, `fallback`. */
  asInteger(fallback: i64 = 0): i64 {
    return this.isInteger ? <i64>I64.parseInt(this.raw) : fallback;
  }
  asBool(fallback: bool = false): bool {
    return this.kind == JsonKind.Bool ? this.raw == "true" : fallback;
  }

  /** Whether it is a number without point or exponent that fits 64 bits. */
  get isInteger(): bool {
    if (this.kind != JsonKind.Number) return false;
    const raw = this.raw;
    const negative = raw.charCodeAt(0) == 0x2d;
    const digits = raw.length - <i32>negative;
    for (let i = <i32>negative; i < raw.length; i++) {
      if (<u32>(raw.charCodeAt(i) - 0x30) > 9) return false;
    }
    if (digits != 19) return digits < 19;
    // Nineteen digits each: comparing text is comparing numbers.
    return raw.substring(<i32>negative) <= (negative ? "9223372036854775808" : "9223372036854775807");
  }

  toString(): string {
    return new JsonWriter().addJson(this).toString();
  }
}
