/** The command line: finds the command in the table, reads its flags, runs it. Exit 0 done, 1 failed, 2 misused. */
import { parseArgs } from "node:util";
import { Fault } from "../kit/fault.ts";
import { type Command, globalFlags, Misuse } from "./command.ts";
import { commands } from "./commands.ts";
import { makeTerminal, tellFault } from "./terminal.ts";

const DONE = 0;
const FAILED = 1;
const MISUSED = 2;

function find(words: readonly string[]): readonly [Command, readonly string[]] | undefined {
  for (const length of [2, 1]) {
    const command = commands.find((c) => c.path === words.slice(0, length).join(" "));
    if (command) return [command, words.slice(length)];
  }
  return undefined;
}

async function usage(command: Command): Promise<string> {
  const flags = { ...command.flags, ...globalFlags };
  const rows = Object.entries(flags).map(([name, { type, short, doc }]) => [
    `${short ? `-${short}, ` : ""}--${name}${type === "string" ? " VALUE" : ""}`,
    doc,
  ]);
  const width = Math.max(...rows.map(([name = ""]) => name.length));
  const lines = rows.map(([name = "", doc]) => `  ${name.padEnd(width)}  ${doc}`);
  const settings = command.settings ? `\n\nSettings (environment):\n${await command.settings()}` : "";
  return `millrace ${command.path} ${command.args}\n\n${command.doc}\n\n${lines.join("\n")}${settings}`;
}

function overview(): string {
  const width = Math.max(...commands.map((c) => `${c.path} ${c.args}`.length));
  const lines = commands.map((c) => `  ${`${c.path} ${c.args}`.padEnd(width)}  ${c.doc.split(/\.( |$)/)[0]}`);
  return `millrace COMMAND\n\n${lines.join("\n")}\n\nmillrace COMMAND --help tells more.`;
}

async function run(argv: readonly string[]): Promise<number> {
  const words = argv.filter((word) => !word.startsWith("-"));
  const found = find(words);
  const json = argv.includes("--json");
  if (!found) {
    const asked = words.length > 0 && !argv.includes("--help");
    if (asked) process.stderr.write(`millrace: there is no command "${words.slice(0, 2).join(" ")}"\n\n`);
    process[asked ? "stderr" : "stdout"].write(`${overview()}\n`);
    return asked || !argv.length ? MISUSED : DONE;
  }
  const [command] = found;
  try {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(`${await usage(command)}\n`);
      return DONE;
    }
    const { flags, args } = read(command, argv);
    const terminal = makeTerminal(json);
    await command.run({ args, flags, terminal, env: process.env });
    return terminal.failed ? FAILED : DONE;
  } catch (thrown) {
    if (thrown instanceof Misuse) {
      process.stderr.write(`millrace ${command.path}: ${thrown.message}\n\n${await usage(command)}\n`);
      return MISUSED;
    }
    tellFault(thrown, json);
    return FAILED;
  }
}

function read(command: Command, argv: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries({ ...command.flags, ...globalFlags }).map(([name, { doc: _, ...option }]) => [name, option]),
  );
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (thrown) {
    throw new Misuse(Fault.from(thrown).message);
  }
  const args = parsed.positionals.slice(command.path.split(" ").length);
  const wanted = command.args.split(" ").filter(Boolean);
  const needed = wanted.filter((word) => !word.startsWith("[")).length;
  const missing = wanted[args.length];
  if (args.length < needed) throw new Misuse(`${missing} is missing`);
  if (args.length > wanted.length && !wanted.at(-1)?.includes("…"))
    throw new Misuse(`"${args[wanted.length]}" is one word too many`);
  return { args, flags: parsed.values as Record<string, string | boolean | undefined> };
}

// A reader that went away (`millrace query … | head`) is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? DONE : FAILED));
process.exitCode = await run(process.argv.slice(2));
// Sockets and timers of a client call are of no use any more; a server command ends only when it was told to.
process.stdout.write("", () => process.exit());
