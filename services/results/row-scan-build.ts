/** Compiles row-scan.wat into row-scan-bytes.ts. After a change: `node services/results/row-scan-build.ts`. */
import { readFile, writeFile } from "node:fs/promises";
import wabt from "wabt";

/** The text of row-scan-bytes.ts for the source as it is now. Pure but for reading it. */
export async function buildRowScan(): Promise<string> {
  const compiler = await wabt();
  const source = await readFile(new URL("row-scan.wat", import.meta.url), "utf8");
  const parsed = compiler.parseWat("row-scan.wat", source, { simd: true });
  const lines = Buffer.from(parsed.toBinary({}).buffer)
    .toString("base64")
    .match(/.{1,112}/g) as string[];
  parsed.destroy();
  const text = lines.map((line) => `    "${line}",`).join("\n");
  return [
    "/** row-scan.wat as WebAssembly. Written by row-scan-build.ts; a test compares. */",
    `export const ROW_SCAN_BYTES = Buffer.from(\n  [\n${text}\n  ].join(""),\n  "base64",\n);\n`,
  ].join("\n");
}

if (import.meta.main) await writeFile(new URL("./row-scan-bytes.ts", import.meta.url), await buildRowScan());
