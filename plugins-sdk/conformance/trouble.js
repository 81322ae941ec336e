/** What a plugin does in trouble: refused, given nonsense, left alone. It may fail, but says how. */
import { endOf, fail, isTold, milliseconds, pass, skip } from "./stage.js";

/** Refusals that a guest takes in one run before it gives up. */
const MAX_REFUSALS = 1_000;
/** Some runtimes do not start at the epoch itself. */
const NOW_MS = Date.UTC(2026, 0, 1);
const MAX_REFUSED_MS = 10_000;
/** JSON, as the ABI promises, and nothing that a platform sends. */
const NONSENSE = ["null", "[]", "true", `"text"`, "{}", `{"config": null, "begin": 7, "resource": []}`];

/** @param {import("./stage.js").Stage} stage */
export async function denied(stage) {
  const asking = [];
  for (const scenario of stage.scenarios()) if ((await stage.once(scenario)).asked.size > 0) asking.push(scenario);
  if (!asking.length) return skip("it asks nothing of the world");
  const wrong = [];
  const said = [];
  for (const scenario of asking) {
    const ran = await stage.run(scenario, { world: "closed" });
    const { outcome, hostCalls } = ran.last;
    const calls = Object.values(hostCalls).reduce((sum, count) => sum + count, 0);
    if (!(outcome === "ok" || isTold(ran.last))) wrong.push(`${scenario.name}: ${endOf(ran.last)}`);
    else if (calls > MAX_REFUSALS) wrong.push(`${scenario.name}: went on asking, ${calls} times`);
    else if (ran.wallMs > MAX_REFUSED_MS) wrong.push(`${scenario.name}: took ${milliseconds(ran.wallMs)} to give up`);
    else said.push(`${scenario.name}: ${endOf(ran.last)}`);
  }
  return wrong.length ? fail(wrong.join("; ")) : pass(`with nothing granted, ${said.join("; ")}`);
}

/** @param {import("./stage.js").Stage} stage */
export async function structured(stage) {
  const wrong = [];
  let tried = 0;
  const names = [...new Set(stage.scenarios().map((one) => one.export))];
  for (const name of names) {
    for (const input of NONSENSE) {
      tried += 1;
      const host = async () => ({ error: { code: "unavailable", message: "nobody answers" } });
      const result = await stage.call({ export: name, input, host, nowMs: NOW_MS, seed: "kit" });
      if (result.outcome !== "ok" && !isTold(result)) wrong.push(`${name} of ${input || "nothing"}: ${endOf(result)}`);
    }
  }
  for (const scenario of stage.scenarios()) {
    tried += 1;
    const { last } = await stage.run(scenario, { world: "away" });
    if (last.outcome !== "ok" && !isTold(last)) wrong.push(`${scenario.name} with nobody there: ${endOf(last)}`);
  }
  if (!tried) return skip("the plugin has no export that is an interface");
  return wrong.length
    ? fail(wrong.slice(0, 4).join("; "))
    : pass(`${tried} ways to fail, each with a code and a message`);
}
