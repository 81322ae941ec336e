/** Writes JSON straight into UTF-8 bytes: `set…(key, value)` inside an object, `add…(value)` inside an array. */
import { dtoa_buffered, itoa_buffered } from "util/number";
import { Json, JsonKind } from "./json";
import { codePointAt, decodeUtf8At, storeCodePoint } from "./utf8";

const FIRST_CAPACITY_BYTES = 256;
/** Integers up to 2^53 are written without exponent or point. */
const EXACT_INTEGERS: f64 = 9007199254740992;
const HEX = "0123456789abcdef";
/** Room for the longest number: 17 digits, sign, point and exponent, in UTF-16. */
const numberText = memory.data(64);

export class JsonWriter {
  private bytes: ArrayBuffer = new ArrayBuffer(FIRST_CAPACITY_BYTES);
  private used: i32 = 0;

  /** Where the bytes are; valid until the next write. */
  get start(): usize {
    return changetype<usize>(this.bytes);
  }
  /** How many bytes were written. */
  get length(): i32 {
    return this.used;
  }
  toString(): string {
    return decodeUtf8At(this.start, this.used);
  }
  clear(): void {
    this.used = 0;
  }

  openObject(): this {
    this.separate();
    this.byte(0x7b);
    return this;
  }
  closeObject(): this {
    this.byte(0x7d);
    return this;
  }
  openArray(): this {
    this.separate();
    this.byte(0x5b);
    return this;
  }
  closeArray(): this {
    this.byte(0x5d);
    return this;
  }
  /** The key of the next value; `set…` calls it for you. */
  key(key: string): this {
    this.separate();
    this.quoted(key);
    this.byte(0x3a);
    return this;
  }

  setText(key: string, value: string): this {
    return this.key(key).addText(value);
  }
  /** NaN and the infinities, which JSON cannot carry, are written as null. */
  setNumber(key: string, value: f64): this {
    return this.key(key).addNumber(value);
  }
  /** All 64 bits, exactly. */
  setInteger(key: string, value: i64): this {
    return this.key(key).addInteger(value);
  }
  setBool(key: string, value: bool): this {
    return this.key(key).addBool(value);
  }
  setNull(key: string): this {
    return this.key(key).addNull();
  }
  setJson(key: string, value: Json): this {
    return this.key(key).addJson(value);
  }

  addText(value: string): this {
    this.separate();
    this.quoted(value);
    return this;
  }
  addNumber(value: f64): this {
    if (!isFinite(value)) return this.addNull();
    this.separate();
    if (abs(value) < EXACT_INTEGERS && nearest(value) == value) {
      this.utf16(numberText, <i32>itoa_buffered<i64>(numberText, <i64>value));
      return this;
    }
    let units = <i32>dtoa_buffered(numberText, value);
    // "1e21.0" never occurs, but "12345678901234567000.0" does: the ".0" says nothing.
    const tail = numberText + (<usize>(units - 2) << 1);
    if (units > 2 && load<u16>(tail) == 0x2e && load<u16>(tail, 2) == 0x30) units -= 2;
    this.utf16(numberText, units);
    return this;
  }
  addInteger(value: i64): this {
    this.separate();
    this.utf16(numberText, <i32>itoa_buffered<i64>(numberText, value));
    return this;
  }
  addBool(value: bool): this {
    return this.addRaw(value ? "true" : "false");
  }
  addNull(): this {
    return this.addRaw("null");
  }
  /** Text that is already JSON. It is not checked. */
  addRaw(json: string): this {
    this.separate();
    for (let i = 0; i < json.length; i++) {
      const code = codePointAt(json, i);
      if (code > 0xffff) i++;
      this.codePoint(code);
    }
    return this;
  }
  addJson(value: Json): this {
    switch (value.kind) {
      case JsonKind.Bool:
        return this.addBool(value.asBool());
      case JsonKind.Number:
        return this.addRaw(value.raw);
      case JsonKind.Text:
        return this.addText(value.raw);
      case JsonKind.Array: {
        this.openArray();
        for (let i = 0; i < value.length; i++) this.addJson(value.at(i));
        return this.closeArray();
      }
      case JsonKind.Object: {
        this.openObject();
        for (let i = 0; i < value.length; i++) this.key(value.keyAt(i)).addJson(value.at(i));
        return this.closeObject();
      }
      default:
        return this.addNull();
    }
  }

  /** Bytes that are already JSON, commas between them included. */
  addBytes(from: usize, length: i32): this {
    this.reserve(length);
    memory.copy(this.start + this.used, from, length);
    this.used += length;
    return this;
  }

  /** One byte as it is: a line end between rows. */
  byte(value: u8): void {
    this.reserve(1);
    store<u8>(this.start + this.used, value);
    this.used++;
  }

  /** A comma where the last byte shows that a value went before. Strings end with a quote, so the byte is enough. */
  private separate(): void {
    if (this.used == 0) return;
    const last = load<u8>(this.start + this.used - 1);
    if (last != 0x7b && last != 0x5b && last != 0x3a && last != 0x0a) this.byte(0x2c);
  }

  private quoted(text: string): void {
    const units = text.length;
    // Most text needs one byte a unit; six ("\u001f") is the most, three the most without an escape.
    this.reserve(units * 6 + 2);
    const from = changetype<usize>(text);
    let to = this.start + this.used;
    store<u8>(to++, 0x22);
    for (let i = 0; i < units; i++) {
      const unit = <u32>load<u16>(from + (<usize>i << 1));
      if (unit < 0x80) {
        if (unit >= 0x20 && unit != 0x22 && unit != 0x5c) store<u8>(to++, <u8>unit);
        else to = storeEscape(to, unit);
      } else {
        const code = codePointAt(text, i);
        if (code > 0xffff) i++;
        to = storeCodePoint(to, code);
      }
    }
    store<u8>(to++, 0x22);
    this.used = <i32>(to - this.start);
  }

  private utf16(from: usize, units: i32): void {
    this.reserve(units);
    const to = this.start + this.used;
    for (let i = 0; i < units; i++) store<u8>(to + i, load<u8>(from + (<usize>i << 1)));
    this.used += units;
  }

  private codePoint(code: u32): void {
    this.reserve(4);
    this.used = <i32>(storeCodePoint(this.start + this.used, code) - this.start);
  }

  private reserve(more: i32): void {
    const capacity = this.bytes.byteLength;
    if (this.used + more <= capacity) return;
    const bytes = new ArrayBuffer(max(capacity << 1, this.used + more));
    memory.copy(changetype<usize>(bytes), this.start, this.used);
    this.bytes = bytes;
  }
}

function storeEscape(to: usize, unit: u32): usize {
  store<u8>(to, 0x5c);
  let short: u8 = 0;
  if (unit == 0x22 || unit == 0x5c) short = <u8>unit;
  else if (unit == 0x0a) short = 0x6e;
  else if (unit == 0x0d) short = 0x72;
  else if (unit == 0x09) short = 0x74;
  if (short) {
    store<u8>(to, short, 1);
    return to + 2;
  }
  store<u8>(to, 0x75, 1);
  store<u8>(to, 0x30, 2);
  store<u8>(to, 0x30, 3);
  store<u8>(to, <u8>HEX.charCodeAt(unit >> 4), 4);
  store<u8>(to, <u8>HEX.charCodeAt(unit & 15), 5);
  return to + 6;
}
