/** Rows that a writer of JSON may get wrong. Each is made anew for each writer, for some of them count. */

export class Point {
  x = 1;
  #hidden = 2;
  get shown() {
    return this.#hidden;
  }
}

const deep = (levels, end) => (levels ? { a: deep(levels - 1, end) } : end);
const deepList = (levels) => (levels ? [deepList(levels - 1)] : []);

/** A row that says in `asked` who was asked, in which order. */
function counted() {
  const asked = [];
  const tell = (name, value) => {
    asked.push(name);
    return value;
  };
  return {
    get first() {
      return tell("first", 1);
    },
    second: { toJSON: (key) => tell(`toJSON ${key}`, { third: 3 }) },
    list: [{ toJSON: (key) => tell(`toJSON ${typeof key} ${key}`, key) }],
    get asked() {
      return asked.join();
    },
  };
}

/** A member that goes while the others are read, and one that comes. */
function shifting() {
  const row = {
    get first() {
      delete row.second;
      row.third = 3;
      return 1;
    },
    second: 2,
  };
  return row;
}

export const rows = {
  nothing: () => ({}),
  plain: () => ({ time: new Date(1_325_376_000_000), name: "x", n: 1, ok: true, no: false, none: null }),
  numbers: () => ({
    zero: 0,
    negativeZero: -0,
    int: -2_147_483_648,
    beyond32: 4_294_967_296,
    safe: Number.MAX_SAFE_INTEGER,
    unsafe: 2 ** 53 + 2,
    e15: 1e15,
    e20: 123_456_789_012_345_680_000,
    e21: 1e21,
    max: Number.MAX_VALUE,
    min: 5e-324,
    tenth: 0.1,
    sum: 0.1 + 0.2,
    negative: -12.5,
    small: 0.000001,
    smaller: 0.0000001,
    sixth: 1.234567,
    seventh: 1.2345678,
    third: 1 / 3,
    large: 123_456_789.123456,
    fifteen: 999_999_999.999999,
    below: 0.05,
    half: -0.5,
    nan: Number.NaN,
    up: Number.POSITIVE_INFINITY,
    down: Number.NEGATIVE_INFINITY,
  }),
  bigints: () => ({ short: 5n, negative: -7n, long: 18_446_744_073_709_551_615n, huge: 10n ** 60n }),
  texts: () => ({
    empty: "",
    seven: "1234567",
    eight: "12345678",
    nine: "123456789",
    quotes: '"',
    path: "C:\\a\\b",
    control: "\u0000\u0001\b\t\n\v\f\r\u001f\u007f",
    late: '12345678901234"',
    latin: "größe",
    wide: "☃ 𝄞 漢字 한국어",
    edge: "\ud7ff\ue000\ufffd\uffff",
    high: "a\ud800b",
    low: "\udfff",
    swapped: "\udc00\ud800",
    lines: "\u2028\u2029",
    slice: "a long text of which only a part is kept".slice(7, 30),
    rope: Array.from("joined of many parts that are long enough to stay apart", (c) => c.repeat(300)).reduce(
      (a, b) => a + b,
    ),
  }),
  keys: () => ({ 'a"b': 1, "ä\n": 2, "": 3, 10: "ten", 2: "two", "-1": 0, "\ud800": 4, __proto__: null, ["k".repeat(300)]: 5 }),
  protoKey: () => JSON.parse('{"__proto__":{"a":1},"constructor":2,"toString":3,"toJSON":4}'),
  left: () => ({ gone: undefined, [Symbol("s")]: 1, symbol: Symbol("t"), run() {}, kept: 1, class: Point }),
  lists: () => ({ empty: [], mixed: [1, "a", undefined, () => 1, Symbol("s"), null, [[]], {}], sparse: [, 1, ,] }),
  nested: () => ({ a: { b: { c: [1, { d: "e" }] } }, f: {} }),
  boxed: () => ({ n: Object(1), s: Object("ß"), b: Object(false), big: Object(5n) }),
  dates: () => ({
    epoch: new Date(0),
    before: new Date(-1),
    leap: new Date(Date.UTC(2000, 1, 29, 23, 59, 59, 999)),
    march: new Date(Date.UTC(1900, 2, 1)),
    yearZero: new Date(-62_167_219_200_000),
    beforeZero: new Date(-62_167_219_200_001),
    last: new Date(253_402_300_799_999),
    afterLast: new Date(253_402_300_800_000),
    end: new Date(8.64e15),
    begin: new Date(-8.64e15),
    invalid: new Date(Number.NaN),
  }),
  ownDate: () => ({
    json: Object.assign(new Date(0), { toJSON: () => "mine" }),
    iso: Object.assign(new Date(0), { toISOString: () => "mine" }),
    primitive: Object.defineProperty(new Date(0), Symbol.toPrimitive, { value: () => Number.NaN }),
    value: Object.assign(new Date(0), { valueOf: () => Number.POSITIVE_INFINITY }),
    unset: Object.assign(new Date(0), { toJSON: undefined }),
    subclass: new (class extends Date {
      toISOString() {
        return "subclass";
      }
    })(0),
  }),
  instances: () => ({ point: new Point(), error: new Error("e"), inherited: Object.create({ a: 1 }), bare: Object.create(null) }),
  hidden: () => Object.defineProperties({ seen: 1 }, { unseen: { value: 2 }, seenToo: { value: 3, enumerable: true } }),
  others: () => ({
    map: new Map([[1, 2]]),
    set: new Set([1]),
    regexp: /a/g,
    bytes: new Uint8Array([1, 2]),
    buffer: new ArrayBuffer(2),
    view: new DataView(new ArrayBuffer(2)),
    promise: Promise.resolve(1),
    math: Math,
    raw: JSON.rawJSON("1e1000"),
    given: (function () {
      // biome-ignore lint/complexity/noArguments: an object of its own kind
      return arguments;
    })(1, "a"),
    url: new URL("https://example.org/ä"),
  }),
  proxies: () => ({ object: new Proxy({ a: 1 }, {}), list: new Proxy([1, 2], {}), row: new Proxy({}, { ownKeys: () => [] }) }),
  counted,
  shifting,
  toJson: () => ({ toJSON: (key) => ({ key }) }),
  toText: () => ({ toJSON: () => "text" }),
  toNull: () => ({ a: { toJSON: () => null }, b: { toJSON: () => undefined }, c: 1 }),
  twice: () => ({ a: { toJSON: () => ({ toJSON: () => "never asked" }) } }),
  deep: () => deep(100, 1),
  deepList: () => ({ a: deepList(70) }),
  shared: () => {
    const one = { n: 1 };
    return { a: one, b: [one, one] };
  },
  date: () => new Date(0),
  map: () => new Map(),
  getters: () => Object.defineProperty({}, "a", { get: () => "got", enumerable: true }),
  frozen: () => Object.freeze({ a: Object.freeze([1]) }),
};

const circle = () => {
  const row = { a: [] };
  row.a.push({ row });
  return row;
};

/** Rows that cannot be written. */
export const broken = {
  circle,
  "circle in a Map's member": () => ({ a: Object.assign(new Map(), { b: circle() }) }),
  getter: () => ({
    a: 1,
    get b() {
      throw new TypeError("no b");
    },
  }),
  toJSON: () => ({
    a: {
      toJSON() {
        throw new RangeError("no JSON");
      },
    },
  }),
  "toJSON that cannot be read": () => ({
    a: {
      get toJSON() {
        throw new RangeError("unreadable");
      },
    },
  }),
  "invalid date": () => ({ a: Object.assign(new Date(Number.NaN), { valueOf: () => 1 }) }),
  "revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return { proxy };
  },
};
