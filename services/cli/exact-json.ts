/** JSON that keeps every digit: whole numbers that a double cannot hold are bigint here, and leave as they came. */

type Context = { readonly source?: string };
type Raw = { rawJSON(text: string): unknown };

const WHOLE = /^-?\d+$/;

/** Errors: SyntaxError. */
export function parseExact(text: string): unknown {
  const revive = (_: string, value: unknown, context?: Context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && WHOLE.test(context?.source ?? "")
      ? BigInt(context?.source ?? 0)
      : value;
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

export function writeExact(value: unknown, indent?: number): string {
  const raw = (JSON as unknown as Raw).rawJSON;
  return JSON.stringify(value, (_, one) => (typeof one === "bigint" ? raw(String(one)) : one), indent) ?? "null";
}
