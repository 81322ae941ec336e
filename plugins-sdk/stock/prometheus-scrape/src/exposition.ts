/**
 * Prometheus' text format and OpenMetrics' (prometheus.io/docs/instrumenting/exposition_formats): samples with labels,
 * and the type that their family was declared with.
 */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Milliseconds since the epoch, when the exporter gives one. */
  readonly timeMs: number | undefined;
  readonly type: "gauge" | "counter";
}

export interface Read {
  readonly samples: readonly Sample[];
  /** Lines that are neither samples nor comments, with their numbers. */
  readonly bad: readonly string[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;
const TYPE = /^#\s*TYPE\s+(\S+)\s+(\S+)/;
const VALUE = /^\s*(\S+)(?:\s+(-?[\d.]+(?:e[+-]?\d+)?))?\s*(?:#.*)?$/i;
const SPECIAL: Readonly<Record<string, number>> = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity };
/** What a histogram or summary counts, by the end of the sample's name. */
const COUNTED = /_(?:bucket|count|sum|total|created)$/;

/** `secondsTimes`: OpenMetrics writes times in seconds, the older format in milliseconds. */
export function readExposition(text: string, secondsTimes: boolean): Read {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  const bad: string[] = [];
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line.startsWith("#")) {
      const [, family, type] = TYPE.exec(line) ?? [];
      if (family !== undefined && type !== undefined) types.set(family, type);
    } else if (line !== "") {
      const sample = readSample(line, types, secondsTimes ? 1_000 : 1);
      if (sample) samples.push(sample);
      else bad.push(`line ${i + 1}: ${line.slice(0, 100)}`);
    }
  }
  return { samples, bad };
}

function readSample(line: string, types: ReadonlyMap<string, string>, msPerUnit: number): Sample | undefined {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) return undefined;
  const labels: Record<string, string> = {};
  let at = name.length;
  if (line[at] === "{") {
    LABEL.lastIndex = at + 1;
    let end = at + 1;
    for (let found = LABEL.exec(line); found; found = LABEL.exec(line)) {
      labels[found[1] as string] = unescaped(found[2] as string);
      end = LABEL.lastIndex;
    }
    const close = /^\s*\}/.exec(line.slice(end))?.[0];
    if (close === undefined) return undefined;
    at = end + close.length;
  }
  const [, written, time] = VALUE.exec(line.slice(at)) ?? [];
  if (written === undefined) return undefined;
  const value = SPECIAL[written] ?? (/^nan$/i.test(written) ? Number.NaN : Number(written));
  if (Number.isNaN(value) && !/^nan$/i.test(written)) return undefined;
  const timeMs = time === undefined ? undefined : Number(time) * msPerUnit;
  return { name, labels, value, timeMs, type: typeOf(name, types) };
}

function typeOf(name: string, types: ReadonlyMap<string, string>): "gauge" | "counter" {
  const family = name.replace(COUNTED, "");
  const declared = types.get(name) ?? types.get(family);
  if (declared === "counter") return "counter";
  return (declared === "histogram" || declared === "summary") && name !== family ? "counter" : "gauge";
}

const unescaped = (text: string) => text.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
