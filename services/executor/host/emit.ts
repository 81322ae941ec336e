/** `emit`: rows on their way from a guest to the store, in chunks, with a bound on what is held in memory. */
import { Fault } from "../../kit/fault.ts";
import type { RowFormat, Stored } from "../../results/results.ts";
import { type RowScan, scanRows } from "../../results/row-scan.ts";
import type { Capabilities, Capability } from "./functions.ts";

/** A chunk is sent when it has this many bytes: the larger, the fewer parts ClickHouse has to write and to merge. */
const CHUNK_BYTES = 6 << 20;
/** Chunks on their way to the store; with one more, the guest waits. */
const MAX_IN_FLIGHT = 1;
export const MAX_EMIT_BYTES = 16 << 20;
/** Below this a loop is quicker than the scanner. */
const SCAN_BYTES = 4_096;
/** Memory of smaller pieces is left to the collector, and that of smaller chunks is not used again. */
const RELEASE_BYTES = 65_536;
const REUSE_BYTES = 1 << 20;
/** A chunk, and some of the piece that filled it. */
const USUAL_BYTES = CHUNK_BYTES + (1 << 20);
const MAX_SPARE_CHUNKS = 2;
const NEWLINE = 0x0a;
const BLANK = 0x20;

/** Rows that all sinks of the process hold, waiting or on their way to the store. */
const MAX_HELD_BYTES = 96 << 20;
/** With this part of it in use, guests wait for one chunk before they fill the next. */
const BUSY_SHARE = 6;

/**
 * What many sinks may hold together. Over it each sends what it has, and its guest waits until that is stored. The
 * memory of chunks is used again while there are rows: V8 looks at the whole heap for each 64 MiB that come and go,
 * which was a third of what a stream of rows cost the executor.
 */
export class RowRoom {
  readonly #maxBytes: number;
  readonly #sinks = new Set<{ hurry(): void }>();
  #spare: Uint8Array[] = [];
  readonly #reused = new WeakMap<Uint8Array, Uint8Array>();
  heldBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get full(): boolean {
    return this.heldBytes > this.#maxBytes;
  }

  /** The store has enough to do with what it is given: making more ahead takes memory and wins nothing. */
  get busy(): boolean {
    return this.heldBytes > this.#maxBytes / BUSY_SHARE;
  }

