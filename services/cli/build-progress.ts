/** A build as people watch it: what it is about when it takes more than a second, and how long it took. */
import type { BuildOptions } from "./build-thread.ts";
import type { Terminal } from "./terminal.ts";

/** Builds that are over sooner say nothing. */
const QUIET_MS = 1_000;
const WORDS: Readonly<Record<string, string>> = {
  compile: "compiling",
  evaluate: "running the top level",
  pack: "packing",
};

export function building(terminal: Terminal, options: BuildOptions = {}): BuildOptions {
  const startedMs = performance.now();
  let phase = "";
  let timer: NodeJS.Timeout | undefined;
  const say = () =>
    terminal.note(`${WORDS[phase] ?? phase} … ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  return {
    ...options,
    onPhase(entered) {
      phase = entered;
      clearTimeout(timer);
      if (entered === "pack") {
        if (performance.now() - startedMs > QUIET_MS) say();
        return;
      }
      timer = setTimeout(say, QUIET_MS).unref();
    },
  };
}
