/** Words of Meerschaum's compose files in ours: schedules, types, names. Pure. */

/** A translation, and why it is none or not quite one. */
export interface Word {
  readonly text: string | undefined;
  readonly note?: string;
}

const SECONDS: Readonly<Record<string, number>> = {
  second: 1,
  minute: 60,
  hour: 3_600,
  day: 86_400,
  week: 604_800,
};
const ALIASES: Readonly<Record<string, string>> = {
  hourly: "every 1h",
  daily: "every 1d",
  weekly: "every 7d",
  monthly: "cron 0 0 1 * *",
  yearly: "cron 0 0 1 1 *",
};
const DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/** The shortest exact writing. */
export function spanOf(seconds: number): string {
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
  ] as const) {
    if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${seconds}s`;
}

/** `every 30 seconds`, `daily`, `mon`, cron of five fields; a start is left to the phase that Millrace chooses. */
export function scheduleWord(given: string): Word {
  const [said = "", start] = given.trim().split(/\s+(?:starting|beginning|from)\s+/i);
  const note = start && `its start (${start}) is left out: runs are spread over the period`;
  const lower = said.toLowerCase();
  const found = (text: string): Word => ({ text, ...(note && { note }) });
  if (/\b(and|or)\b|[&|]/.test(lower))
    return { text: undefined, note: "schedules joined by and, or have no counterpart" };
  const every = /^every\s+(\d+)?\s*([a-z]+?)s?$/.exec(lower);
  const unit = SECONDS[every?.[2] ?? ""];
  if (every && unit) return found(`every ${spanOf(Number(every[1] ?? 1) * unit)}`);
  if (every) return { text: undefined, note: `${every[2]}s are no fixed span: write a cron schedule` };
  if (ALIASES[lower]) return found(ALIASES[lower]);
  const day = DAYS.findIndex((name) => lower.length >= 3 && name.startsWith(lower));
  if (day >= 0) return found(`cron 0 0 * * ${day}`);
  if (/^(\S+\s+){4}\S+$/.test(said)) return found(`cron ${said}`);
  return { text: undefined, note: `"${given}" is no schedule that is known here` };
}

/** pandas' and Meerschaum's own types. */
export function typeWord(given: string): Word {
  const lower = given.toLowerCase().trim();
  const numeric = /^(?:numeric|decimal)\[(\d+),\s*(\d+)\]$/.exec(lower);
  if (numeric) return { text: `decimal(${numeric[1]},${numeric[2]})` };
  if (/^(int|int8|int16|int32|int64|integer|bigint)$/.test(lower)) return { text: "int64" };
  if (/^uint(8|16|32|64)?$/.test(lower)) return { text: "uint64" };
  if (/^(float|float32|float64|double)$/.test(lower)) return { text: "float64" };
  if (/^(str|string|object|text|bytes)$/.test(lower)) {
    return { text: "string", ...(lower === "bytes" && { note: "bytes become text: encode them" }) };
  }
  if (/^bool(ean)?(\[pyarrow\])?$/.test(lower)) return { text: "bool" };
  if (/^date(32)?$/.test(lower)) return { text: "date" };
  if (/^datetime|^timestamp/.test(lower)) return { text: "timestamp" };
  if (lower === "json" || lower === "uuid") return { text: lower };
  if (/^(numeric|decimal)$/.test(lower))
    return { text: "decimal(38,10)", note: "decimals have a scale here: ten digits" };
  return { text: undefined, note: `the type ${given} has no counterpart` };
}

/** A name of ours, as near as can be. */
export function nameWord(given: string, joined: "-" | "_"): string {
  const words = given
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, joined)
    .replace(/^[-_]+|[-_]+$/g, "");
  return (/^[a-z]/.test(words) ? words : `x${joined}${words}`).slice(0, 60);
}

/** `$NAME` as `${NAME}`; `{MRSM_ROOT_DIR}` and Meerschaum's own links stay, and are told of. */
export const variables = (text: string) => text.replace(/\$([A-Za-z_]\w*)/g, (_, name: string) => `\${${name}}`);

/** Keys whose values belong among the secrets. */
export const isSecretKey = (key: string) => /pass(word)?$|secret|token$|(^|_)api_?key$|credential/i.test(key);
