/** Guests written as WebAssembly text, from test/plugins, compiled and normalised as a published module would be. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import wabt from "wabt";
import { normaliseModule } from "../../services/registry/wasm.ts";

const compiler = await wabt();
const FEATURES = {
  exceptions: true,
  threads: true,
  multi_memory: true,
  memory64: true,
  reference_types: true,
  bulk_memory: true,
};

/** WebAssembly text as bytes. */
export function compileWat(text: string, name = "inline.wat"): Uint8Array {
  const parsed = compiler.parseWat(name, text, FEATURES);
  try {
    return parsed.toBinary({}).buffer;
  } finally {
    parsed.destroy();
  }
}

export interface WatModule {
  readonly digest: string;
  load(): Promise<Uint8Array>;
}

/** The same guest with 400 more exports, which do nothing but make its instances slow to start. */
export async function slowModule(name: string, maxPages = 256): Promise<WatModule> {
  const source = await readFile(new URL(`../plugins/${name}.wat`, import.meta.url), "utf8");
  const bytes = normaliseModule(compileWat(slowed(source)), { maxPages });
  return { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes };
}

export const slowed = (text: string): string =>
  text.replace(/\)\s*$/, `${Array.from({ length: 400 }, (_, i) => `(func (export "slow${i}"))`).join("")})`);

/** A guest of test/plugins by its name, as it was written: `echo` is test/plugins/echo.wat. */
export const watBytes = async (name: string): Promise<Uint8Array> =>
  compileWat(await readFile(new URL(`../plugins/${name}.wat`, import.meta.url), "utf8"), `${name}.wat`);

/** The same as it would be published. */
export async function watModule(name: string, maxPages = 256): Promise<WatModule> {
  const bytes = normaliseModule(await watBytes(name), { maxPages });
  return { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes };
}
