/** Commands of the CLI run in this process: what they answer, tell and count as failed. */
import { parseArgs } from "node:util";
import { globalFlags } from "../../services/cli/command.ts";
import { commands } from "../../services/cli/commands.ts";
import { Fault } from "../../services/kit/fault.ts";

export interface Answered {
  /** What `--json` would print. */
  readonly json: unknown;
  /** What a person would read on stdout. */
  readonly text: string;
  /** What a person would read on stderr. */
  readonly notes: string;
  readonly failed: boolean;
}

/** `line` is split at spaces; an argument in "quotes" may hold some. Errors: what the command throws. */
export async function runCommand(line: string, env: NodeJS.ProcessEnv): Promise<Answered> {
  const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
  const length = [2, 1].find((count) => commands.some(({ path }) => path === words.slice(0, count).join(" ")));
  const command = commands.find(({ path }) => path === words.slice(0, length).join(" "));
  if (!length || !command) throw new Fault("invalid", `there is no command ${line}`);
  const known = Object.entries({ ...command.flags, ...globalFlags });
  const options = Object.fromEntries(known.map(([name, { type }]) => [name, { type }]));
  const { values, positionals } = parseArgs({ args: words.slice(length), options, allowPositionals: true });
  const told = { json: undefined as unknown, text: "", notes: "", failed: false };
  await command.run({
    args: positionals,
    flags: values as Record<string, string | boolean | undefined>,
    env,
    terminal: {
      json: false,
      result(json, plain) {
        told.json = JSON.parse(JSON.stringify(json(), (_, v) => (typeof v === "bigint" ? String(v) : v)) ?? "null");
        told.text += `${plain()}\n`;
      },
      fail(text) {
        told.failed = true;
        told.notes += `${text}\n`;
      },
      get failed() {
        return told.failed;
      },
      note(text) {
        told.notes += `${text}\n`;
      },
      bar: () => ({ update() {}, [Symbol.dispose]() {} }),
    },
  });
  return told;
}
