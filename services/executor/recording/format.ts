/**
 * The file of a recorded run: NDJSON, gzip'd. One `run` line, then for each guest call a `call` line, its `host` lines
 * in order and an `end` line, then a `run_end` line. A `module` line may follow. Unknown lines are left alone.
 */

import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { Fault } from "../../kit/fault.ts";
import type { GuestError } from "../sandbox.ts";

/** Grows when a reader of the version before would get it wrong. */
export const RECORD_VERSION = 1;
/** A request is kept whole up to this; of a larger one its digest tells whether it is the same. */
export const MAX_KEPT_REQUEST_BYTES = 4_096;
const MAX_PLAIN_BYTES = 512 << 20;

/** Bytes, as text where they are text. */
export type Bytes = { readonly text: string } | { readonly base64: string };
export type Digested = { readonly bytes: number; readonly sha256: string } & Partial<{ text: string; base64: string }>;

export interface RunHeader {
  readonly millrace_record: number;
  readonly run: string;
  readonly fence: string;
  readonly attempt: number;
  readonly kind: string;
  readonly plugin: string;
  readonly version: string;
  readonly instance: string;
  readonly target: string;
  readonly resource: string;
  /** SHA-256 of the normalised module. */
  readonly module: string;
  /** SHA-256 of the instance's config as JSON. */
  readonly config: string;
  readonly executor: string;
  readonly started: string;
  readonly node: string;
}

export interface CallEntry {
  readonly export: string;
  readonly input: Bytes;
  readonly seed: string;
  readonly limits: {
    readonly deadline_ms: number;
    readonly cpu_ms: number;
    readonly memory_pages: number;
    readonly output_bytes: number;
    readonly host_calls: number;
    /** Of a metered module. */
    readonly gas?: number;
  };
  /** The instance might have served calls before, whose traces a replay does not have. */
  readonly reused?: true;
}

/** Without answer and error: the guest call ended first. */
export interface HostEntry {
  readonly name: string;
  readonly request: Digested;
  readonly answer?: Bytes;
  readonly error?: { readonly code: string; readonly message: string };
}

export interface CallEnd {
  readonly outcome: string;
  readonly output: Bytes;
  readonly error?: GuestError;
  /** What the guest's clock showed: at its start, and after each answer that it waited for. Milliseconds. */
  readonly clock: readonly number[];
}

export interface RunEnd {
  readonly outcome: string;
  readonly message: string;
  readonly rows: number;
  /** Of all requests to `emit`, in order. */
  readonly emitted: { readonly calls: number; readonly bytes: number; readonly sha256: string };
}

export interface RecordedCall {
  readonly call: CallEntry;
  readonly host: readonly HostEntry[];
  readonly end: CallEnd | undefined;
}

export interface RunRecording {
  readonly run: RunHeader;
  readonly calls: readonly RecordedCall[];
  readonly end: RunEnd | undefined;
  readonly module: Uint8Array | undefined;
}

export const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

export function packed(bytes: Uint8Array): Bytes {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(all) ? { text: all.toString("utf8") } : { base64: all.toString("base64") };
}

export const unpacked = (bytes: Bytes): Uint8Array =>
  "text" in bytes ? Buffer.from(bytes.text) : Buffer.from(bytes.base64, "base64");

export function digested(bytes: Uint8Array): Digested {
  const kept = bytes.byteLength <= MAX_KEPT_REQUEST_BYTES ? packed(bytes) : {};
  return { bytes: bytes.byteLength, sha256: sha256(bytes), ...kept };
}

export const compressLines = (lines: readonly object[]): Buffer =>
  gzipSync(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));

/** A record with its module: gzip members may follow one another. */
export const withModule = (record: Uint8Array, module: Uint8Array): Buffer =>
  Buffer.concat([record, compressLines([{ module: Buffer.from(module).toString("base64") }])]);

/** Errors: `invalid` when the file is no record, or of a later version. */
export function readRecording(file: Uint8Array): RunRecording {
  const wrong = (problem: string) =>
    Fault.invalid("recording", [{ field: "file", problem, fix: "save one with `millrace run record`" }]);
  let run: RunHeader | undefined;
  let end: RunEnd | undefined;
  let module: Uint8Array | undefined;
  const calls: { call: CallEntry; host: HostEntry[]; end: CallEnd | undefined }[] = [];
  try {
    const text = gunzipSync(file, { maxOutputLength: MAX_PLAIN_BYTES }).toString("utf8");
    for (const raw of text.split("\n")) {
      if (raw === "") continue;
      const line = JSON.parse(raw) as Record<string, unknown>;
      const current = calls.at(-1);
      if (line.run) run = line.run as RunHeader;
      else if (line.call) calls.push({ call: line.call as CallEntry, host: [], end: undefined });
      else if (line.host) current?.host.push(line.host as HostEntry);
      else if (line.end && current) current.end = line.end as CallEnd;
      else if (line.run_end) end = line.run_end as RunEnd;
      else if (line.module) module = Buffer.from(String(line.module), "base64");
    }
  } catch (thrown) {
    throw wrong(`is not a record of a run: ${Fault.from(thrown).message}`);
  }
  if (!run) throw wrong("has no line about a run");
  if (run.millrace_record !== RECORD_VERSION)
    throw wrong(`has version ${run.millrace_record}; ${RECORD_VERSION} is known`);
  return { run, calls, end, module };
}
