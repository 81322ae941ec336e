/** The window grid of a pipe: once windows hold rows it stays, or the same moments would be stored twice. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Mistake } from "../kit/fault.ts";
import { axisAmong, beginOf, endOf, formatPosition, parseDistance, parsePosition } from "../kit/time.ts";

/** Whether a pipe could lie on another grid than before. Cheap: windows need to be read only then. */
export function regridded(before: Pipe, after: Pipe): boolean {
  const axis = ({ effective: e }: Pipe) => axisAmong(e?.columns ?? [], e?.datetime ?? "") === "time";
  const grid = (pipe: Pipe) => `${pipe.effective?.begin} ${pipe.effective?.chunk} ${axis(pipe)}`;
  return grid(before) !== grid(after);
}

/** Windows that hold rows, or may soon, and do not lie on the grid that the pipe would have. Pure. */
export function gridMistakes({ name, effective }: Pipe, windows: readonly Window[]): Mistake[] {
  if (!effective?.begin || !effective.chunk) return [];
  const axis = axisAmong(effective.columns, effective.datetime);
  const begin = parsePosition(axis, effective.begin, "begin");
  const chunk = parseDistance(axis, effective.chunk, "chunk");
  const integers = axis !== "time";
  const lost = windows.filter((window) => {
    if (window.state !== WindowState.RUNNING && window.rows === 0n) return false;
    if ((window.beginInt !== "") !== integers) return true;
    const at = beginOf(window);
    return endOf(window) - at !== chunk || (at - begin) % chunk !== 0n;
  });
  const first = lost.sort((a, b) => (beginOf(a) < beginOf(b) ? -1 : 1))[0];
  if (!first) return [];
  const was = first.beginInt ? "int64" : "time";
  const span = `${formatPosition(was, beginOf(first))} to ${formatPosition(was, endOf(first))}`;
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
