/** Rows of a fetch: returned with the answer, or streamed to the host in batches while the call still runs. */
import { callBytes, callWith, Reply } from "./host";
import { Json } from "./json";
import { JsonWriter } from "./json-writer";
import { encodeUtf8 } from "./utf8";

/** A batch goes out when it is this large: some thousands of rows, and far below the host's limit on a request. */
const BATCH_BYTES = 256 * 1024;

/** `begin()`, one `set…` for each column, `end()`. */
export class RowWriter extends JsonWriter {
  /** Rows ended so far. */
  count: i32 = 0;

  begin(): void {
    this.openObject();
  }
  end(): void {
    this.closeObject();
    this.count++;
  }
}

/** Rows kept until the answer: right for a few thousand. Give them to `FetchCall.ok`. */
export class Rows extends RowWriter {}

/**
 * Rows sent as they come: right for any number. Flush before a checkpoint and at the end. Once the host has refused a
 * batch (cancelled, over a limit), no further one is sent and `failed` stays true.
 */
export class Emitter extends RowWriter {
  /** What the last batch came to. */
  reply: Reply = new Reply(Json.missing);

  constructor(public readonly batchBytes: i32 = BATCH_BYTES) {
    super();
  }

  end(): void {
    super.end();
    this.byte(0x0a);
    if (this.length >= this.batchBytes) this.flush();
  }

  /** Sends what waits. */
  flush(): Reply {
    if (this.length > 0 && !this.reply.failed) this.reply = callWith("emit", this);
    this.clear();
    return this.reply;
  }

  get failed(): bool {
    return this.reply.failed;
  }
  /** Ends the call with the host's refusal: `if (rows.failed) return rows.fail();` */
  fail(): i32 {
    return this.reply.fail();
  }
}

/**
 * Rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. `ok.get("rows")` tells
 * how many, once they are durable. Flush your emitter first.
 */
export function emitCsv(text: string): Reply {
  const bytes = encodeUtf8(text);
  return callBytes("emit:csv", changetype<usize>(bytes), bytes.byteLength);
}

/** The same with an Arrow stream: the IPC streaming format, schema first. */
export function emitArrow(bytes: ArrayBuffer): Reply {
  return callBytes("emit:arrow", changetype<usize>(bytes), bytes.byteLength);
}
