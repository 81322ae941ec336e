/** The window grid of a pipe: once windows hold rows it stays, or the same moments would be stored twice. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Mistake } from "../kit/fault.ts";
import { compactTime, formatTime, microsOf, parseDuration, parseTime } from "../kit/time.ts";

const US_PER_MS = 1_000n;

/** Whether a pipe could lie on another grid than before. Cheap: windows need to be read only then. */
export function regridded(before: Pipe, after: Pipe): boolean {
  const grid = ({ effective }: Pipe) => `${effective?.begin} ${effective?.chunk}`;
  return grid(before) !== grid(after);
}

/** Windows that hold rows, or may soon, and do not lie on the grid that the pipe would have. Pure. */
export function gridMistakes({ name, effective }: Pipe, windows: readonly Window[]): Mistake[] {
  if (!effective?.begin || !effective.chunk) return [];
  const beginUs = parseTime(effective.begin, "begin");
  const chunkUs = BigInt(parseDuration(effective.chunk, "chunk")) * US_PER_MS;
  const lost = windows.filter((window) => {
    if (window.state !== WindowState.RUNNING && window.rows === 0n) return false;
    const atUs = microsOf(window.begin);
    return microsOf(window.end) - atUs !== chunkUs || (atUs - beginUs) % chunkUs !== 0n;
  });
  const first = lost.sort((a, b) => (compactTime(microsOf(a.begin)) < compactTime(microsOf(b.begin)) ? -1 : 1))[0];
  if (!first) return [];
  const span = `${formatTime(microsOf(first.begin))} to ${formatTime(microsOf(first.end))}`;
  const fetched = `${lost.length} fetched windows of ${name}, such as ${span}`;
  const grid = `${JSON.stringify(effective.chunk)} from ${effective.begin}`;
  return [
    {
      field: "parameters.chunk",
      problem: `${grid} is another grid than that of ${fetched}: their rows would be there twice`,
      fix: "keep chunk and move begin by whole chunks; or pause the pipe and clear it first; or create another pipe",
    },
  ];
}
