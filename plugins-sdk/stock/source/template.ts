/** Texts with `{names}` in them, filled from the window, the pipe and the page. */
import { type FetchCall, PluginError } from "@millrace/typescript";

export type Values = Readonly<Record<string, string | number | undefined>>;

/** What stands in braces; secrets are the host's to fill and stay as they are. */
const NAME = /\{\{secret:[a-z0-9-]+\}\}|\{([a-z_]+)\}/g;

const INTEGER = /^-?\d+$/;

/** What every template may name. Times are UTC; `end` is exclusive, `last_date` the last day that is touched. */
export function windowValues(call: FetchCall<never, never>): Values {
  const { begin, end, pipe } = call;
  const names = { metric: pipe.metric, location: pipe.location ?? "" };
  // On an axis of integers `last` is for sources that want an inclusive end.
  if (INTEGER.test(begin)) return { begin, end, last: String(call.range.end - 1n), ...names };
  const { window } = call;
  return {
    begin,
    end,
    begin_date: window.firstDay,
    end_date: end.slice(0, 10),
    last_date: window.lastDay,
    begin_s: Math.floor(window.beginMs / 1_000),
    end_s: Math.ceil(window.endMs / 1_000),
    begin_ms: window.beginMs,
    end_ms: window.endMs,
    ...names,
  };
}

/** `write` says how a value is written where it stands. Errors: `invalid` for a name that is not known here. */
export function fill(template: string, values: Values, write: (value: string) => string = String): string {
  return template.replace(NAME, (whole, name: string | undefined) => {
    if (name === undefined) return whole;
    const value = values[name];
    if (value === undefined) {
      const known = Object.keys(values).filter((one) => values[one] !== undefined);
      throw new PluginError("invalid", `${template}: {${name}} is not known here; there are {${known.join("}, {")}}`);
    }
    return write(String(value));
  });
}

/** The same in every text of a JSON value. A text that is nothing but one number's name becomes that number. */
export function fillJson(value: unknown, values: Values): unknown {
  if (typeof value === "string") {
    const alone = /^\{([a-z_]+)\}$/.exec(value)?.[1];
    return alone !== undefined && typeof values[alone] === "number" ? values[alone] : fill(value, values);
  }
  if (Array.isArray(value)) return value.map((one) => fillJson(one, values));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, fillJson(one, values)]));
}
