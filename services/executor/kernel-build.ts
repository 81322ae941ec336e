/** Compiles kernel.wat into kernel-bytes.ts; run it after a change: `node services/executor/kernel-build.ts`. */
import { readFile, writeFile } from "node:fs/promises";
import wabt from "wabt";

const source = new URL("./kernel.wat", import.meta.url);

/** The text of kernel-bytes.ts for the source as it is now. Pure but for reading it. */
export async function buildKernel(): Promise<string> {
  const compiler = await wabt();
  const parsed = compiler.parseWat("kernel.wat", await readFile(source, "utf8"), { bulk_memory: true });
  const lines = Buffer.from(parsed.toBinary({}).buffer)
    .toString("base64")
    .match(/.{1,112}/g) as string[];
  parsed.destroy();
  const text = lines.map((line) => `  "${line}",`).join("\n");
  return [
    "/** kernel.wat as WebAssembly. Written by kernel-build.ts; a test compares. */",
    `export const KERNEL_BYTES = Buffer.from(\n  [\n${text.replaceAll(/^/gm, "  ")}\n  ].join(""),\n  "base64",\n);\n`,
  ].join("\n");
}

if (import.meta.main) await writeFile(new URL("./kernel-bytes.ts", import.meta.url), await buildKernel());
