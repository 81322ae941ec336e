/** Emits rows, and answers with what JSON.stringify makes of the same rows. */
import { emit, emitArrow } from "@millrace/typescript";
import { randomRow } from "./random.js";
import { broken, rows } from "./values.js";

const said = (write) => {
  try {
    return { wrote: write() ?? null };
  } catch (thrown) {
    return { code: thrown.code, message: `${thrown.name}: ${thrown.message}` };
  }
};

/** Each row twice: keys that were seen are written another way. */
function both(names, make) {
  return [...names, ...names].map((name) => {
    emit(make(name));
    return { name, text: JSON.stringify(make(name)) };
  });
}

export const functions = {
  named: () => both(Object.keys(rows), (name) => rows[name]()),

  random: ({ seed, count }) => {
    const make = (i) => randomRow(seed + i);
    return both([...Array(count).keys()], make);
  },

  /** As `named`, after an author has changed what everything inherits from. */
  patched: ({ what }) => {
    const patches = {
      "Date.prototype.toJSON": () => {
        Date.prototype.toJSON = () => "patched";
      },
      "Date.prototype.toISOString": () => {
        Date.prototype.toISOString = () => "patched";
      },
      "Date.prototype.valueOf": () => {
        Date.prototype.valueOf = () => Number.NaN;
      },
      "Date.prototype[Symbol.toPrimitive]": () => {
        Object.defineProperty(Date.prototype, Symbol.toPrimitive, { value: () => Number.NaN });
      },
      "Object.prototype.toJSON": () => {
        Object.prototype.toJSON = function () {
          return Array.isArray(this) ? "a list" : Object.keys(this).length;
        };
      },
      "BigInt.prototype.toJSON": () => {
        BigInt.prototype.toJSON = () => "a bigint";
      },
      "BigInt.prototype.toString": () => {
        BigInt.prototype.toString = () => "12";
      },
      "String.prototype.toJSON": () => {
        String.prototype.toJSON = () => "never asked";
      },
      "Array.prototype.toJSON": () => {
        Array.prototype.toJSON = () => "a list";
      },
      "a toJSON that is no function": () => {
        Object.prototype.toJSON = 1;
      },
    };
    patches[what]();
    const names = ["plain", "bigints", "dates", "lists", "nested", "numbers"];
    return both(names, (name) => rows[name]()).map(({ name, text }) => `${name} ${text}`).join("\n");
  },

  refused: () =>
    Object.entries(broken).map(([name, make]) => {
      emit({ before: name });
      return { name, engine: said(() => JSON.stringify(make())), writer: said(() => emit(make())) };
    }),

  /** What is no row, and rows within rows. */
  nested: () => {
    const nothing = [null, undefined, 1, "a", true, 5n, Symbol("s"), () => 1, [[1]], { toJSON: () => undefined }];
    const refusals = nothing.map((value) => said(() => emit(value)).message);
    const inner = said(() => emit({ toJSON: () => emit({ inner: 1 }) }));
    emit([]);
    emit(new Proxy([{ n: 1 }, new Proxy({ n: 2 }, {})], {}));
    emit([{ n: 3 }]);
    emit(new Proxy({ n: 4 }, {}));
    return { refusals, inner };
  },

  /** Rows that were not sent yet, and half a row. */
  failing: () => {
    emit({ left: 1 });
    emit({
      left: 2,
      get half() {
        throw new Error("half a row");
      },
    });
  },

  answered: ({ name }) => rows[name](),

  /** Every byte, `count` times over, as each kind that a library may have it in. */
  arrow: ({ count }) => {
    const bytes = Uint8Array.from({ length: 256 * count }, (_, i) => i & 255);
    emit({ before: 1 });
    const views = [bytes, bytes.buffer, bytes.subarray(1, 4), new DataView(bytes.buffer, 254, 2), new Uint8Array(0)];
    return { rows: views.map((view) => emitArrow(view)), wrong: said(() => emitArrow("text")) };
  },

  /** More than a batch, and a text that is a batch by itself. */
  many: ({ count, text }) => {
    const big = "ä".repeat(text);
    for (let n = 0; n < count; n += 1) emit({ n, text: n === 3 ? big : "t" });
  },
};
