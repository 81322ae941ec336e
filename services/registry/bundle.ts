/**
 * A bundle, unpacked in memory: a gzipped tar that may hold a manifest, a module, static files and docs; nothing else.
 */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import { Fault, type Mistake } from "../kit/fault.ts";

export interface BundleLimits {
  readonly packedBytes: number;
  readonly unpackedBytes: number;
  readonly files: number;
  readonly pathBytes: number;
  readonly manifestBytes: number;
}
export const BUNDLE_LIMITS: BundleLimits = {
  packedBytes: 16 << 20,
  unpackedBytes: 64 << 20,
  files: 2_000,
  pathBytes: 200,
  manifestBytes: 256 << 10,
};

export const MANIFEST = "plugin.json";
export const MODULE = "plugin.wasm";
const FOLDERS = ["static/", "docs/"] as const;
/** More would hide the first. */
const MAX_MISTAKES = 50;
const WHOLE = "bundle";
/** A tar is made of these, and ends with empty ones. */
const BLOCK_BYTES = 512;

export interface Bundle {
  readonly manifest: Buffer;
  readonly module: Buffer;
  /** By path below `static/` and below `docs/`. */
  readonly staticFiles: ReadonlyMap<string, Buffer>;
  readonly docs: ReadonlyMap<string, Buffer>;
}

/**
 * Errors: `too_large` when packed, unpacked or counted it is over a limit; `invalid` with every mistake by its entry.
 */
export async function readBundle(packed: Uint8Array, limits: BundleLimits = BUNDLE_LIMITS): Promise<Bundle> {
  const { files, mistakes } = await unpack(packed, limits);
  const manifest = files.get(MANIFEST);
  const module = files.get(MODULE);
  for (const [path, file] of [[MANIFEST, manifest] as const, [MODULE, module] as const]) {
    if (!file)
      mistakes.push({ field: path, problem: "is missing from the root of the bundle", fix: packHint(path, files) });
  }
  if (manifest && manifest.byteLength > limits.manifestBytes) {
    const problem = `has ${manifest.byteLength} bytes`;
    mistakes.push({ field: MANIFEST, problem, fix: `keep it within ${limits.manifestBytes}` });
  }
  if (mistakes.length || !manifest || !module) throw Fault.invalid("the bundle cannot be used", mistakes);
  return { manifest, module, staticFiles: below(files, FOLDERS[0]), docs: below(files, FOLDERS[1]) };
}

/** The manifest's bytes alone, if they can be found: for a name to report a broken bundle under. */
export async function peekManifest(
  packed: Uint8Array,
  limits: BundleLimits = BUNDLE_LIMITS,
): Promise<Buffer | undefined> {
  const unpacked = await unpack(packed, limits).catch(() => undefined);
  return unpacked?.files.get(MANIFEST);
}

async function unpack(packed: Uint8Array, limits: BundleLimits) {
  const tar = await inflate(packed, limits);
  const files = new Map<string, Buffer>();
  const mistakes: Mistake[] = [];
  const add = (mistake: Mistake) => mistakes.length < MAX_MISTAKES && mistakes.push(mistake);
  let entries = 0;
  const parser = new Parser({
    onwarn: (code, message) => {
      // A damaged archive warns on every block; once is enough.
      const problem = `is damaged: ${String(message).replace(/^Error: /, "")}`;
      if (!mistakes.some((m) => m.field === WHOLE)) {
        add({
          field: WHOLE,
          problem: code === "TAR_BAD_ARCHIVE" ? problem : `${problem} (${code})`,
          fix: "pack it again",
        });
      }
    },
  });
  parser.on("entry", (entry: ReadEntry) => {
    entries += 1;
    const path = entry.path.replace(/^(\.\/)+/, "");
    const mistake = entries > limits.files ? undefined : judge(entry, path, files, limits);
    if (mistake) add(mistake);
    if (mistake || entries > limits.files || entry.type === "Directory") return void entry.resume();
    const parts: Buffer[] = [];
    entry.on("data", (part) => parts.push(part));
    files.set(path, Buffer.alloc(0));
    entry.on("end", () => files.set(path, Buffer.concat(parts)));
  });
  const ended = new Promise<void>((resolve) => parser.on("end", resolve));
  parser.end(tar);
  await ended;
  if (entries > limits.files) throw new Fault("too_large", `the bundle has more than ${limits.files} files`);
  return { files, mistakes };
}

