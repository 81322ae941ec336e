/** Blobs in a stream: chunks under the digest, then a head; a put that was cut short is overwritten by the next. */
import { createHash } from "node:crypto";
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { Fault } from "../../kit/fault.ts";
import { checkDigest, checkSize, MAX_BLOB_BYTES } from "../keys.ts";
import type { Blobs } from "../ports.ts";
import type { Link } from "./link.ts";
import { DiscardPolicy, ensureStream } from "./stores.ts";

const CHUNK_BYTES = 256 * 1_024;
const IN_FLIGHT = 8;

export async function openBlobs(link: Link, bucket: string): Promise<Blobs> {
  const stream = `millrace_blobs_${bucket}`;
  const subject = `millrace.blobs.${bucket}`;
  await ensureStream(link, {
    name: stream,
    subjects: [`${subject}.>`],
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.Old,
    // Blobs never change, so any replica that has one may answer.
    allow_direct: true,
  });
  const head = (digest: string) => `${subject}.${digest}`;
  const part = (digest: string, chunk: number) => `${head(digest)}.${chunk}`;
  const read = (last_by_subj: string) =>
    link.ask(async () => {
      try {
        return (await link.jsm.direct.getMessage(stream, { last_by_subj })) ?? undefined;
      } catch (thrown) {
        const absent = thrown instanceof JetStreamApiError && thrown.code === JetStreamApiCodes.NoMessageFound;
        if (absent) return undefined;
        throw thrown;
      }
    });

  const blobs: Blobs = {
    async put(bytes) {
      checkSize(bytes, MAX_BLOB_BYTES, "the blob");
      const digest = createHash("sha256").update(bytes).digest("hex");
      if (await blobs.has(digest)) return digest;
      const chunks = Math.ceil(bytes.byteLength / CHUNK_BYTES);
      await inParallel(chunks, async (chunk) => {
        const body = bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
        await link.ask(() => link.js.publish(part(digest, chunk), body));
      });
      await link.ask(() => link.js.publish(head(digest), String(chunks)));
      return digest;
    },

    async get(digest) {
      checkDigest(digest);
      const found = await read(head(digest));
      if (!found) throw new Fault("not_found", `no blob ${digest} in ${bucket}`);
      const chunks = Number(new TextDecoder().decode(found.data));
      const damaged = () =>
        new Fault("internal", `blob ${digest} in ${bucket} no longer matches its digest: it is damaged`);
      if (!Number.isInteger(chunks) || chunks > Math.ceil(MAX_BLOB_BYTES / CHUNK_BYTES)) throw damaged();
      const parts: Uint8Array[] = [];
      await inParallel(chunks, async (chunk) => {
        parts[chunk] = (await read(part(digest, chunk)))?.data ?? new Uint8Array();
      });
      const bytes = Buffer.concat(parts);
      if (createHash("sha256").update(bytes).digest("hex") !== digest) throw damaged();
      return bytes;
    },

    async has(digest) {
      checkDigest(digest);
      return (await read(head(digest))) !== undefined;
    },

    async delete(digest) {
      checkDigest(digest);
      await link.ask(() => link.jsm.streams.purge(stream, { filter: head(digest) }));
      await link.ask(() => link.jsm.streams.purge(stream, { filter: `${head(digest)}.>` }));
    },
  };
  return blobs;
}

/** Runs `work` for 0 … count − 1, `IN_FLIGHT` at once; the first failure is thrown once all have ended. */
async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      await work(index);
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(count, IN_FLIGHT) }, lane));
  const failed = lanes.find((end) => end.status === "rejected");
  if (failed) throw failed.reason;
}
