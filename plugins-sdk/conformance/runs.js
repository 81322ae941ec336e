/** Runs of fetch and the rest, held against each other: twice the same, resumed, over no time and over much. */
import { endOf, fail, isTold, isWindowed, pass, skip } from "./stage.js";

const HOUR_MS = 3_600_000;
const MAX_CHECKPOINTS = 12;
/** A huge window is so many times the one of the scenario. */
const HUGE = 100;

/**
 * Another attempt of a window has another seed and another time: its rows must not depend on them. What looks at the
 * present (a poll, a route) is held to the same moment.
 * @param {import("./stage.js").Stage} stage
 */
export async function repeated(stage) {
  const good = await stage.good();
  if (!good.length) return skip(await stage.nothing());
  const wrong = [];
  for (const { scenario, ran } of good) {
    const isFetch = isWindowed(scenario);
    const other = isFetch ? { seed: "other", nowMs: scenario.nowMs + HOUR_MS } : {};
    const again = await stage.run(scenario, other);
    const same = isFetch ? sameRows(ran.rows, again.rows) : ran.last.output === again.last.output;
    if (!same) wrong.push(`${scenario.name}: ${difference(ran, again)}`);
  }
  const what = good.map(({ scenario, ran }) => `${scenario.name} (${ran.rows.length} rows)`).join(", ");
  return wrong.length ? fail(wrong.join("; ")) : pass(`${what}: the same under another seed and another clock`);
}

/** @param {import("./stage.js").Stage} stage */
export async function resumed(stage) {
  const name = stage.windowed();
  const good = await stage.good(name);
  if (!good.length) return skip(await stage.nothing(name));
  const withCheckpoints = good.filter(({ ran }) => ran.checkpoints.length > 0);
  if (!withCheckpoints.length) return skip("no checkpoint and no `next`: a window is one call, done again whole");
  const wrong = [];
  let tried = 0;
  for (const { scenario, ran } of withCheckpoints) {
    for (const { cursor, rows, asked } of spread(ran.checkpoints)) {
      tried += 1;
      const rest = await stage.run(scenario, { cursor, from: asked });
      const at = `${scenario.name} from ${JSON.stringify(cursor)}`;
      if (!rest.good) wrong.push(`${at}: ${endOf(rest.last)}`);
      else if (!sameRows(ran.rows, [...ran.rows.slice(0, rows), ...rest.rows])) {
        wrong.push(
          `${at}: ${rows} rows before and ${rest.rows.length} after are not the ${ran.rows.length} of a whole run`,
        );
      }
    }
  }
  return wrong.length
    ? fail(wrong.slice(0, 3).join("; "))
    : pass(`${tried} checkpoints, each gives the rest of the same set`);
}

/** @param {import("./stage.js").Stage} stage */
export async function windows(stage) {
  const [first] = stage.scenarios(stage.windowed());
  if (!first) return skip("the plugin has no fetch");
  const [begin, end] = [Date.parse(String(first.input.begin)), Date.parse(String(first.input.end))];
  const moment = (/** @type {number} */ ms) => new Date(ms).toISOString().replace(".000Z", "Z");
  const over = (/** @type {number} */ until) => ({ ...first, input: { ...first.input, end: moment(until) } });
  const empty = await stage.run(over(begin));
  const huge = await stage.run(over(begin + HUGE * Math.max(end - begin, 1)));
  const wrong = [];
  if (empty.good ? empty.rows.length > 0 : !isTold(empty.last)) {
    wrong.push(empty.good ? `an empty window has ${empty.rows.length} rows` : `an empty window: ${endOf(empty.last)}`);
  }
  if (!huge.good && !isTold(huge.last)) wrong.push(`a window ${HUGE} times as long: ${endOf(huge.last)}`);
  if (wrong.length) return fail(wrong.join("; "));
  const [none, much] = [empty, huge].map((ran) => (ran.good ? `${ran.rows.length} rows` : endOf(ran.last)));
  return pass(`empty: ${none}; ${HUGE} times as long: ${much}`);
}

/** First, last, and some between. @template T @param {T[]} all */
function spread(all) {
  const step = Math.max(1, Math.ceil(all.length / MAX_CHECKPOINTS));
  return all.filter((_, i) => i % step === 0 || i === all.length - 1);
}

/** As sets, with their counts. @param {string[]} a @param {string[]} b */
function sameRows(a, b) {
  if (a.length !== b.length) return false;
  const [left, right] = [[...a].sort(), [...b].sort()];
  return left.every((row, i) => row === right[i]);
}

/** @param {import("./stage.js").Ran} one @param {import("./stage.js").Ran} other */
function difference(one, other) {
  if (!other.good) return `the second time it ends as ${endOf(other.last)}`;
  if (one.rows.length !== other.rows.length) return `${one.rows.length} rows, then ${other.rows.length}`;
  const at = one.rows.findIndex((row, i) => row !== other.rows[i]);
  if (at < 0) return `${one.last.output.slice(0, 120)}, then ${other.last.output.slice(0, 120)}`;
  return `row ${at}: ${one.rows[at]?.slice(0, 120)}, then ${other.rows[at]?.slice(0, 120)}`;
}
