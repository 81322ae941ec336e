/** Static files of a plugin version: from the blob store by digest, with ETag, ranges, and a bounded cache. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { PluginVersion, StaticFile } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault } from "../kit/fault.ts";
import { Refusal } from "./answers.ts";

const CACHE_BYTES = 64 << 20;
/** Larger files are read for each request, so that one of them does not empty the cache. */
const MAX_CACHED_BYTES = 8 << 20;

/** Blobs never change under their digest, so the cache needs no rule but its size; the least recently used go first. */
export function blobCache(read: (digest: string) => Promise<Uint8Array>, maxBytes = CACHE_BYTES): typeof read {
  const kept = new Map<string, Uint8Array>();
  const underway = new Map<string, Promise<Uint8Array>>();
  let bytes = 0;
  const keep = (digest: string, blob: Uint8Array) => {
    if (blob.length > Math.min(MAX_CACHED_BYTES, maxBytes)) return;
    kept.set(digest, blob);
    bytes += blob.length;
    for (const [oldest, old] of kept) {
      if (bytes <= maxBytes) break;
      kept.delete(oldest);
      bytes -= old.length;
    }
  };
  return async (digest) => {
    const cached = kept.get(digest);
    if (cached) {
      kept.delete(digest);
      kept.set(digest, cached);
      return cached;
    }
    const running = underway.get(digest);
    if (running) return running;
    const reading = read(digest);
    underway.set(digest, reading);
    try {
      const blob = await reading;
      keep(digest, blob);
      return blob;
    } finally {
      underway.delete(digest);
    }
  };
}

/** The file at a decoded path below the instance; a folder's is its `index.html`. By its exact name or not at all. */
export function findFile(version: PluginVersion, path: string): StaticFile | undefined {
  const wanted = path.endsWith("/") ? `${path}index.html` : path;
  return version.staticFiles.find((file) => `/${file.path}` === wanted);
}

/** GET and HEAD. Errors: `unimplemented` with status 405 for other methods; 416 for a range that is not there. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: StaticFile,
  read: (digest: string) => Promise<Uint8Array>,
  isPublic: boolean,
): Promise<FastifyReply> {
  const { method, headers } = request;
  if (method !== "GET" && method !== "HEAD") {
    const fault = new Fault("unimplemented", `${method} is not possible for a file; possible are GET, HEAD`);
    throw new Refusal(fault, { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const etag = `"${file.digest}"`;
  const size = Number(file.bytes);
  // Names stay while contents change with the version, so a browser asks each time and mostly hears 304.
  reply.headers({
    etag,
    "cache-control": isPublic ? "public, no-cache" : "private, no-cache",
    "accept-ranges": "bytes",
  });
  if (matches(headers["if-none-match"], etag)) return reply.code(304).send();
  reply.type(file.contentType || "application/octet-stream");
  const wholeWanted = headers["if-range"] !== undefined && headers["if-range"] !== etag;
  const range = wholeWanted ? undefined : parseRange(headers.range, size);
  if (range === "unsatisfiable") {
    const fault = new Fault("invalid", `range ${headers.range} is not within the ${size} bytes of the file`);
    throw new Refusal(fault, { status: 416, headers: { "content-range": `bytes */${size}` } });
  }
  if (range) reply.code(206).header("content-range", `bytes ${range.first}-${range.last}/${size}`);
  const { first, last } = range ?? { first: 0, last: size - 1 };
  if (method === "HEAD") return reply.header("content-length", String(last - first + 1)).send();
  const bytes = await read(file.digest);
  return reply.send(Buffer.from(bytes.buffer, bytes.byteOffset + first, last - first + 1));
}

const matches = (header: string | undefined, etag: string) =>
  (header ?? "").split(",").some((one) => one.trim() === "*" || one.trim().replace(/^W\//, "") === etag);

/**
 * One range of bytes; undefined for none. Several at once, another unit or a range that ends before it begins are
 * answered with the whole file, as HTTP allows.
 */
export function parseRange(header: string | undefined, size: number) {
  const [found, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (!found || (from === "" && to === "") || (from !== "" && to !== "" && Number(to) < Number(from))) return undefined;
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  return first > last ? ("unsatisfiable" as const) : { first, last };
}
