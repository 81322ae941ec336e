/** The conformance kit: judges a plugin by what it does in a sandbox that the caller brings. Needs nothing of ours. */
import { declared, exported } from "./declarations.js";
import { deadline, memory } from "./limits.js";
import { numbers, text } from "./round-trips.js";
import { repeated, resumed, windows } from "./runs.js";
import { Stage } from "./stage.js";
import { denied, structured } from "./trouble.js";

/**
 * @typedef {import("./stage.js").Verdict} Verdict
 * @type {readonly (readonly [name: string, check: (stage: Stage) => Verdict | Promise<Verdict>])[]}
 */
const CHECKS = [
  ["exports and their types", exported],
  ["manifest against module", declared],
  ["same window twice, same rows", repeated],
  ["resume from every checkpoint", resumed],
  ["empty and huge windows", windows],
  ["denied egress stays denied", denied],
  ["errors are structured", structured],
  ["deadlines are honoured", deadline],
  ["text outside ASCII", text],
  ["big numbers", numbers],
  ["memory stays flat", memory],
];

/** @type {typeof import("./kit.d.ts").checkNames} */
export const checkNames = CHECKS.map(([name]) => name);

/** @type {typeof import("./kit.d.ts").judge} */
export async function judge(subject, call, options = {}) {
  const stage = new Stage(subject, call, options);
  const checks = [];
  for (const [name, check] of CHECKS) {
    const { verdict, reason } = await check(stage);
    checks.push({ name, verdict, reason });
    options.onCheck?.({ name, verdict, reason });
  }
  const applicable = checks.filter(({ verdict }) => verdict !== "skip").length;
  const passed = checks.filter(({ verdict }) => verdict === "pass").length;
  return { score: applicable ? Math.floor((100 * passed) / applicable) : 0, passed, applicable, checks };
}
