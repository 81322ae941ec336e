/** The names of what the registry owns: which are accepted, and how they become keys of the bus and come back. */
import { decodeKeyPart, encodeKeyPart } from "../bus/keys.ts";
import { Fault, type Mistake } from "../kit/fault.ts";

export type Kind = "plugins" | "versions" | "instances" | "pipes" | "pollers" | "resources" | "secrets";

const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const RESOURCE = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** Metric and location of a pipe. */
const PIPE_KEY = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const VERSION_LENGTH = 128;

const NAME_RULE = "a lower-case letter, then at most 62 lower-case letters, digits and -";
const RESOURCE_RULE = "at most 63 lower-case letters, digits and -, not starting with -";
const PIPE_KEY_RULE = "at most 63 lower-case letters, digits, _ and -, starting with a letter or digit";

export function nameMistakes(value: string, field: string, kind: "name" | "resource" | "pipe key" = "name"): Mistake[] {
  const [pattern, fix] = {
    name: [NAME, NAME_RULE] as const,
    resource: [RESOURCE, RESOURCE_RULE] as const,
    "pipe key": [PIPE_KEY, PIPE_KEY_RULE] as const,
  }[kind];
  if (value === "") return [{ field, problem: "is not set", fix }];
  return pattern.test(value) ? [] : [{ field, problem: `${shown(value)} is not a name`, fix }];
}

/** The part after `<collection>/`. Errors: `invalid`, naming `field`. */
export function idOf(name: string, collection: Exclude<Kind, "versions">, field = "name"): string {
  const id = name.startsWith(`${collection}/`) ? name.slice(collection.length + 1) : "";
  if (id !== "" && !id.includes("/") && id.length <= 200) return id;
  const fix = `write ${collection}/ and its id`;
  throw Fault.invalid(field, [{ field, problem: `${shown(name)} is not a name of ${collection}`, fix }]);
}

/** Errors: `invalid`. */
export function pluginAndVersion(name: string): { readonly plugin: string; readonly version: string } {
  const match = /^plugins\/([^/]+)\/versions\/([^/]+)$/.exec(name);
  if (match && name.length <= 80 + VERSION_LENGTH) return { plugin: match[1] as string, version: match[2] as string };
  const fix = "write plugins/{plugin}/versions/{version}";
  throw Fault.invalid("name", [{ field: "name", problem: `${shown(name)} is not a name of a version`, fix }]);
}

export const versionName = (plugin: string, version: string) => `plugins/${plugin}/versions/${version}`;

/** The key of a full name in its bucket. Plugins and their versions share one: `p.<plugin>`, `v.<plugin>.<version>`. */
export function keyOf(kind: Kind, name: string): string {
  if (kind === "versions") {
    const { plugin, version } = pluginAndVersion(name);
    return `v.${encodeKeyPart(plugin)}.${encodeKeyPart(version)}`;
  }
  const part = encodeKeyPart(idOf(name, kind));
  return kind === "plugins" ? `p.${part}` : part;
}

/** The inverse: the full name of a key. */
export function nameOfKey(kind: Kind, key: string): string {
  const parts = key.split(".");
  if (kind === "versions") return versionName(decodeKeyPart(parts[1] ?? ""), decodeKeyPart(parts[2] ?? ""));
  return `${kind}/${decodeKeyPart(parts.at(-1) ?? "")}`;
}

/** A given value in a sentence: quoted, and cut when it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** The known word nearest to a wrong one, or "" when none is near. */
export function nearest(word: string, known: readonly string[]): string {
  const near = known
    .map((candidate) => ({ candidate, edits: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits)[0];
  return near && near.edits <= Math.max(1, Math.floor(near.candidate.length / 3)) ? near.candidate : "";
}

/** Edits between two words; words longer than 64 are cut, as nobody means them. */
function distance(a: string, b: string): number {
  const [left, right] = [a.slice(0, 64), b.slice(0, 64)];
  let row = Array.from({ length: right.length + 1 }, (_, i) => i);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const replaced = (row[j - 1] as number) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[right.length] as number;
}
