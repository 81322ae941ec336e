/** Languages by way of JavaScript: each recipe compiled by its own compiler, built, and run in the sandbox. */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { BUNDLE_LIMITS } from "../../services/registry/bundle.ts";
import { checkBundle } from "../../services/registry/publishing.ts";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const ROOT = join(import.meta.dirname, "../..");
const RECIPES = join(ROOT, "plugins-sdk/typescript/recipes");
const COMPILE_TIMEOUT_MS = 600_000;
/** 94 MB that nobody else needs: installed apart, as `.ci/run` does. */
const KOTLIN = process.env.KOTLIN_HOME ?? join(ROOT, ".cache/kotlin/node_modules/kotlin-compiler");
const kotlinIsThere = existsSync(join(KOTLIN, "lib")) && spawnSync("java", ["-version"]).status === 0;

/** The recipe's folder copied, compiled and built; its compilers are this checkout's. */
async function built(name: string, folder: string): Promise<string> {
  await cp(join(RECIPES, name), folder, {
    recursive: true,
    filter: (path) => !/\/(lib|build|node_modules)$/.test(path),
  });
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const env = { ...process.env, KOTLIN_HOME: KOTLIN };
  await promisify(execFile)("sh", ["compile.sh"], { cwd: folder, env, timeout: COMPILE_TIMEOUT_MS });
  const { path, wasmPath } = await buildPlugin(folder, { outDir: join(folder, "out") });
  expect((await checkBundle(new Uint8Array(await readFile(path)), BUNDLE_LIMITS)).exports).toContain("fetch");
  return wasmPath;
}

test("ReScript: rows out of a CSV, typed; failures with a code; a function", {
  timeout: COMPILE_TIMEOUT_MS,
}, async () => {
  await using work = await workFolder();
  await using guest = await openSandboxed(await built("rescript", join(work.path, "plugin")));
  const line = (station: string, time: string) => `${station};${time};-3.20;0.10;10;500;80.1;-6.0;270;14.40;30\r`;
  const body = ["Station/Location;Date;tre200s0", line("ZRH", "202601011200"), line("GVE", "202601011300"), "x;-"];
  const answer = { status: 200, headers: {}, url: "u", elapsed_ms: 1, body: body.join("\n") };
  const input = { config: { stations: ["ZRH", "GVE"] }, begin: "2026-01-01T12:00:00Z", end: "2026-01-01T13:00:00Z" };
  const { json, asked, error } = await guest.call("fetch", input, { http: () => answer });
  expect(error).toBeUndefined();
  expect(json).toEqual({ watermark: input.end });
  const rows = asked.filter(({ name }) => name === "emit").map(({ request }) => JSON.parse(request));
  const measured = { celsius: -3.2, rain_mm: 0.1, wind_kmh: 14.4 };
  expect(rows).toEqual([{ time: "2026-01-01T12:00:00Z", station: "ZRH", ...measured }]);
  const elsewhere = await guest.call("fetch", { ...input, config: { stations: ["SIO"] } }, { http: () => answer });
  expect(elsewhere.json).toEqual({ status: "no_data" });
  const wrong = await guest.call("fetch", input, { http: () => ({ ...answer, body: "<html>" }) });
  expect(wrong.error).toMatchObject({ code: "bad_answer", message: "the source has no line of a station" });
  const chill = (await guest.call("function:wind_chill", { celsius: 0, wind_kmh: 20 })).json as unknown;
  expect(chill).toBeCloseTo(-5.24, 1);
});

test.skipIf(!kotlinIsThere)(
  "Kotlin: moons where they were (skipped without java, and kotlin-compiler in .cache/kotlin or KOTLIN_HOME)",
  { timeout: COMPILE_TIMEOUT_MS },
  async () => {
    await using work = await workFolder();
    await using guest = await openSandboxed(await built("kotlin", join(work.path, "plugin")));
    const input = { config: {}, begin: "2024-01-01T00:00:00Z", end: "2024-02-01T00:00:00Z" };
    const { json, error } = await guest.call("fetch", input);
    expect(error).toBeUndefined();
    const moons = (json.rows ?? []) as unknown as { time: string; phase: string }[];
    expect(moons.map(({ phase }) => phase)).toEqual(["last_quarter", "new", "first_quarter", "full"]);
    const known = ["2024-01-04T03:30:00Z", "2024-01-11T11:57:00Z", "2024-01-18T03:53:00Z", "2024-01-25T17:54:00Z"];
    for (const [i, time] of known.entries()) {
      expect(Math.abs(Date.parse(moons[i]?.time ?? "") - Date.parse(time)) / 60_000).toBeLessThan(40);
    }
  },
);
