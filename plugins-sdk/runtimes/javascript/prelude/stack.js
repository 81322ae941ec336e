/** Stack traces with the author's files and lines instead of the bundle's. */

const BUNDLE = "plugin.js";
/** Of a frame in the text of a stack: `    at name (plugin.js:12:5)`. */
const FRAME = /^\s*at (.*?) ?\(?([^\s():]+):(\d+)(?::\d+)?\)?$/;
const MAX_FRAMES = 20;

let files = [];
/** For each line of the bundle: the number of its file and its line there; -1 when it is nobody's. */
let fileOf = new Int32Array(0);
let lineOf = new Int32Array(0);

export function setLines(names, numbers) {
  files = names;
  fileOf = Int32Array.from(numbers, ([file]) => file);
  lineOf = Int32Array.from(numbers, ([, line]) => line);
}

/** The author's frames, innermost first: `fetch (src/plugin.ts:12)`. */
export function framesOf(error) {
  const frames = [];
  for (const text of String(error?.stack ?? "").split("\n")) {
    const [, name, script, line] = FRAME.exec(text) ?? [];
    if (script !== BUNDLE) continue;
    const file = files[fileOf[line - 1]];
    if (file === undefined) continue;
    const where = `${file}:${lineOf[line - 1]}`;
    frames.push(name && name !== "<anonymous>" && name !== "<eval>" ? `${name} (${where})` : where);
    if (frames.length === MAX_FRAMES) break;
  }
  return frames;
}

/** `file:line` of the innermost frame of the author's, or "". */
export function placeOf(frames) {
  return /([^\s(]+:\d+)\)?$/.exec(frames[0] ?? "")?.[1] ?? "";
}
