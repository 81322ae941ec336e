/** Blobs in SQLite, in chunks, so that a large one holds up neither the event loop nor other writes for long. */
import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { Fault } from "../../kit/fault.ts";
import { Semaphore } from "../../kit/lifecycle.ts";
import { checkDigest, checkSize, MAX_BLOB_BYTES } from "../keys.ts";
import type { Blobs } from "../ports.ts";
import type { Store } from "./store.ts";

const CHUNK_BYTES = 1_024 * 1_024;

export class EmbeddedBlobs implements Blobs {
  readonly #store: Store;
  readonly #bucket: string;
  /** A put spans several commits; a delete of the same blob must not fall between them. */
  readonly #changes = new Semaphore(1);

  constructor(store: Store, bucket: string) {
    this.#store = store;
    this.#bucket = bucket;
  }

  async put(bytes: Uint8Array): Promise<string> {
    checkSize(bytes, MAX_BLOB_BYTES, "the blob");
    const chunks = Math.ceil(bytes.byteLength / CHUNK_BYTES);
    const part = (chunk: number) => bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    const hash = createHash("sha256");
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      hash.update(part(chunk));
      await turn();
    }
    const digest = hash.digest("hex");
    using _ = await this.#changes.acquire();
    if (await this.has(digest)) return digest;
    const sql = "INSERT OR REPLACE INTO blob_chunks (bucket, digest, chunk, bytes) VALUES (?, ?, ?, ?)";
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      await this.#store.write(() => this.#store.run(sql, this.#bucket, digest, chunk, part(chunk)));
    }
    const done = "INSERT INTO blobs (bucket, digest, chunks) VALUES (?, ?, ?)";
    await this.#store.write(() => this.#store.run(done, this.#bucket, digest, chunks));
    return digest;
  }

  async get(digest: string): Promise<Uint8Array> {
    const chunks = this.#chunks(digest);
    if (chunks === undefined) throw new Fault("not_found", `no blob ${digest} in ${this.#bucket}`);
    const sql = "SELECT bytes FROM blob_chunks WHERE bucket = ? AND digest = ? AND chunk = ?";
    const hash = createHash("sha256");
    const parts: Uint8Array[] = [];
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      const row = this.#store.get<{ bytes: Uint8Array }>(sql, this.#bucket, digest, chunk);
      if (row) hash.update(row.bytes);
      parts.push(row?.bytes ?? new Uint8Array());
      await turn();
    }
    if (hash.digest("hex") !== digest) {
      throw new Fault("internal", `blob ${digest} in ${this.#bucket} no longer matches its digest: it is damaged`);
    }
    return Buffer.concat(parts);
  }

  async has(digest: string): Promise<boolean> {
    return this.#chunks(digest) !== undefined;
  }

  async delete(digest: string): Promise<void> {
    checkDigest(digest);
    using _ = await this.#changes.acquire();
    await this.#store.write(() => {
      this.#store.run("DELETE FROM blobs WHERE bucket = ? AND digest = ?", this.#bucket, digest);
      this.#store.run("DELETE FROM blob_chunks WHERE bucket = ? AND digest = ?", this.#bucket, digest);
    });
  }

  /** Chunks of a put that a crash cut short. */
  async sweep(): Promise<void> {
    using _ = await this.#changes.acquire();
    await this.#store.write(() =>
      this.#store.run(
        "DELETE FROM blob_chunks WHERE bucket = ? AND digest NOT IN (SELECT digest FROM blobs WHERE bucket = ?)",
        ...[this.#bucket, this.#bucket],
      ),
    );
  }

  #chunks(digest: string): number | undefined {
    checkDigest(digest);
    const sql = "SELECT chunks FROM blobs WHERE bucket = ? AND digest = ?";
    return this.#store.get<{ chunks: number }>(sql, this.#bucket, digest)?.chunks;
  }
}
