/** Answers that a guest asked to keep: shown again when the server says, by ETag or date, that they still stand. */
import { createHash } from "node:crypto";
import type { Outgoing } from "./http-request.ts";

/** Of one instance, and of all on this executor; over either, what was not used for longest goes. */
const MAX_INSTANCE_BYTES = 4 << 20;
const MAX_BYTES = 64 << 20;
/** Of one answer. */
const MAX_ENTRY_BYTES = 1 << 20;
const ENTRY_OVERHEAD_BYTES = 1_024;

export interface CachedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Bodies are kept as guests may see them: scrubbed. Nothing is shown without asking the server. */
export class HttpCache {
  /** In the order of their last use. */
  readonly #entries = new Map<string, CachedAnswer & { readonly instance: string; readonly bytes: number }>();
  readonly #byInstance = new Map<string, number>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  find(instance: string, request: Outgoing): CachedAnswer | undefined {
    const key = keyOf(instance, request);
    const entry = this.#entries.get(key);
    if (entry) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** Keeps only what the server lets be kept and can be asked about. */
  keep(instance: string, request: Outgoing, answer: CachedAnswer): void {
    const key = keyOf(instance, request);
    this.#forget(key);
    const { etag, "last-modified": modified, "cache-control": control = "", vary = "" } = answer.headers;
    const bytes = answer.body.byteLength + JSON.stringify(answer.headers).length + ENTRY_OVERHEAD_BYTES;
    if (answer.status !== 200 || (!etag && !modified) || /\bno-store\b/i.test(control) || vary.includes("*")) return;
    if (bytes > MAX_ENTRY_BYTES) return;
    this.#entries.set(key, { ...answer, instance, bytes });
    this.#add(instance, bytes);
    for (const [old, entry] of this.#entries) {
      const crowded = this.#bytes > MAX_BYTES;
      const full = (this.#byInstance.get(instance) ?? 0) > MAX_INSTANCE_BYTES;
      if (!crowded && !full) break;
      if (crowded || entry.instance === instance) this.#forget(old);
    }
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#add(entry.instance, -entry.bytes);
  }

  #add(instance: string, bytes: number): void {
    this.#bytes += bytes;
    const left = (this.#byInstance.get(instance) ?? 0) + bytes;
    if (left > 0) this.#byInstance.set(instance, left);
    else this.#byInstance.delete(instance);
  }
}

/** What asks the server whether the answer still stands. */
export function conditionsOf({ headers }: CachedAnswer): Record<string, string> {
  const { etag, "last-modified": modified } = headers;
  return { ...(etag && { "if-none-match": etag }), ...(modified && { "if-modified-since": modified }) };
}

/** Placeholders and not values of secrets are in it, and all headers, so that `vary` holds. */
function keyOf(instance: string, { url, headers }: Outgoing): string {
  const sorted = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([instance, url.href, sorted]))
    .digest("base64");
}