async function inflate(packed: Uint8Array, limits: BundleLimits): Promise<Buffer> {
  if (packed.byteLength > limits.packedBytes) {
    throw new Fault("too_large", `the bundle has ${packed.byteLength} bytes; at most ${limits.packedBytes} are taken`);
  }
  const refuse = (problem: string, cause?: unknown) => {
    const mistake = { field: WHOLE, problem, fix: "send a gzipped tar: tar -czf plugin.tgz -C folder ." };
    return new Fault("invalid", Fault.invalid("the bundle cannot be used", [mistake]).message, {
      mistakes: [mistake],
      cause,
    });
  };
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) throw refuse(`is not gzip: it has ${packed.byteLength} other bytes`);
  let tar: Buffer;
  try {
    tar = await promisify(gunzip)(packed, { maxOutputLength: limits.unpackedBytes });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new Fault(
        "too_large",
        `the bundle unpacks to more than ${limits.unpackedBytes} bytes; unpacking was stopped`,
      );
    }
    throw refuse(`is damaged: ${(thrown as Error).message}`, thrown);
  }
  // The parser would inflate these again, without a limit.
  const [a, b, c, d] = tar;
  if ((a === 0x1f && b === 0x8b) || (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd)) {
    throw refuse("is compressed twice");
  }
  // The parser does not miss what is cut off between two entries.
  const end = tar.subarray(-BLOCK_BYTES);
  if (tar.byteLength % BLOCK_BYTES !== 0 || end.some((byte) => byte !== 0))
    throw refuse("is damaged: its end is missing");
  return tar;
}

/** What is wrong with one entry, if anything. */
function judge(
  { type, path: original }: ReadEntry,
  path: string,
  files: ReadonlyMap<string, Buffer>,
  limits: BundleLimits,
): Mistake | undefined {
  const wrong = (problem: string, fix: string): Mistake => ({ field: original, problem, fix });
  const parts = path.replace(/\/$/, "").split("/");
  if (Buffer.byteLength(original) > limits.pathBytes) {
    return { ...wrong("has too long a path", `at most ${limits.pathBytes} bytes`), field: `${original.slice(0, 80)}…` };
  }
  if (path.startsWith("/")) return wrong("has an absolute path", "pack paths below the plugin's folder");
  if (path.includes("\\")) return wrong("has a backslash in its path", "write paths with /");
  if ([...path].some((char) => char < " " || char === "\x7f"))
    return wrong("has a control character in its path", "rename the file");
  if (parts.includes("..")) return wrong('has ".." in its path', "pack paths below the plugin's folder");
  if (type === "Link" || type === "SymbolicLink") return wrong("is a link", "pack the file itself (tar -h)");
  if (type === "Directory") return undefined;
  if (type !== "File" && type !== "OldFile" && type !== "ContiguousFile") {
    return wrong(`is of type ${type}`, "pack plain files and folders only");
  }
  if (parts.some((part) => part === "" || part === "."))
    return wrong("has an empty part in its path", "rename the file");
  if (files.has(path)) return wrong("is there twice", "pack it once");
  if (path === MANIFEST || path === MODULE || FOLDERS.some((folder) => path.startsWith(folder))) return undefined;
  const lead = parts.length > 1 && [MANIFEST, MODULE].includes(parts.at(-1) as string);
  const fix = lead ? "pack the folder's content, not the folder: tar -czf plugin.tgz -C folder ." : "leave it out";
  return wrong(`is not part of a bundle, which holds ${MANIFEST}, ${MODULE}, static/ and docs/`, fix);
}

function packHint(path: string, files: ReadonlyMap<string, Buffer>): string {
  return files.size === 0 ? "pack it: tar -czf plugin.tgz -C folder ." : `add ${path} beside the other files`;
}

function below(files: ReadonlyMap<string, Buffer>, folder: string): Map<string, Buffer> {
  const found = [...files].filter(([path]) => path.startsWith(folder));
  return new Map(found.map(([path, file]) => [path.slice(folder.length), file]));
}
