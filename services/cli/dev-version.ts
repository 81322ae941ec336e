/** A bundle under another version: what `plugin dev` publishes while an author works. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { create } from "tar";
import { MANIFEST, MODULE, readBundle } from "../registry/bundle.ts";

/** `1.0.0` → `1.0.0-dev.3` where -dev.1 and -dev.2 are published; a pre-release keeps its own name. */
export function nextDevVersion(version: string, published: readonly string[]): string {
  const stem = `${version}${version.includes("-") ? "." : "-"}dev.`;
  const taken = published.filter((one) => one.startsWith(stem)).map((one) => Number(one.slice(stem.length)));
  return `${stem}${Math.max(0, ...taken.filter(Number.isSafeInteger)) + 1}`;
}

export async function withVersion(bundle: Uint8Array, version: string): Promise<Buffer> {
  const { manifest, module, staticFiles, docs } = await readBundle(bundle);
  const json = { ...(JSON.parse(manifest.toString("utf8")) as object), version };
  const below = (folder: string, files: ReadonlyMap<string, Buffer>) =>
    [...files].map(([path, bytes]): [string, Buffer] => [`${folder}/${path}`, bytes]);
  const files: [string, Buffer][] = [
    [MANIFEST, Buffer.from(JSON.stringify(json, null, 2))],
    [MODULE, module],
    ...below("static", staticFiles),
    ...below("docs", docs),
  ];
  const stage = await mkdtemp(join(tmpdir(), "millrace-dev-"));
  try {
    for (const [path, bytes] of files) {
      await mkdir(dirname(join(stage, path)), { recursive: true });
      await writeFile(join(stage, path), bytes);
    }
    const packed = `${stage}/packed.tgz`;
    const names = files.map(([path]) => path);
    await create({ file: packed, cwd: stage, gzip: { level: 1 }, portable: true, mtime: new Date(0) }, names);
    return await readFile(packed);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}
