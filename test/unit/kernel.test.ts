/** The kernel's bytes are its source, and it keeps a guest to its own region whatever the guest writes there. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Arena } from "../../services/executor/arena.ts";
import { linkKernel, RESET } from "../../services/executor/kernel.ts";
import { buildKernel } from "../../services/executor/kernel-build.ts";
import { seeded } from "../harness/random.ts";

test("kernel-bytes.ts is kernel.wat, compiled", async () => {
  const file = new URL("../../services/executor/kernel-bytes.ts", import.meta.url);
  expect(await readFile(file, "utf8")).toBe(await buildKernel());
});

/** An arena of 256 KiB, all of it marked. */
function ground() {
  const arena = new Arena();
  arena.take(262_144);
  return { memory: arena.memory, bytes: arena.bytes.fill(0xaa) };
}

type Export = (...args: (number | bigint)[]) => number | bigint;

test("20,000 hostile calls, headers and lists forged: not a byte beyond the region is read or written", () => {
  const { memory, bytes } = ground();
  const [base, limit] = [65_536, 16_384];
  const refuse = () => {
    throw new Error("refused");
  };
  const spans: number[][] = [];
  const keep = (...span: number[]) => {
    spans.push(span);
    return 0;
  };
  const lane = {
    ...{ memory, grow: refuse, refuse, host_call: keep, http_request: keep, http_headers: () => 0 },
    ...{ random: () => 0, log: (_: number, ...span: number[]) => keep(...span), config_get: keep, var_get: keep },
    var_set: keep,
  };
  const kernel = linkKernel(lane) as unknown as Record<string, Export>;
  const run = (name: string, ...args: (number | bigint)[]) => {
    try {
      return kernel[name]?.(...args);
    } catch {
      return undefined;
    }
  };
  const random = seeded(7);
  const whole = (below: number) => Math.floor(random() * below);
  let handles: bigint[] = [];
  const address = () => {
    if (handles.length && random() < 0.5) return handles[whole(handles.length)] as bigint;
    const wild = [-1n, 2n ** 63n, 0xffff_fff8n, BigInt(whole(2 ** 32)), BigInt(limit), 0n, -8n];
    return random() < 0.1 ? (wild[whole(wild.length)] as bigint) : BigInt(whole(limit / 8) * 8);
  };
  const forge = () => (BigInt(whole(2 ** 32)) << 32n) | BigInt(random() < 0.5 ? whole(limit) : whole(2 ** 32));
  for (let round = 0; round < 200; round += 1) {
    bytes.fill(0, base, base + limit);
    handles = [];
    run("tell", RESET, base, limit, 100);
    for (let step = 0; step < 100; step += 1) {
      const one = whole(8);
      if (one === 0) {
        const handle = run("alloc", BigInt(whole(random() < 0.1 ? 2 ** 31 : 2_000)));
        if (typeof handle === "bigint") handles.push(handle);
      }
      if (one === 1) run("free", address());
      else if (one <= 3) run("store_u64", address() - (random() < 0.5 ? 16n : 0n), forge());
      else if (one === 4) run("host_call", address(), address());
      else if (one === 5) run("output_set", address(), BigInt(whole(4_000)));
      else if (one === 6)
        expect(run("load_u64", address())).not.toBe(-6148914691236517206n); // 0xaaaa…
      else run("length", address());
    }
  }
  expect(bytes.subarray(0, base).every((byte) => byte === 0xaa)).toBe(true);
  expect(bytes.subarray(base + limit).every((byte) => byte === 0xaa)).toBe(true);
  expect(spans.length).toBeGreaterThan(10);
  for (const span of spans) {
    for (let i = 0; i + 1 < Math.min(span.length, 4); i += 2) {
      expect((span[i] as number) + (span[i + 1] as number)).toBeLessThanOrEqual(limit);
    }
  }
});
