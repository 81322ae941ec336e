/** CPU time of this process and everything below it, each by what it is called. Linux. */
import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";

/** Of `utime` and `stime`: USER_HZ is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly ms: number;
}

/** Milliseconds of user and system time by name, `nameOf` told the words of its command line; those that ended are missing. */
export async function cpuByName(nameOf: (words: readonly string[]) => string): Promise<Map<string, number>> {
  const all = await processes();
  const below = new Set([process.pid]);
  for (let before = 0; before !== below.size; ) {
    before = below.size;
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid);
  }
  const used = new Map<string, number>();
  for (const { pid, ms } of all) {
    if (!below.has(pid)) continue;
    const words = await commandLine(pid);
    if (words.length === 0) continue;
    const name = pid === process.pid ? "this process" : nameOf([basename(words[0] as string), ...words.slice(1)]);
    used.set(name, (used.get(name) ?? 0) + ms);
  }
  return used;
}

async function processes(): Promise<Process[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const read = pids.map(async (pid): Promise<Process | undefined> => {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    // Behind the name, which may hold anything: state, parent, …, utime (12th), stime (13th).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields.length < 13) return undefined;
    return { pid: Number(pid), parent: Number(fields[1]), ms: (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK };
  });
  return (await Promise.all(read)).filter((one) => one !== undefined);
}

async function commandLine(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0").filter(Boolean);
}
