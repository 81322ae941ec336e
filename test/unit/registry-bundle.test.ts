/** Bundles that no packer would make, and what is said about them. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { BUNDLE_LIMITS, readBundle } from "../../services/registry/bundle.ts";
import { bundleOf, type Entry, moduleOf, packed, tarOf } from "../harness/bundle.ts";

const module = moduleOf("fetch");
const good: Entry[] = [
  { path: "plugin.json", content: "{}" },
  { path: "plugin.wasm", content: module },
];
const broken = async (bytes: Uint8Array, limits = BUNDLE_LIMITS) => {
  const fault = await readBundle(bytes, limits).then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(fault).toBeDefined();
  return fault as { code: string; message: string; mistakes: { field: string; problem: string; fix?: string }[] };
};

test("files are sorted into manifest, module, static files and docs; ./ in front and folders are fine", async () => {
  const bundle = await readBundle(
    packed([
      { path: "./", type: "Directory" },
      { path: "./plugin.json", content: "{}" },
      { path: "./plugin.wasm", content: module },
      { path: "static/", type: "Directory" },
      { path: "static/a/b.css", content: "x" },
      { path: "docs/é.md", content: "y" },
      { path: "static/empty", content: "" },
    ]),
  );
  expect(bundle.manifest.toString()).toBe("{}");
  expect(bundle.module.equals(Buffer.from(module))).toBe(true);
  expect([...bundle.staticFiles.keys()]).toEqual(["a/b.css", "empty"]);
  expect([...bundle.docs.keys()]).toEqual(["é.md"]);
});

const refused: readonly (readonly [string, Entry, string, string])[] = [
  ["a path upwards", { path: "static/../../etc/passwd", content: "x" }, "static/../../etc/passwd", '".."'],
  ["an absolute path", { path: "/etc/passwd", content: "x" }, "/etc/passwd", "absolute"],
  ["a backslash", { path: "static\\x", content: "x" }, "static\\x", "backslash"],
  ["a symbolic link", { path: "static/l", type: "SymbolicLink", linkpath: "/etc/passwd" }, "static/l", "link"],
  ["a hard link", { path: "static/l", type: "Link", linkpath: "plugin.json" }, "static/l", "link"],
  ["a device", { path: "static/d", type: "CharacterDevice" }, "static/d", "CharacterDevice"],
  ["a pipe", { path: "static/p", type: "FIFO" }, "static/p", "FIFO"],
  ["the same file twice", { path: "./plugin.json", content: "{}" }, "./plugin.json", "twice"],
  ["a file beside", { path: "secrets.txt", content: "x" }, "secrets.txt", "not part of a bundle"],
  ["a control character", { path: "static/a\nb", content: "x" }, "static/a\nb", "control"],
  ["an empty part", { path: "static//b", content: "x" }, "static//b", "empty part"],
];
test.each(refused)("%s is refused by its name", async (_, entry, field, problem) => {
  const fault = await broken(packed([...good, entry]));
  expect(fault.code).toBe("invalid");
  expect(fault.mistakes).toHaveLength(1);
  expect(fault.mistakes[0]?.field).toBe(field);
  expect(fault.mistakes[0]?.problem).toContain(problem);
  expect(fault.mistakes[0]?.fix).toBeTruthy();
});

test("all mistakes are told at once, the missing files among them", async () => {
  const fault = await broken(
    packed([{ path: "../x" }, { path: "/y" }, { path: "weather/plugin.json", content: "{}" }]),
  );
  expect(fault.mistakes.map((m) => m.field)).toEqual([
    "../x",
    "/y",
    "weather/plugin.json",
    "plugin.json",
    "plugin.wasm",
  ]);
  expect(fault.mistakes[2]?.fix).toContain("not the folder");
});

test("a bomb is not unpacked past the limit", async () => {
  const bomb = gzipSync(tarOf([...good, { path: "static/zeros", content: Buffer.alloc(80 << 20) }]));
  expect(bomb.byteLength).toBeLessThan(1 << 20);
  const before = process.memoryUsage().arrayBuffers;
  const fault = await broken(bomb);
  expect(fault).toMatchObject({ code: "too_large" });
  expect(fault.message).toContain("unpacking was stopped");
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(160 << 20);
});

test("a bundle packed twice is not unpacked twice", async () => {
  const fault = await broken(gzipSync(bundleOf()));
  expect(fault.mistakes[0]?.problem).toBe("is compressed twice");
});

test("limits on size, count and path length", async () => {
  const small = { ...BUNDLE_LIMITS, packedBytes: 100, files: 3, pathBytes: 20, manifestBytes: 4 };
  expect(await broken(Buffer.alloc(101), small)).toMatchObject({ code: "too_large" });
  const roomy = { ...small, packedBytes: 1 << 20 };
  const many = [...good, { path: "static/a" }, { path: "static/b" }];
  expect(await broken(packed(many), roomy)).toMatchObject({ code: "too_large" });
  const long = await broken(packed([...good, { path: `static/${"a".repeat(30)}` }]), roomy);
  expect(long.mistakes[0]?.problem).toContain("too long a path");
  const heavy = await broken(packed([{ path: "plugin.json", content: "[1,2]" }, good[1] as Entry]), roomy);
  expect(heavy.mistakes[0]).toMatchObject({ field: "plugin.json", problem: "has 5 bytes" });
});

test("what is not a whole gzipped tar is told apart", async () => {
  const whole = packed(good);
  const says = async (bytes: Uint8Array) => (await broken(bytes)).mistakes[0]?.problem ?? "";
  expect(await says(new Uint8Array())).toContain("not gzip");
  expect(await says(Buffer.from("PK\x03\x04zip"))).toContain("not gzip");
  expect(await says(whole.subarray(0, whole.byteLength / 2))).toContain("damaged");
  expect(await says(gzipSync("hello"))).toContain("damaged");
  const tar = tarOf(good);
  expect(await says(gzipSync(tar.subarray(0, 1_100)))).toContain("damaged");
});
