/** A build as people watch it: what it is about when it takes more than a second, and how long it took. */
import type { BuildOptions } from "./build-thread.ts";
import type { Terminal } from "./terminal.ts";

/** Builds that are over sooner say nothing. */
const QUIET_MS = 1_000;
const WORDS: Readonly<Record<string, string>> = { compile: "compiling", evaluate: "running the top level" };

export function building(terminal: Terminal, options: BuildOptions = {}): BuildOptions {
  const startedMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const elapsed = () => `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`;
  return {
    ...options,
    onPhase(entered) {
      clearTimeout(timer);
      if (entered !== "pack")
        timer = setTimeout(() => terminal.note(`${WORDS[entered] ?? entered} …`), QUIET_MS).unref();
      else if (performance.now() - startedMs > QUIET_MS) terminal.note(`compiled in ${elapsed()}`);
    },
  };
}
