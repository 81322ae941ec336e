/** The guest that makes rows as fast as it can, with its schema declared and without, and its rows made here. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { packed } from "./bundle.ts";
import type { TestRegistry } from "./registry.ts";

const ROOT = join(import.meta.dirname, "../..");
const BEGIN_MS = Date.parse("2024-01-01T00:00:00Z");

/** Publishes `torrent`, and `torrent-inferred`: the same module, with columns that the first rows make. */
export async function publishTorrents({ call }: Pick<TestRegistry, "call">): Promise<void> {
  bundles ??= buildTorrents();
  for (const bundle of await bundles) {
    await call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  }
}

/** Compiled once in a process. */
let bundles: Promise<readonly Buffer[]> | undefined;

async function buildTorrents(): Promise<readonly Buffer[]> {
  const builder = pathToFileURL(join(ROOT, "plugins-sdk/c/build.js")).href;
  const { buildPlugin } = (await import(builder)) as { buildPlugin(folder: string): Promise<{ wasmPath: string }> };
  const folder = join(ROOT, "test/plugins/torrent");
  const wasm = await readFile((await buildPlugin(folder)).wasmPath);
  const manifest = JSON.parse(await readFile(join(folder, "plugin.json"), "utf8"));
  const { columns: _, ...fetch } = manifest.interfaces.fetch;
  const inferred = { ...manifest, name: "torrent-inferred", interfaces: { fetch } };
  return [manifest, inferred].map((one) =>
    packed([
      { path: "plugin.json", content: JSON.stringify(one) },
      { path: "plugin.wasm", content: wasm },
    ]),
  );
}

/** Rows of a window that begins with 2024, as the guest writes them. */
export function torrentRows(first: number, count: number): Buffer {
  const line = (i: number) => {
    const time = new Date(BEGIN_MS + (i % 86_400_000)).toISOString().replace("Z", "000Z");
    const name = `sensor-${String(i % 10_000).padStart(4, "0")}`;
    return `{"time":"${time}","id":${10_000_000 + i},"name":"${name}","value":${10 + (i % 90)}.25,"flag":true}\n`;
  };
  return Buffer.from(Array.from({ length: count }, (_, i) => line(first + i)).join(""));
}
