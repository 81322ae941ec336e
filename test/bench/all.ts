/** Runs every bench, one after the other, each in a process of its own: `npm run bench`. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const NOT_BENCHES = ["all.ts", "report.ts"];
const LIMIT_MS = 600_000;

let failed = 0;
for (const file of readdirSync(import.meta.dirname).filter(
  (name) => name.endsWith(".ts") && !NOT_BENCHES.includes(name),
)) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, file)], {
    stdio: "inherit",
    timeout: LIMIT_MS,
  });
  if (status !== 0) failed += 1;
  process.stdout.write("\n");
}
process.exitCode = failed ? 1 : 0;
