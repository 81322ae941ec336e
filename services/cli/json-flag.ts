/** Flags whose value is JSON. */
import { readFile } from "node:fs/promises";
import { Fault } from "../kit/fault.ts";

/** A JSON object given as text, or as `@file`. */
export async function jsonFlag(raw: string | boolean | undefined, field: string): Promise<Record<string, unknown>> {
  if (typeof raw !== "string") return {};
  const text = raw.startsWith("@") ? await textOf(raw.slice(1), field) : raw;
  try {
    const value: unknown = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new SyntaxError("it is not an object");
  } catch (thrown) {
    const problem = `is not a JSON object: ${Fault.from(thrown).message}`;
    throw Fault.invalid(field, [{ field, problem, fix: 'write it as {"key": value}, or as @file' }]);
  }
}

async function textOf(path: string, field: string): Promise<string> {
  return readFile(path, "utf8").catch((thrown: NodeJS.ErrnoException) => {
    const problem = `@${path} cannot be read (${thrown.code})`;
    throw Fault.invalid(field, [{ field, problem, fix: "name a file of JSON, or write the JSON itself" }]);
  });
}
