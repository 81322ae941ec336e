/** From a source map to a table of lines: for each line of the bundle, the author's file and line. Pure. */

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * @param {{ sources: readonly string[], mappings: string }} map
 * @param {(file: string) => boolean} isOwn Files of others get no line.
 * @returns {import("../runtimes/javascript/snapshot.js").Lines}
 */
export function linesOf({ sources, mappings }, isOwn) {
  let [source, line] = [0, 0];
  const own = sources.map(isOwn);
  const lines = mappings.split(";").map((segments) => {
    /** @type {[number, number] | undefined} */
    let first;
    for (const segment of segments.split(",")) {
      const [, bySource, byLine] = numbersOf(segment);
      if (bySource === undefined || byLine === undefined) continue;
      source += bySource;
      line += byLine;
      first ??= [own[source] ? source : -1, line + 1];
    }
    return first ?? [-1, 0];
  });
  return { files: sources, lines: /** @type {[number, number][]} */ (lines) };
}

/** Variable-length quantities in base 64. @param {string} segment */
function numbersOf(segment) {
  const numbers = [];
  let value = 0;
  let shift = 0;
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return numbers;
}
