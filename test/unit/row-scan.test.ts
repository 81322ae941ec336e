/** The scanner of rows says what the slow and obvious functions say, for whatever bytes. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { scanRows, scanSlowly } from "../../services/results/row-scan.ts";
import { buildRowScan } from "../../services/results/row-scan-build.ts";
import { seeded } from "../harness/random.ts";

test("row-scan-bytes.ts is row-scan.wat, compiled", async () => {
  const file = new URL("../../services/results/row-scan-bytes.ts", import.meta.url);
  expect(await readFile(file, "utf8")).toBe(await buildRowScan());
});

test.each([
  ["", 0],
  ["\n", 0],
  ["{}\n", 1],
  ["{}", 1],
  ["{}\n\n{}\n", 2],
  ["{}\r\n{}\r\n", 2],
  [" \n\t\n{}\n", 1],
  ['{"n":1234567890123456789}\n', 1],
  ['{"n":123456789012345678}\n', 1],
  ['{"t":"2024-01-01T10:30:00"}\n', 1],
  ['{"t":"2024-01-01T10:30:00Z"}\n', 1],
  ['{"t":"2024-01-01T10:30:00.000001 "}\n', 1],
  ['{"t":"2024-01-01T10:30+02:00"}\n', 1],
])("%j", (text, rows) => {
  const seen = scanRows(Buffer.from(text));
  expect(seen).toEqual(scanSlowly(Buffer.from(text)));
  expect(seen.rows).toBe(rows);
});

test.each([1, 2, 3])("random bytes, seed %i", (seed) => {
  const random = seeded(seed);
  const alphabets = ['0123::..  "Z7\n', "0123456789x", '{}\n\r\t "', "\u0000\u00ff\u0080\n a:1"];
  for (let round = 0; round < 4_000; round += 1) {
    const alphabet = Buffer.from(alphabets[round % alphabets.length] as string, "latin1");
    const bytes = new Uint8Array(Math.floor(random() * 90) + 1);
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = alphabet[Math.floor(random() * alphabet.length)] as number;
    if (random() < 0.9) bytes[bytes.length - 1] = 0x0a;
    expect([Buffer.from(bytes).toString("latin1"), scanRows(bytes)]).toEqual([
      Buffer.from(bytes).toString("latin1"),
      scanSlowly(bytes),
    ]);
  }
});

test("a large piece, and one that is too large for the scanner", () => {
  const line = Buffer.from('{"time":"2024-01-01T00:00:00Z","n":12}\n');
  for (const count of [100_000, 500_000]) {
    const bytes = Buffer.alloc(line.length * count, line);
    expect(scanRows(bytes)).toEqual({ rows: count, longDigits: false, naiveTime: false });
  }
});
