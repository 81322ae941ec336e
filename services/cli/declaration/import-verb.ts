/** `import meerschaum`: prints the file that it makes, and tells everything that it could not translate. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Fault } from "../../kit/fault.ts";
import { apiOf } from "../api.ts";
import type { Invocation } from "../command.ts";
import { importMeerschaum } from "./meerschaum.ts";
import { readSource } from "./source.ts";
import { applySource } from "./verbs.ts";

export async function importCompose(invocation: Invocation): Promise<void> {
  const { args, flags, terminal, env } = invocation;
  const file = args[0] as string;
  const folder = dirname(resolve(file));
  const { yaml, notes } = importMeerschaum(readSource(file, readText(file), {}), folder);
  for (const { at, why } of notes) terminal.note(`${at}: ${why}`);
  if (flags.apply !== true) {
    return terminal.result(
      () => ({ yaml, notes }),
      () => yaml,
    );
  }
  terminal.note(`\n${yaml}`);
  using api = apiOf(invocation);
  await applySource(api, invocation, { source: readSource("millrace.yaml", yaml, env), folder });
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    throw new Fault("not_found", `${file} cannot be read: ${Fault.from(thrown).message}`);
  }
}
