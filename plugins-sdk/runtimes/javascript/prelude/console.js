/** `console`: lines of the run's log. */
import { call, isBuilding } from "./host.js";

const MAX_DEPTH = 4;
const MAX_ITEMS = 100;

/** Text for people: strings as they are, anything else as a literal. */
export function show(value, depth = 0, seen = new Set()) {
  if (typeof value === "string") return depth ? JSON.stringify(value) : value;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
  if (value === null || typeof value !== "object") return String(value);
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack.trimEnd()}` : String(value);
  if (value instanceof Date || value instanceof RegExp) return value instanceof Date ? safeDate(value) : String(value);
  if (seen.has(value)) return "[circular]";
  if (depth >= MAX_DEPTH) return Array.isArray(value) ? "[…]" : "{…}";
  const inner = new Set(seen).add(value);
  const each = (item) => show(item, depth + 1, inner);
  if (value instanceof Map)
    return `Map(${value.size}) {${[...value]
      .slice(0, MAX_ITEMS)
      .map(([k, v]) => `${each(k)} => ${each(v)}`)
      .join(", ")}}`;
  const isList = Array.isArray(value) || ArrayBuffer.isView(value) || value instanceof Set;
  if (isList) {
    const items = [...value];
    const more = items.length > MAX_ITEMS ? [`… ${items.length - MAX_ITEMS} more`] : [];
    return `[${[...items.slice(0, MAX_ITEMS).map(each), ...more].join(", ")}]`;
  }
  const kind = value.constructor && value.constructor !== Object ? `${value.constructor.name} ` : "";
  const keys = Object.keys(value).slice(0, MAX_ITEMS);
  return `${kind}{${keys.map((key) => `${key}: ${each(value[key])}`).join(", ")}}`;
}

const safeDate = (date) => (Number.isNaN(date.getTime()) ? "Invalid Date" : date.toISOString());

/** At build time there is nobody to tell: libraries that greet at the top level stay silent. */
const line =
  (level) =>
  (...values) => {
    if (!isBuilding()) call("log", { level, message: values.map((value) => show(value)).join(" ") });
  };

const counts = new Map();
const began = new Map();

globalThis.console = {
  debug: line("debug"),
  trace: line("debug"),
  log: line("info"),
  info: line("info"),
  dir: line("info"),
  table: line("info"),
  warn: line("warn"),
  error: line("error"),
  assert: (holds, ...values) => holds || line("error")("assertion failed:", ...values),
  group() {},
  groupEnd() {},
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    line("info")(`${label}: ${counts.get(label)}`);
  },
  time: (label = "default") => void began.set(label, Date.now()),
  timeEnd: (label = "default") => line("info")(`${label}: ${Date.now() - (began.get(label) ?? Date.now())} ms`),
};
