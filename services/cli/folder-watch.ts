/** Changes below a folder, told once things are quiet again. */
import { watch } from "node:fs";
import { sep } from "node:path";

/** Editors write a file in several steps. */
const QUIET_MS = 150;
/** What builds write themselves, and what is not built from. */
const IGNORED = [
  "node_modules",
  "target",
  ".git",
  ".zig-cache",
  "zig-out",
  "zig-cache",
  ".cache",
  "__pycache__",
  "test",
];
const LOCKS = /(^|[\\/])(Cargo\.lock|go\.sum)$|~$|\.swp$/;

export interface FolderWatch extends Disposable {
  /** Resolves with the next change, also with one that came while nobody waited; undefined once the signal aborts. */
  next(): Promise<string | undefined>;
}

export function watchFolder(folder: string, signal: AbortSignal): FolderWatch {
  let changed: string | undefined;
  let wake: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(folder, { recursive: true }, (_, name) => {
    const path = String(name ?? "");
    if (path.split(sep).some((part) => IGNORED.includes(part)) || LOCKS.test(path)) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      changed = path;
      wake?.();
    }, QUIET_MS);
  });
  signal.addEventListener("abort", () => wake?.(), { once: true });
  return {
    async next() {
      while (changed === undefined && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const path = signal.aborted ? undefined : changed;
      changed = undefined;
      return path;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      watcher.close();
    },
  };
}
