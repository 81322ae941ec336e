/** Compiles the .wat files here into kernel-bytes.ts: `node services/executor/kernel-build.ts` after a change. */
import { readFile, writeFile } from "node:fs/promises";
import wabt from "wabt";

/** The text of kernel-bytes.ts for the sources as they are now. Pure but for reading them. */
export async function buildKernel(): Promise<string> {
  return [
    "/** kernel.wat, carrier.wat and warm-up.wat as WebAssembly. Written by kernel-build.ts; a test compares. */",
    await compile("kernel.wat", "KERNEL_BYTES"),
    await compile("carrier.wat", "CARRIER_BYTES"),
    await compile("warm-up.wat", "WARM_UP_BYTES"),
  ].join("\n");
}

async function compile(file: string, name: string): Promise<string> {
  const compiler = await wabt();
  const source = await readFile(new URL(file, import.meta.url), "utf8");
  const parsed = compiler.parseWat(file, source, { bulk_memory: true, reference_types: true });
  const lines = Buffer.from(parsed.toBinary({}).buffer)
    .toString("base64")
    .match(/.{1,112}/g) as string[];
  parsed.destroy();
  const text = lines.map((line) => `    "${line}",`).join("\n");
  return `export const ${name} = Buffer.from(\n  [\n${text}\n  ].join(""),\n  "base64",\n);\n`;
}

if (import.meta.main) await writeFile(new URL("./kernel-bytes.ts", import.meta.url), await buildKernel());
