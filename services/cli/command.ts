/** What a command is: its words, its flags, what it does. */
import type { Terminal } from "./terminal.ts";

/** Wrong words on the command line, as opposed to a wrong answer from the platform: exit code 2. */
export class Misuse extends Error {
  override readonly name = "Misuse";
}

/** A flag that takes a whole number. Errors: `Misuse`. */
export function wholeFlag(flags: Invocation["flags"], name: string, [low, high]: readonly [number, number]) {
  const raw = flags[name];
  if (raw === undefined) return undefined;
  const value = Number(raw);
  if (/^\d+$/.test(String(raw)) && value >= low && value <= high) return value;
  throw new Misuse(`--${name} ${JSON.stringify(raw)} is not a whole number within ${low}–${high}`);
}

export interface Flag {
  readonly type: "string" | "boolean";
  /** One letter. */
  readonly short?: string;
  readonly doc: string;
}

export interface Invocation {
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
}

export interface Command {
  /** One or two words. */
  readonly path: string;
  /** `<needed> [optional]`, for usage and for counting. */
  readonly args: string;
  readonly doc: string;
  readonly flags: Readonly<Record<string, Flag>>;
  /** The settings that a service reads, printed below its help. */
  readonly settings?: () => Promise<string>;
  readonly run: (invocation: Invocation) => Promise<void>;
}

/** Of lists, and of commands that take many things of a kind. */
export const tagsFlag: Flag = {
  type: "string",
  doc: 'which ones: "daily and not slow"; also name:weather.* or state:paused, with and, or, not and parentheses',
};

export const globalFlags: Readonly<Record<string, Flag>> = {
  json: { type: "boolean", doc: "print the result as JSON on stdout, and nothing else" },
  address: { type: "string", doc: "gRPC address of the gateway (default: MILLRACE_ADDRESS or 127.0.0.1:7401)" },
  help: { type: "boolean", doc: "print this" },
};
