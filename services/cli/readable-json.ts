/** JSON as people write it: what fits on a line is on one. Pure. */

const WIDTH = 100;
const STEP = "  ";

export function readableJson(value: unknown): string {
  return below(value, "", WIDTH);
}

/** `width`: what an inline form may have here; the whole is never on one line. */
function below(value: unknown, indent: string, width: number): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const line = inline(value);
  if (indent !== "" && line.length <= width) return line;
  const inner = indent + STEP;
  const entry = (key: string, one: unknown) => `${inner}${key}${below(one, inner, WIDTH - inner.length - key.length)}`;
  if (Array.isArray(value)) return `[\n${value.map((one) => entry("", one)).join(",\n")}\n${indent}]`;
  const entries = Object.entries(value).map(([key, one]) => entry(`${JSON.stringify(key)}: `, one));
  return `{\n${entries.join(",\n")}\n${indent}}`;
}

function inline(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  const entries = Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${inline(one)}`);
  return entries.length ? `{ ${entries.join(", ")} }` : "{}";
}
