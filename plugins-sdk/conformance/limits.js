/** Time and memory: a plugin ends when it must, and leaves nothing behind. */
import { endOf, fail, isTold, milliseconds, pass, skip } from "./stage.js";

const DEADLINE_MS = 400;
/** A busy machine looks at its clock late. */
const SLACK_MS = 2_000;
const CALLS = 10_000;
const CALLS_BUDGET_MS = 60_000;
/** Calls at the beginning and at the end that are held against each other. */
const SAMPLE = 100;
const KIB = 1_024;

/** @param {import("./stage.js").Stage} stage */
export async function deadline(stage) {
  const scenarios = stage.scenarios();
  if (!scenarios.length) return skip("the plugin has no export that is an interface");
  const wrong = [];
  const said = [];
  for (const scenario of scenarios) {
    const ran = await stage.run(scenario, { world: "silent", deadlineMs: DEADLINE_MS });
    const { wallMs, outcome } = ran.last;
    const late = wallMs > DEADLINE_MS + SLACK_MS;
    const ended = ["ok", "timeout", "cpu_exceeded"].includes(outcome) || isTold(ran.last);
    if (late || !ended)
      wrong.push(`${scenario.name}: ${endOf(ran.last)} after ${milliseconds(wallMs)} of ${DEADLINE_MS}`);
    else said.push(`${scenario.name}: ${outcome} after ${milliseconds(wallMs)}`);
  }
  const what = `${DEADLINE_MS} ms, and a world that never answers`;
  return wrong.length ? fail(wrong.join("; ")) : pass(`${what}: ${said.join("; ")}`);
}

/** @param {import("./stage.js").Stage} stage */
export async function memory(stage) {
  const good = await stage.good();
  if (!good.length) return skip(await stage.nothing());
  const { scenario } = good.reduce((fastest, one) => (one.ran.wallMs < fastest.ran.wallMs ? one : fastest));
  const { calls = CALLS, callsBudgetMs = CALLS_BUDGET_MS } = stage.options;
  const untilMs = performance.now() + callsBudgetMs;
  const peaks = [];
  while (peaks.length < calls && (performance.now() < untilMs || peaks.length < 2 * SAMPLE)) {
    const ran = await stage.run(scenario);
    if (!ran.good) return fail(`call ${peaks.length + 1} of ${scenario.name} ended as ${endOf(ran.last)}`);
    peaks.push(ran.last.memoryPeakBytes);
    stage.options.onCalls?.(peaks.length, calls);
  }
  const [first, last] = [peaks.slice(0, SAMPLE), peaks.slice(-SAMPLE)].map((some) => Math.max(...some));
  const said = `${peaks.length} calls of ${scenario.name}: ${Math.round((first ?? 0) / KIB)} KiB at first`;
  const grown = (last ?? 0) - (first ?? 0);
  return grown > 0 ? fail(`${said}, ${Math.round((last ?? 0) / KIB)} KiB at the end`) : pass(`${said} and at the end`);
}