  hold(bytes: number, sink: { hurry(): void }): void {
    this.heldBytes += bytes;
    this.#sinks.add(sink);
    if (this.full) for (const one of this.#sinks) one.hurry();
  }

  /** `sink`: it holds nothing any more that was not sent. */
  release(bytes: number, sink?: { hurry(): void }): void {
    this.heldBytes -= bytes;
    if (sink) this.#sinks.delete(sink);
    if (this.heldBytes > 0) return;
    for (const one of this.#spare) releaseMemory(one);
    this.#spare = [];
  }

  /** The pieces as one. */
  join(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
    if (bytes < REUSE_BYTES) return Buffer.concat(pieces);
    const at = this.#spare.findIndex((one) => one.byteLength >= bytes);
    const [whole = Buffer.allocUnsafeSlow(Math.max(bytes, USUAL_BYTES))] = at < 0 ? [] : this.#spare.splice(at, 1);
    const joined = whole.subarray(0, bytes);
    let length = 0;
    for (const piece of pieces) {
      joined.set(piece, length);
      length += piece.byteLength;
    }
    this.#reused.set(joined, whole);
    return joined;
  }

  /** Nobody reads `joined` any more. */
  giveBack(joined: Uint8Array): void {
    const whole = this.#reused.get(joined);
    if (!whole) return;
    this.#reused.delete(joined);
    const usual = whole.byteLength === USUAL_BYTES;
    if (usual && this.#spare.length < MAX_SPARE_CHUNKS) this.#spare.push(whole);
    else releaseMemory(whole);
  }
}
const PROCESS_ROOM = new RowRoom(MAX_HELD_BYTES);

export interface RowSinkOptions {
  /** Resolves once durable; `rows` are good until then. `scan`: what is known of NDJSON by now. */
  readonly append: (rows: Uint8Array, chunk: number, format: RowFormat, scan?: RowScan) => Promise<Stored>;
  readonly maxRows: number;
  readonly room?: RowRoom;
}

/**
 * Numbers the chunks of one attempt from 0. The first failure is kept: nothing is taken after it, so that a guest that
 * swallows an error cannot end well.
 */
export class RowSink implements Disposable {
  readonly #room: RowRoom;
  readonly #append: RowSinkOptions["append"];
  readonly #maxRows: number;
  readonly #inFlight = new Set<Promise<unknown>>();
  #buffer: Uint8Array[] = [];
  readonly #owned = new Set<Uint8Array>();
  #bufferBytes = 0;
  /** Of what is in the buffer; undefined once something came that was not worth a scan. */
  #scan: RowScan | undefined = NOTHING;
  fault: Fault | undefined;
  chunks = 0;
  rows = 0;
  bytes = 0;

  constructor({ append, maxRows, room = PROCESS_ROOM }: RowSinkOptions) {
    this.#room = room;
    this.#append = append;
    this.#maxRows = maxRows;
  }

  /**
   * Takes NDJSON, and when it is `owned` its memory, too. Resolves with the count of rows when it is durable or there
   * is room to hold it.
   */
  async add(ndjson: Uint8Array, owned = false): Promise<number> {
    this.#check();
    if (ndjson.byteLength > MAX_EMIT_BYTES) {
      this.#fail(new Fault("too_large", `${ndjson.byteLength} bytes at once; at most ${MAX_EMIT_BYTES}`));
    }
    const scan = ndjson.byteLength > SCAN_BYTES ? scanRows(ndjson) : undefined;
    const rows = scan?.rows ?? countLines(ndjson);
    if (this.rows + rows > this.#maxRows) {
      this.#fail(new Fault("exhausted", `more than ${this.#maxRows} rows; the manifest's limits.rows says how many`));
    }
    if (rows === 0) return 0;
    this.rows += rows;
    this.bytes += ndjson.byteLength;
    this.#buffer.push(ndjson);
    if (owned) this.#owned.add(ndjson);
    this.#scan = scan && this.#scan && both(this.#scan, scan);
    if (ndjson.at(-1) !== NEWLINE) this.#buffer.push(Uint8Array.of(NEWLINE));
    this.#bufferBytes += ndjson.byteLength + 1;
    this.#room.hold(ndjson.byteLength + 1, this);
    if (this.#bufferBytes >= CHUNK_BYTES) this.#send();
    while (this.#inFlight.size > (this.#room.busy ? 0 : MAX_IN_FLIGHT)) await Promise.race(this.#inFlight);
    this.#check();
    return rows;
  }

  /** Others have no room: what waits for company is sent without. */
  hurry(): void {
    this.#send();
  }

  /** What was not sent by now never will be. */
  [Symbol.dispose](): void {
    this.#room.release(this.#bufferBytes, this);
    this.#empty();
  }

  /**
   * Takes rows in another format, which ClickHouse reads as they are: a chunk of their own, for a header or a schema
   * goes with them. Resolves with the count of rows once they are durable: nobody knows it before.
   */
  async addAs(format: RowFormat, bytes: Uint8Array): Promise<number> {
    if (format === "ndjson") return this.add(bytes);
    this.#check();
    if (bytes.byteLength > MAX_EMIT_BYTES) {
      this.#fail(new Fault("too_large", `${bytes.byteLength} bytes at once; at most ${MAX_EMIT_BYTES}`));
    }
    this.#send();
    while (this.#inFlight.size > MAX_IN_FLIGHT) await Promise.race(this.#inFlight);
    this.#check();
    this.bytes += bytes.byteLength;
    const { rows, rejected } = await this.#store(bytes, this.chunks++, format);
    this.#check();
    if (this.rows > this.#maxRows) {
      this.#fail(new Fault("exhausted", `more than ${this.#maxRows} rows; the manifest's limits.rows says how many`));
    }
    return rows + rejected;
  }

  /** Resolves when everything that was taken is durable. */
  async flush(): Promise<void> {
    this.#send();
    while (this.#inFlight.size) await Promise.race(this.#inFlight);
    this.#check();
  }

  get capability(): Capability {
    return async (request) => ({ rows: await this.add(request, true) });
  }

  /** By the name that a guest calls: `emit`, `emit:csv`, `emit:arrow`. */
  get capabilities(): Capabilities {
    const taking = (format: RowFormat): Capability => {
      return async (request) => ({ rows: await this.addAs(format, request) });
    };
    return { emit: this.capability, "emit:csv": taking("csv"), "emit:arrow": taking("arrow") };
  }

  #send(): void {
    if (!this.#buffer.length || this.fault) return;
    const chunk = this.chunks++;
    const [only, ...more] = this.#buffer;
    const [held, scan] = [this.#bufferBytes, this.#scan];
    const bytes = this.#buffer.reduce((sum, piece) => sum + piece.byteLength, 0);
    const rows = only && !more.length ? only : this.#room.join(this.#buffer, bytes);
    for (const piece of this.#owned) if (piece !== rows) releaseMemory(piece);
    const owned = this.#owned.has(rows);
    this.#empty();
    this.#room.release(0, this);
    void this.#store(rows, chunk, "ndjson", scan).then(() => {
      // Only what is stored: a caller that failed may have left them to an INSERT that goes on.
      if (!this.fault && owned) releaseMemory(rows);
      if (!this.fault) this.#room.giveBack(rows);
      this.#room.release(held);
    });
  }

  /** Lines were counted as they came; of other formats only the store knows. */
  #store(rows: Uint8Array, chunk: number, format: RowFormat, scan?: RowScan): Promise<Stored> {
    const none = { rows: 0, rejected: 0, bytes: 0 };
    const sending = this.#append(rows, chunk, format, scan)
      .then(
        (stored) => {
          this.rows += format === "ndjson" ? -stored.rejected : stored.rows;
          return stored;
        },
        (thrown) => {
          this.fault ??= Fault.from(thrown);
          return none;
        },
      )
      .finally(() => this.#inFlight.delete(sending));
    this.#inFlight.add(sending);
    return sending;
  }

  #empty(): void {
    this.#buffer = [];
    this.#owned.clear();
    this.#bufferBytes = 0;
    this.#scan = NOTHING;
  }

  #check(): void {
    if (this.fault) throw this.fault;
  }

  #fail(fault: Fault): never {
    this.fault = fault;
    throw fault;
  }
}

const NOTHING: RowScan = { rows: 0, longDigits: false, naiveTime: false };
const both = (a: RowScan, b: RowScan): RowScan => ({
  rows: a.rows + b.rows,
  longDigits: a.longDigits || b.longDigits,
  naiveTime: a.naiveTime || b.naiveTime,
});

/** Gives the memory back now, where the bytes are all of it. */
function releaseMemory({ buffer, byteLength }: Uint8Array): void {
  if (byteLength < RELEASE_BYTES || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return;
  buffer.transfer(0);
}

/** Lines that are not blank. */
export function countLines(ndjson: Uint8Array): number {
  if (ndjson.length > SCAN_BYTES) return scanRows(ndjson).rows;
  let rows = 0;
  for (let at = 0; at < ndjson.length; ) {
    const found = ndjson.indexOf(NEWLINE, at);
    const end = found === -1 ? ndjson.length : found;
    let first = at;
    while (first < end && (ndjson[first] as number) <= BLANK) first += 1;
    if (first < end) rows += 1;
    at = end + 1;
  }
  return rows;
}
