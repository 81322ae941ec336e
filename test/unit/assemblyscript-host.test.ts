/** AssemblyScript by its probe: every interface, each helper of a host function, a reused instance; the template. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers, describeReuse } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed } from "../harness/sandboxed.ts";

const PROBE = join(import.meta.dirname, "../plugins/probe-assemblyscript");
const TEMPLATE = join(import.meta.dirname, "../../plugins-sdk/assemblyscript/template");
const BUILD_TIMEOUT_MS = 60_000;

describeProbe("assemblyscript", {
  build: () => buildPlugin(PROBE),
  crash: { outcome: "guest_error", code: "aborted", message: /^Index out of range \(at .*\)$/ },
});
describeHelpers("assemblyscript", () => buildPlugin(PROBE));
describeSync("assemblyscript", () => buildPlugin(PROBE));
describeReuse("assemblyscript", () => buildPlugin(PROBE));

test("the template gives a row a minute", { timeout: BUILD_TIMEOUT_MS }, async () => {
  await using guest = await openSandboxed((await buildPlugin(TEMPLATE)).wasmPath);
  const window = { begin: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" };
  const { asked, json } = await guest.call("fetch", { config: { greeting: "hæ" }, ...window });
  expect(json).toEqual({ status: "ok" });
  const rows = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
  expect(rows).toHaveLength(60);
  expect(JSON.parse(rows[59] ?? "")).toEqual({ time: "2026-01-01T00:59:00Z", greeting: "hæ", minute: 59 });
});
