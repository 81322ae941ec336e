#!/usr/bin/env node
/** The `millrace` binary: starts the CLI on the Node that came with it, whatever Node the shell has. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The first Node with WebAssembly JSPI, node:ffi and type stripping all on by default. */
const NEEDED_MAJOR = 26;
const main = join(dirname(fileURLToPath(import.meta.url)), "main.ts");

if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  await import(main);
} else {
  const node = join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node");
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`millrace needs Node ${NEEDED_MAJOR}, and the one at ${node} does not start: ${error.message}`);
    console.error("run `npm ci` again, or start it with a Node of your own");
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}
