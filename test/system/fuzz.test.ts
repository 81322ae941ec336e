/** Ten thousand mutated modules through publishing's checks and, where they pass, through a call: no crash, no hang. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { GuestCall, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { inspectModule, normaliseModule } from "../../services/registry/wasm.ts";
import { call, open, redispatch } from "../harness/guest-call.ts";
import { seeded } from "../harness/random.ts";
import { compileWat } from "../harness/wat.ts";

const MODULES = 10_000;
const SEED = 20_260_725;
/** Calls are made within this time; every module is checked. */
const CALLS_MS = 40_000;
const MAX_PAGES = 64;
/** No check may take longer, however the bytes lie. */
const CHECK_MS = 2_000;
const CALL = { deadlineMs: 300, cpuMs: 25, memoryMaxPages: MAX_PAGES, maxHostCalls: 50 } as const;
const PLUGINS = new URL("../plugins/", import.meta.url);

type Random = () => number;
const below = (random: Random, limit: number) => Math.floor(random() * limit);

async function sources(): Promise<Uint8Array[]> {
  const files = (await readdir(PLUGINS, { recursive: true })).filter((file) => file.endsWith(".wat")).sort();
  return Promise.all(files.map(async (file) => compileWat(await readFile(new URL(file, PLUGINS), "utf8"), file)));
}

/** One to four changes of the kinds that break readers of binaries: bits, lengths, and pieces of other modules. */
function mutate(bytes: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  let mutated = Buffer.from(bytes);
  // Half of them in one small thing only: more of those are still modules.
  const gentle = random() < 0.5;
  const changes = gentle ? 1 : 1 + below(random, 4);
  for (let change = 0; change < changes; change += 1) {
    // Mostly behind the header: everybody finds a wrong header.
    const at = Math.min(mutated.length - 1, random() < 0.02 ? below(random, 8) : 8 + below(random, mutated.length - 8));
    const other = others[below(random, others.length)] as Uint8Array;
    const from = below(random, other.length);
    const piece = other.subarray(from, from + below(random, 64));
    switch (below(random, gentle ? 2 : 7)) {
      case 0:
        mutated[at] = (mutated[at] as number) ^ (1 << below(random, gentle ? 3 : 8));
        break;
      case 1:
        mutated[at] = below(random, 256);
        break;
      case 2:
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + below(random, 8))]);
        break;
      case 3:
        mutated = Buffer.concat([mutated.subarray(0, at), piece, mutated.subarray(at)]);
        break;
      case 4:
        mutated = Buffer.concat([mutated.subarray(0, at), piece, mutated.subarray(at + piece.length)]);
        break;
      case 5:
        // A number of five bytes, as lengths and counts may be.
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          Buffer.of(0xff, 0xff, 0xff, 0xff, 0x0f),
          mutated.subarray(at),
        ]);
        break;
      default:
        mutated[at] = [0x00, 0x7f, 0x80, 0xff, 0x0b, 0x41][below(random, 6)] as number;
    }
    if (mutated.length < 9) return mutated;
  }
  return mutated;
}

/** The normalised module, or undefined when it is refused as it should be. */
function checked(bytes: Uint8Array): { readonly module: Uint8Array; readonly exports: readonly string[] } | undefined {
  const startedMs = performance.now();
  try {
    const facts = inspectModule(bytes);
    const module = normaliseModule(bytes, { maxPages: MAX_PAGES });
    // What is stored must itself be found good.
    inspectModule(module);
    expect(Buffer.compare(normaliseModule(module, { maxPages: MAX_PAGES }), module)).toBe(0);
    return { module, exports: facts.exports.filter((e) => e.kind === "function").map((e) => e.name) };
  } catch (thrown) {
    if (!(thrown instanceof Fault) || !["invalid", "too_large"].includes(thrown.code)) throw thrown;
    return undefined;
  } finally {
    expect(performance.now() - startedMs).toBeLessThan(CHECK_MS);
  }
}

async function tried(sandbox: Sandbox, base: GuestCall, module: Uint8Array, name: string): Promise<string> {
  const digest = createHash("sha256").update(module).digest("hex");
  try {
    const guest = { ...base, module: { digest, load: async () => module }, export: name };
    return (await redispatch(sandbox, guest)).outcome;
  } catch (thrown) {
    return Fault.from(thrown).code;
  }
}

test(`${MODULES} mutated modules are refused or run, and end`, async () => {
  const random = seeded(SEED);
  const originals = await sources();
  await using sandbox = await open(2, 8);
  const base = await call("echo", "run", CALL);
  const ends: Record<string, number> = {};
  const untilMs = performance.now() + CALLS_MS;
  let [valid, called] = [0, 0];
  for (let i = 0; i < MODULES; i += 1) {
    const found = checked(mutate(originals[i % originals.length] as Uint8Array, originals, random));
    if (!found) continue;
    valid += 1;
    const name = found.exports[below(random, found.exports.length)];
    if (name === undefined || performance.now() > untilMs) continue;
    called += 1;
    const end = await tried(sandbox, base, found.module, name);
    ends[end] = (ends[end] ?? 0) + 1;
  }
  const counts = Object.entries(ends).map(([end, count]) => `${end} ${count}`);
  process.stdout.write(`${MODULES} modules, ${valid} valid, ${called} called: ${counts.join(", ")}\n`);
  expect(valid).toBeGreaterThan(MODULES / 100);
  expect(called).toBeGreaterThan(0);
  expect(Object.keys(ends)).not.toContain("internal");
  expect((await redispatch(sandbox, { ...base, deadlineMs: 20_000 })).outcome).toBe("ok");
}, 90_000);
