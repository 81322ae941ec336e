/** Bodies of answers: decompressed and counted while they stream, so that nothing is held beyond the limit. */
import { pipeline, type Readable } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import type { Dispatcher } from "undici";
import { Fault } from "../../kit/fault.ts";
import { MAX_HTTP_BODY_BYTES } from "./http-request.ts";

/** 8 MiB, what RFC 9659 lets servers use; the format itself would allow 128 MiB of memory for one answer. */
const ZSTD_WINDOW_LOG = 23;

const decoders: Readonly<Record<string, () => NodeJS.ReadWriteStream>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }),
};

export const ACCEPT_ENCODING = Object.keys(decoders).join(", ");

/**
 * Both what comes over the wire and what it becomes are counted: a bomb is cut at the limit, and so is a stream that
 * never becomes anything. `count` is told of every decompressed piece. Errors: `too_large`, what `count` throws,
 * `unavailable` for an encoding that was not asked for.
 */
export async function readBody(
  method: string,
  { headers, body }: Dispatcher.ResponseData,
  count: (bytes: number) => void,
): Promise<Buffer> {
  const encoding = String(headers["content-encoding"] ?? "identity")
    .trim()
    .toLowerCase();
  const decoder = decoders[encoding];
  if (!decoder && encoding !== "identity") {
    drop(body);
    throw new Fault("unavailable", `the answer has the content-encoding ${JSON.stringify(encoding.slice(0, 100))}`);
  }
  const wire = body as AsyncIterable<Buffer>;
  const plain: AsyncIterable<Buffer> =
    decoder && method !== "HEAD" ? (pipeline(bounded(wire), decoder(), () => {}) as unknown as Readable) : wire;
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of bounded(plain)) {
      count(chunk.byteLength);
      chunks.push(chunk);
    }
  } finally {
    drop(body);
  }
  return Buffer.concat(chunks);
}

/** Lets go of an answer that is not read. */
export function drop(body: Dispatcher.ResponseData["body"]): void {
  body.on("error", () => {}).destroy();
}

async function* bounded(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > MAX_HTTP_BODY_BYTES) {
      throw new Fault("too_large", `the answer is larger than ${MAX_HTTP_BODY_BYTES} bytes`);
    }
    yield chunk;
  }
}

export function textOrBase64(body: Uint8Array): { body: string } | { body_base64: string } {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { body_base64: Buffer.from(body).toString("base64") };
  }
}
