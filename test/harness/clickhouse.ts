/** A private ClickHouse for a test: free port, temporary folder, gone at the end of the scope. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../services/kit/log.ts";
import {
  type ClickHouseServer,
  openResults,
  type Results,
  type ResultsOptions,
  type RunRecord,
  startClickHouse,
} from "../../services/results/results.ts";

export interface TestClickHouse extends AsyncDisposable {
  readonly url: string;
  /** The same server as a user that can only read. */
  readonly readerUrl: string;
  readonly folder: string;
  /** Kills the server in the middle of whatever it does; it stays down until `restart`. */
  kill9(): Promise<void>;
  /** The same folder and port again. */
  restart(): Promise<void>;
}

/** Enough for a test's rows; small enough for several at once. */
const MEMORY_MIB = 1_024;

export async function startTestClickHouse(memoryMib = MEMORY_MIB): Promise<TestClickHouse> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-clickhouse-"));
  const start = (port: number) => startClickHouse({ folder, port, memoryMib, log: silentLog });
  let server: ClickHouseServer | undefined = await start(0);
  const { url, readerUrl } = server;
  const end = async () => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
  };
  return {
    url,
    readerUrl,
    folder,
    async kill9() {
      if (server) process.kill(server.pid, "SIGKILL");
      await end();
    },
    async restart() {
      await end();
      server = await start(Number(new URL(url).port));
    },
    async [Symbol.asyncDispose]() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

let databases = 0;

/** Results in a database of their own, so that tests share a server without meeting. */
export function openTestResults(server: TestClickHouse, options: Partial<ResultsOptions> = {}): Promise<Results> {
  databases += 1;
  const { url, readerUrl } = server;
  return openResults({ url, readerUrl, database: `test_${process.pid}_${databases}`, log: silentLog, ...options });
}

/** A committed run of one part, with everything that a test does not care about filled in. */
export function runRecord(over: Partial<RunRecord> & Pick<RunRecord, "runId" | "fence">): RunRecord {
  const finishedUs = BigInt(Date.now()) * 1_000n;
  return {
    dataset: "weather",
    attempt: 1,
    kind: "fetch",
    plugin: "weather",
    version: "1.0.0",
    digest: "0".repeat(64),
    instance: "weather",
    target: "weather.daily",
    resource: "",
    beginUs: undefined,
    endUs: undefined,
    dueUs: finishedUs,
    startedUs: finishedUs,
    finishedUs,
    outcome: "ok",
    committed: true,
    parts: [{ fence: over.fence, chunks: 1 }],
    chunks: 1,
    rows: 0,
    bytesIn: 0,
    bytesOut: 0,
    hostCalls: {},
    cpuMs: 0,
    wallMs: 0,
    memoryPeakBytes: 0,
    rejected: 0,
    message: "",
    executor: "executor-1",
    ...over,
  };
}
