/** Where a fetch that was cut off goes on: its cursor, the chunks that count already, and how often it has failed. */
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { RunPart } from "../results/results.ts";
import { changeRecord, type Known, refuseNewer } from "./fenced-record.ts";

const MAX_CURSOR_BYTES = 64 * 1_024;

export interface Checkpoint {
  /** The attempt that wrote it. */
  readonly fence: bigint;
  /** JSON that the guest gave; null when there is none yet. */
  readonly cursor: unknown;
  /** The chunks before the cursor, of this and earlier attempts. */
  readonly parts: readonly RunPart[];
  /** Rows in those chunks. */
  readonly rows: number;
  /** Attempts that failed, whatever killed executors in between. */
  readonly failures: number;
}

export const NO_CHECKPOINT: Checkpoint = { fence: 0n, cursor: null, parts: [], rows: 0, failures: 0 };

interface Stored {
  readonly message: string;
  readonly fence: string;
  readonly cursor: unknown;
  readonly parts: readonly { readonly fence: string; readonly chunks: number }[];
  readonly rows: number;
  readonly failures: number;
}

export interface Checkpoints {
  read(): Promise<Checkpoint>;
  /** Errors: `conflict` when a newer attempt has written; `too_large` for a cursor over 64 KiB. */
  write(checkpoint: Checkpoint): Promise<void>;
  delete(): Promise<void>;
}

/** Of one message in the queue: another message of the same run asks for other rows, so it starts afresh. */
export function checkpointsOf(kv: Kv, runId: string, messageId: string): Checkpoints {
  const key = encodeKeyPart(runId);
  /** What is there by all we know; most runs have none, and none to delete. Undefined: nobody has looked. */
  let known: Known | "none" | undefined;
  return {
    async read() {
      const entry = await kv.get(key);
      known = entry ?? "none";
      const stored = entry && decode(entry.value);
      if (stored?.message !== messageId) return NO_CHECKPOINT;
      const parts = stored.parts.map(({ fence, chunks }) => ({ fence: BigInt(fence), chunks }));
      return { ...stored, fence: BigInt(stored.fence), parts };
    },
    async write({ fence, cursor, parts, rows, failures }) {
      const bytes = Buffer.byteLength(JSON.stringify(cursor ?? null));
      if (bytes > MAX_CURSOR_BYTES) {
        throw new Fault("too_large", `the cursor is ${bytes} bytes; at most ${MAX_CURSOR_BYTES}`);
      }
      const written = parts.map((part) => ({ fence: String(part.fence), chunks: part.chunks }));
      const value: Stored = { message: messageId, fence: String(fence), cursor, parts: written, rows, failures };
      const changed = (stored: Uint8Array | undefined) => {
        if (stored) refuseNewer(BigInt(decode(stored).fence), fence, `the checkpoint of ${runId}`);
        return Buffer.from(JSON.stringify(value));
      };
      const last = known === "none" ? undefined : known;
      // Should the writing fail, it may have been done nevertheless.
      known = undefined;
      known = await changeRecord(kv, key, changed, last);
    },
    async delete() {
      if (known !== "none") await kv.delete(key);
    },
  };
}

const decode = (value: Uint8Array) => JSON.parse(Buffer.from(value).toString("utf8")) as Stored;
