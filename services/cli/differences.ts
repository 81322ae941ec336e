/** Where two JSON values differ, for people: a line each, with the path. Pure. */
import { writeExact } from "./exact-json.ts";

const MAX_SHOWN_CHARACTERS = 160;

/** At most `max` lines; the last one says how many more there are. */
export function differences(expected: unknown, got: unknown, at: string, max = 20): string[] {
  const found: string[] = [];
  compare(expected, got, at, found);
  return found.length > max ? [...found.slice(0, max), `… ${found.length - max} more differences`] : found;
}

export function shownValue(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = writeExact(value);
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}

function compare(expected: unknown, got: unknown, at: string, found: string[]): void {
  if (Array.isArray(expected) && Array.isArray(got)) {
    const common = Math.min(expected.length, got.length);
    for (let i = 0; i < common; i += 1) compare(expected[i], got[i], `${at}[${i}]`, found);
    for (let i = common; i < expected.length; i += 1) found.push(`${at}[${i}]: missing: ${shownValue(expected[i])}`);
    for (let i = common; i < got.length; i += 1) found.push(`${at}[${i}]: not expected: ${shownValue(got[i])}`);
  } else if (isObject(expected) && isObject(got)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(got)])) {
      compare(expected[key], got[key], at ? `${at}.${key}` : key, found);
    }
  } else if (!Object.is(expected, got) && !(expected === 0 && got === 0)) {
    found.push(`${at}: expected ${shownValue(expected)}, got ${shownValue(got)}`);
  }
}

/** Whether all that `part` says is so in `whole`. The parameters of a URL may come in any order. */
export function includes(whole: unknown, part: unknown, key = ""): boolean {
  if (!isObject(part)) return differences(part, whole, "", 1).length === 0 || (key === "url" && sameUrl(whole, part));
  return isObject(whole) && Object.entries(part).every(([name, value]) => includes(whole[name], value, name));
}

function sameUrl(...urls: readonly [unknown, unknown]): boolean {
  const [one, other] = urls.map((url) => (URL.canParse(String(url)) ? new URL(String(url)) : undefined));
  one?.searchParams.sort();
  other?.searchParams.sort();
  return one !== undefined && one.href === other?.href;
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
