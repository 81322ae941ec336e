/**
 * The process that is ClickHouse: loads libchdb.so and runs its command line on the main thread until it ends.
 * Usage: server-child.ts <libchdb.so> <clickhouse-local arguments…>. Dies when its stdin ends: the parent is gone.
 */

import { dlopen, getRawPointer, toString as readText } from "node:ffi";
import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";

/** The main thread is busy inside ClickHouse for ever, so another thread has to see that the parent is gone. */
const WATCH_PARENT = `
  const { readSync } = require("node:fs");
  const bell = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      if (readSync(0, Buffer.alloc(64)) === 0) break;
    } catch (error) {
      if (error.code !== "EAGAIN") break;
      Atomics.wait(bell, 0, 0, 250);
    }
  }
  process.kill(process.pid, "SIGKILL");
`;

const [library = "", ...args] = process.argv.slice(2);
const watcher = new Worker(WATCH_PARENT, { eval: true });
await new Promise((resolve) => watcher.once("online", resolve));

const { functions } = dlopen(library, {
  chdb_query_cmdline: { arguments: ["i32", "pointer"], return: "pointer" },
  chdb_result_error: { arguments: ["pointer"], return: "pointer" },
});

// The buffers stay referenced below the call: ClickHouse keeps reading its arguments while it runs.
const texts = ["clickhouse", ...args].map((arg) => Buffer.from(`${arg}\0`));
const pointers = new BigUint64Array(texts.length + 1);
for (const [i, text] of texts.entries()) pointers[i] = getRawPointer(text);

const result = functions.chdb_query_cmdline(texts.length, getRawPointer(pointers));
const problem = result === 0n ? "no result" : readText(functions.chdb_result_error(result));
if (problem) writeSync(2, `${problem}\n`);
// An ordinary exit would wait for the watcher, which waits for the parent. Everything of ClickHouse is closed by now.
if (pointers.length > 0) process.kill(process.pid, "SIGKILL");
