/** Recordings over gRPC: the file of a run's record, with the module that ran put behind it. */
import { gzipSync } from "node:zlib";
import { Recording } from "../../proto/gen/millrace/results/v1/recording.ts";
import { type RecordingsServer, RecordingsService } from "../../proto/gen/millrace/results/v1/recording_service.ts";
import { BLOBS, BUCKETS, bare, RECORDS, recordKey } from "../../proto/names.ts";
import type { Bus } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { type Methods, type Service, service } from "../kit/grpc.ts";

const MAX_FILE_BYTES = 32 << 20;

export const recordingService = (bus: Bus): Service => service(RecordingsService, recordingMethods(bus));

function recordingMethods(bus: Bus): Methods<RecordingsServer> {
  return {
    async getRunRecording({ name }) {
      const entry = await (await bus.kv(BUCKETS.records)).get(recordKey(bare(name)));
      if (!entry) {
        const why = "executors keep records of failed runs (EXECUTOR_RECORD), and only for a while";
        throw new Fault("not_found", `there is no record of ${name}; ${why}`);
      }
      const recording = Recording.decode(entry.value);
      const record = await (await bus.blobs(RECORDS)).get(recording.digest);
      const module = await moduleLine(bus, recording.moduleDigest);
      // Without its module rather than not at all: whoever replays can name a file.
      const whole = record.byteLength + module.byteLength <= MAX_FILE_BYTES;
      return { recording, file: whole ? Buffer.concat([record, module]) : Buffer.from(record) };
    },
  };
}

/** One more line of NDJSON: gzip members may follow one another. Empty when the plugin was removed since. */
async function moduleLine(bus: Bus, digest: string): Promise<Buffer> {
  try {
    const module = await (await bus.blobs(BLOBS)).get(digest);
    return gzipSync(`${JSON.stringify({ module: Buffer.from(module).toString("base64") })}\n`);
  } catch (thrown) {
    if (Fault.from(thrown).code === "not_found") return Buffer.alloc(0);
    throw thrown;
  }
}
