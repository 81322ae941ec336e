/** Keeps records of runs: the file in blobs, what there is in an index; old ones go by days, bytes and count. */
import { Recording } from "../../../proto/gen/millrace/results/v1/recording.ts";
import { recordKey } from "../../../proto/names.ts";
import type { Blobs, Kv } from "../../bus/ports.ts";
import { Fault } from "../../kit/fault.ts";
import { background, pause } from "../../kit/lifecycle.ts";
import type { Logger } from "../../kit/log.ts";
import { timestampOf } from "../../kit/time.ts";
import type { RunRecord } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import { Tape, type TapeStock } from "./tape.ts";

export const RECORD_MODES = ["failed", "all", "none"] as const;

export interface RecorderOptions {
  readonly mode: (typeof RECORD_MODES)[number];
  /** Of one run, while it runs. */
  readonly maxRunBytes: number;
  /** Of all that is kept, by everybody. */
  readonly maxKeptBytes: number;
  readonly keepMs: number;
  readonly index: Kv;
  readonly blobs: Blobs;
  readonly log: Logger;
}

export interface Recorder extends AsyncDisposable {
  /** A new one for a run, unless nothing is recorded. */
  tape(): Tape | undefined;
  /** At the end of a run: keeps the tape or drops it. Does not wait, does not throw. */
  end(tape: Tape | undefined, run: RunRecord, subject: Pick<Subject, "config">): void;
  /** Removes what is too old or too much. */
  sweep(): Promise<void>;
}

/** Memory that the tapes of running runs take together. */
const STOCK_BYTES = 256 << 20;
/** Records on their way to the store; what comes beyond is not kept. */
const MAX_STORING = 8;
const MAX_RECORDS = 10_000;
const SWEEP_EVERY_MS = 600_000;
const FAILURES = ["guest_error", "trap", "timeout", "cpu_exceeded", "out_of_memory", "denied", "host_error"];

export function openRecorder({ mode, index, blobs, log, ...limits }: RecorderOptions): Recorder {
  const stock: TapeStock = { heldBytes: 0, maxBytes: STOCK_BYTES };
  const storing = new Set<Promise<void>>();

  const store = async (file: Buffer, run: RunRecord) => {
    const key = recordKey(run.runId);
    const before = await index.get(key);
    const digest = await blobs.put(file);
    const entry = Recording.encode({
      ...{ run: `runs/${run.runId}`, fence: run.fence, outcome: run.outcome, digest, bytes: BigInt(file.byteLength) },
      ...{ moduleDigest: run.digest, createTime: timestampOf(run.finishedUs) },
    });
    await index.put(key, entry.finish());
    const old = before && Recording.decode(before.value).digest;
    if (old && old !== digest) await blobs.delete(old);
  };

  const sweep = async () => {
    const entries = (await index.list("")).sort((a, b) => b.createdMs - a.createdMs);
    let [bytes, count] = [0, 0];
    for (const { key, value, createdMs, revision } of entries) {
      const record = Recording.decode(value);
      bytes += Number(record.bytes);
      count += 1;
      if (createdMs >= Date.now() - limits.keepMs && bytes <= limits.maxKeptBytes && count <= MAX_RECORDS) continue;
      await index.delete(key, revision).catch((thrown) => {
        if (Fault.from(thrown).code !== "conflict") throw thrown;
      });
      await blobs.delete(record.digest);
    }
  };

  const loop = background(
    async (signal) => {
      while (mode !== "none" && (await pause(SWEEP_EVERY_MS, signal))) {
        await sweep().catch((thrown) => log.warn({ err: Fault.from(thrown) }, "old records of runs were not removed"));
      }
    },
    (fault) => log.error({ err: fault }, "removing old records of runs ended"),
  );

  return {
    tape: () => (mode === "none" ? undefined : new Tape(stock, limits.maxRunBytes)),
    end(tape, run, { config }) {
      if (!tape) return;
      const wanted = mode === "all" || FAILURES.includes(run.outcome);
      if (wanted && tape.full) log.warn({ run: run.runId }, "a run was too large to be recorded");
      if (wanted && !tape.full && storing.size < MAX_STORING) {
        const file = tape.file(run, config);
        if (file) {
          const done = store(file, run)
            .catch((thrown) => log.warn({ err: Fault.from(thrown), run: run.runId }, "a run's record was not kept"))
            .finally(() => storing.delete(done));
          storing.add(done);
        }
      }
      tape.drop();
    },
    sweep,
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      await Promise.all(storing);
    },
  };
}
