/** RFC 8259, strictly: no comments, no trailing commas, no leading zeros, no raw control characters in strings. */
import { Json, JsonKind } from "./json";

/** Deep enough for any real document, shallow enough for the stack. */
export const MAX_DEPTH = 128;

export class JsonParser {
  problem: string = "";
  private at: i32 = 0;
  private readonly end: i32;
  private readonly from: usize;

  constructor(private readonly text: string) {
    this.end = text.length;
    this.from = changetype<usize>(text);
  }

  document(): Json | null {
    const value = this.value(0);
    if (value == null) return null;
    if (this.peek() >= 0) return this.refuse("more text after the value");
    return value;
  }

  private value(depth: i32): Json | null {
    const next = this.peek();
    switch (next) {
      case 0x7b:
        return depth < MAX_DEPTH ? this.object(depth + 1) : this.refuse(`deeper than ${MAX_DEPTH} levels`);
      case 0x5b:
        return depth < MAX_DEPTH ? this.array(depth + 1) : this.refuse(`deeper than ${MAX_DEPTH} levels`);
      case 0x22: {
        const text = this.string();
        return text == null ? null : Json.text(text);
      }
      case 0x74:
        return this.word("true") ? Json.bool(true) : this.unexpected();
      case 0x66:
        return this.word("false") ? Json.bool(false) : this.unexpected();
      case 0x6e:
        return this.word("null") ? Json.null() : this.unexpected();
      default:
        return next == 0x2d || isDigit(next) ? this.number() : this.unexpected();
    }
  }

  private object(depth: i32): Json | null {
    const object = new Json(JsonKind.Object);
    this.at++;
    if (this.peek() == 0x7d) {
      this.at++;
      return object;
    }
    while (true) {
      if (this.peek() != 0x22) return this.unexpected();
      const key = this.string();
      if (key == null) return null;
      if (this.peek() != 0x3a) return this.unexpected();
      this.at++;
      const value = this.value(depth);
      if (value == null) return null;
      object.keys.push(key);
      object.items.push(value);
      const next = this.peek();
      if (next != 0x2c && next != 0x7d) return this.unexpected();
      this.at++;
      if (next == 0x7d) return object;
    }
  }

  private array(depth: i32): Json | null {
    const array = new Json(JsonKind.Array);
    this.at++;
    if (this.peek() == 0x5d) {
      this.at++;
      return array;
    }
    while (true) {
      const value = this.value(depth);
      if (value == null) return null;
      array.items.push(value);
      const next = this.peek();
      if (next != 0x2c && next != 0x5d) return this.unexpected();
      this.at++;
      if (next == 0x5d) return array;
    }
  }

  private number(): Json | null {
    const start = this.at;
    if (this.unit() == 0x2d) this.at++;
    if (this.unit() == 0x30) this.at++;
    else if (!this.digits()) return this.unexpected();
    if (this.unit() == 0x2e) {
      this.at++;
      if (!this.digits()) return this.unexpected();
    }
    if ((this.unit() | 0x20) == 0x65) {
      this.at++;
      if (this.unit() == 0x2b || this.unit() == 0x2d) this.at++;
      if (!this.digits()) return this.unexpected();
    }
    return Json.literal(this.text.substring(start, this.at));
  }

  private digits(): bool {
    const start = this.at;
    while (isDigit(this.unit())) this.at++;
    return this.at > start;
  }

  /** Null when refused. */
  private string(): string | null {
    const start = ++this.at;
    while (this.at < this.end) {
      const unit = this.unit();
      if (unit == 0x22) return this.text.substring(start, this.at++);
      if (unit == 0x5c) return this.escaped(start);
      if (unit < 0x20) return this.refuseText("a control character inside a string");
      this.at++;
    }
    return this.refuseText("the text ends inside a string");
  }

  /** A string with at least one escape, from `start`. Escapes only shrink, so the length as written is room enough. */
  private escaped(start: i32): string | null {
    let close = this.at;
    while (close < this.end && load<u16>(this.from + (<usize>close << 1)) != 0x22) {
      close += load<u16>(this.from + (<usize>close << 1)) == 0x5c ? 2 : 1;
    }
    if (close >= this.end) {
      this.at = this.end;
      return this.refuseText("the text ends inside a string");
    }
    const out = changetype<string>(__new(<usize>(close - start) << 1, idof<string>()));
    let to = changetype<usize>(out);
    const head = <usize>(this.at - start) << 1;
    memory.copy(to, this.from + (<usize>start << 1), head);
    to += head;
    while (this.at < close) {
      let unit = this.unit();
      if (unit < 0x20) return this.refuseText("a control character inside a string");
      this.at++;
      if (unit == 0x5c) {
        unit = this.escape();
        if (unit < 0) return this.refuseText("an unknown escape inside a string");
      }
      store<u16>(to, <u16>unit);
      to += 2;
    }
    this.at++;
    return changetype<string>(__renew(changetype<usize>(out), to - changetype<usize>(out)));
  }

  /** The unit that an escape stands for; -1 when it is none. A lone surrogate passes: writing makes it U+FFFD. */
  private escape(): i32 {
    const unit = this.unit();
    this.at++;
    switch (unit) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        return unit;
      case 0x62:
        return 0x08;
      case 0x66:
        return 0x0c;
      case 0x6e:
        return 0x0a;
      case 0x72:
        return 0x0d;
      case 0x74:
        return 0x09;
      case 0x75: {
        let code = 0;
        for (let i = 0; i < 4; i++) {
          const digit = hexDigit(this.unit());
          if (digit < 0) return -1;
          code = (code << 4) | digit;
          this.at++;
        }
        return code;
      }
      default:
        return -1;
    }
  }

  private word(word: string): bool {
    for (let i = 0; i < word.length; i++) {
      if (this.unit() != word.charCodeAt(i)) return false;
      this.at++;
    }
    return true;
  }

  /** The next unit that is not white space, without taking it; -1 at the end. */
  private peek(): i32 {
    while (true) {
      const unit = this.unit();
      if (unit != 0x20 && unit != 0x0a && unit != 0x0d && unit != 0x09) return unit;
      this.at++;
    }
  }

  private unit(): i32 {
    return this.at < this.end ? <i32>load<u16>(this.from + (<usize>this.at << 1)) : -1;
  }

  private unexpected(): Json | null {
    if (this.at >= this.end) return this.refuse("the text ends too early");
    return this.refuse(`unexpected "${this.text.charAt(this.at)}"`);
  }

  private refuse(why: string): Json | null {
    if (!this.problem.length) this.problem = `${why} at character ${this.at}`;
    return null;
  }

  private refuseText(why: string): string | null {
    this.refuse(why);
    return null;
  }
}

function isDigit(unit: i32): bool {
  return unit >= 0x30 && unit <= 0x39;
}

function hexDigit(unit: i32): i32 {
  if (isDigit(unit)) return unit - 0x30;
  const lower = unit | 0x20;
  return unit > 0 && lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
