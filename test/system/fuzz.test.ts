/**
 * Ten thousand mutated modules through publishing's checks, plain and metered, and where they pass through a call; some
 * of them, and mutated bundles, through the registry itself: no crash, no hang, no answer but a plain one.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { BLOBS } from "../../proto/names.ts";
import type { GuestCall, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { inspectModule, normaliseModule } from "../../services/registry/wasm.ts";
import { packed } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { call, open, redispatch } from "../harness/guest-call.ts";
import { seeded } from "../harness/random.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";
import { compileWat } from "../harness/wat.ts";

const MODULES = 10_000;
const SEED = 20_260_725;
/** Calls are made within this time; every module is checked. */
const CALLS_MS = 40_000;
const MAX_PAGES = 64;
/** No check may take longer, however the bytes lie. */
const CHECK_MS = 2_000;
/** Through the registry: modules in whole bundles, and bundles whose archive is mutated. */
const PUBLISHED = 600;
const PUBLISH_MS = 30_000;
/** Instructions of a metered one. */
const MAX_GAS = 1e6;
const CALL = { deadlineMs: 300, cpuMs: 25, memoryMaxPages: MAX_PAGES, maxHostCalls: 50 } as const;
const PLUGINS = new URL("../plugins/", import.meta.url);

type Random = () => number;
const below = (random: Random, limit: number) => Math.floor(random() * limit);

/** `as`: what the first of its functions is exported as, for a manifest that names it. */
async function sources(as?: string): Promise<Uint8Array[]> {
  const files = (await readdir(PLUGINS, { recursive: true })).filter((file) => file.endsWith(".wat")).sort();
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, PLUGINS), "utf8")));
  const named = texts.map((text) =>
    as ? text.replace(/(\(func[^()]*)\(export "[^"]+"\)/, `$1(export "${as}")`) : text,
  );
  return named.map((text, i) => compileWat(text, files[i]));
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

interface Checked {
  readonly module: Uint8Array;
  readonly exports: readonly string[];
}

/** The normalised module, or undefined when it is refused as it should be. */
function checked(bytes: Uint8Array, metered: boolean): Checked | undefined {
  const startedMs = performance.now();
  try {
    const facts = inspectModule(bytes);
    const module = normaliseModule(bytes, { maxPages: MAX_PAGES, metered });
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
  let [valid, called, withMeter] = [0, 0, 0];
  for (let i = 0; i < MODULES; i += 1) {
    const bytes = mutate(originals[i % originals.length] as Uint8Array, originals, random);
    const plain = checked(bytes, false);
    if (!plain) continue;
    valid += 1;
    // Whatever the meter does not know it refuses, and what it has written must be good.
    const metered = checked(bytes, true);
    const found = metered && i % 2 ? metered : plain;
    withMeter += Number(found === metered);
    const name = found.exports[below(random, found.exports.length)];
    if (name === undefined || performance.now() > untilMs) continue;
    called += 1;
    const gas = found === metered ? { maxGas: MAX_GAS } : {};
    const end = await tried(sandbox, { ...base, ...gas }, found.module, name);
    ends[end] = (ends[end] ?? 0) + 1;
  }
  const counts = Object.entries(ends).map(([end, count]) => `${end} ${count}`);
  process.stdout.write(
    `${MODULES} modules, ${valid} valid, ${withMeter} metered, ${called} called: ${counts.join(", ")}\n`,
  );
  expect(valid).toBeGreaterThan(MODULES / 100);
  expect(withMeter).toBeGreaterThan(valid / 10);
  expect(called).toBeGreaterThan(0);
  expect(Object.keys(ends)).not.toContain("internal");
  expect((await redispatch(sandbox, { ...base, deadlineMs: 20_000 })).outcome).toBe("ok");
}, 90_000);

/** The digest of the module as it is stored, or the code of the refusal. */
async function publish(registry: TestRegistry, bundle: Uint8Array): Promise<{ digest: string } | { refused: string }> {
  const startedMs = performance.now();
  try {
    const request = { bundle: Buffer.from(bundle), validateOnly: false };
    const { version } = await registry.call(PluginsService.publishPlugin, request, 20_000);
    return { digest: version?.moduleDigest ?? "" };
  } catch (thrown) {
    return { refused: Fault.from(thrown).code };
  } finally {
    expect(performance.now() - startedMs).toBeLessThan(10 * CHECK_MS);
  }
}

test(`${PUBLISHED} mutated bundles are published or refused by the registry, and what it stored runs and ends`, async () => {
  const random = seeded(SEED);
  const originals = await sources("fetch");
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus, { defaultGrants: "manifest" });
  const blobs = await ground.bus.blobs(BLOBS);
  await using sandbox = await open(1, 8);
  const base = await call("echo", "run", CALL);
  const ends: Record<string, number> = {};
  const count = (end: string) => {
    ends[end] = (ends[end] ?? 0) + 1;
  };
  const untilMs = performance.now() + PUBLISH_MS;
  for (let i = 0; i < PUBLISHED && performance.now() < untilMs; i += 1) {
    const manifest = {
      ...{
        name: "fuzz",
        version: `0.0.${i}`,
        abi: 1,
        description: "d",
        author: "a",
        license: "MIT",
        metered: i % 3 === 0,
      },
      interfaces: {
        fetch: { columns: { time: "timestamp" }, datetime: "time", chunk: "1d", begin: "2024-01-01T00:00:00Z" },
      },
    };
    const original = originals[i % originals.length] as Uint8Array;
    const files = { "plugin.json": Buffer.from(JSON.stringify(manifest)), "plugin.wasm": Buffer.from(original) };
    // One in four: the module as it is, but the archive, unpacked or packed, or the manifest is not.
    const what = i % 8;
    if (what > 1) files["plugin.wasm"] = Buffer.from(mutate(original, originals, random));
    if (what === 0) files["plugin.json"] = Buffer.from(mutate(files["plugin.json"], originals, random));
    const bundle = packed(Object.entries(files).map(([path, content]) => ({ path, content })));
    const published = await publish(registry, what === 1 ? mutate(bundle, originals, random) : bundle);
    if ("refused" in published) count(`refused as ${published.refused}`);
    else {
      const module = await blobs.get(published.digest);
      const gas = manifest.metered ? { maxGas: MAX_GAS } : {};
      count(await tried(sandbox, { ...base, ...gas }, module, "fetch"));
    }
  }
  const counts = Object.entries(ends).map(([end, times]) => `${end} ${times}`);
  process.stdout.write(`through the registry: ${counts.join(", ")}\n`);
  const refusals = Object.keys(ends).filter((end) => end.startsWith("refused"));
  expect(refusals.filter((end) => !["refused as invalid", "refused as too_large"].includes(end))).toEqual([]);
  expect(Object.keys(ends).length).toBeGreaterThan(refusals.length);
  expect((await redispatch(sandbox, { ...base, deadlineMs: 20_000 })).outcome).toBe("ok");
}, 90_000);
