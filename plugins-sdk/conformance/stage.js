/** Where a plugin is judged: runs its scenarios in the caller's sandbox, and keeps what came of them. */
import { World } from "./world.js";

/**
 * @typedef {{ verdict: "pass" | "fail" | "skip", reason: string }} Verdict
 * @typedef {import("./kit.d.ts").Scenario} Scenario
 * @typedef {import("./kit.d.ts").KitResult} KitResult
 *
 * @typedef {object} Ran
 * @property {KitResult} last Of the last call.
 * @property {boolean} good
 * @property {string[]} rows Emitted and returned, in order, as the guest wrote them.
 * @property {any} answer Of the last call, without its rows.
 * @property {{ cursor: any, rows: number, asked: number }[]} checkpoints With the rows before each, and how much of the
 * world had been asked by then.
 * @property {Set<string>} asked Host functions of the world.
 * @property {number} wallMs
 * @property {boolean} strayed Asked for something that nobody wrote down.
 *
 * @typedef {object} RunOptions
 * @property {any} [cursor]
 * @property {number} [from] Answers of the world that are behind us already.
 * @property {string} [seed]
 * @property {number} [nowMs]
 * @property {number} [deadlineMs]
 * @property {"taped" | "closed" | "silent" | "away"} [world] `closed`: the platform with nothing granted; `silent`: who
 * is asked never answers; `away`: everything outside is unavailable.
 */

const GOOD = ["ok", "no_data", "not_modified", "partial"];
/** Ends that a guest can tell of itself. */
const TOLD = ["guest_error", "denied", "host_error"];
const MAX_PAGES = 1_000;
/** What the guest says to us, and not to the world. */
const OWN = ["emit", "checkpoint", "log", "progress", "metric", "sleep", "publish"];

/** @param {string} reason @returns {Verdict} */
export const pass = (reason) => ({ verdict: "pass", reason });
/** @param {string} reason @returns {Verdict} */
export const fail = (reason) => ({ verdict: "fail", reason });
/** @param {string} reason @returns {Verdict} */
export const skip = (reason) => ({ verdict: "skip", reason });

export class Stage {
  /** @type {Map<string, Promise<Ran>>} */
  #first = new Map();

  /**
   * @param {import("./kit.d.ts").Subject} subject
   * @param {import("./kit.d.ts").CallGuest} call
   * @param {import("./kit.d.ts").KitOptions} options
   */
  constructor(subject, call, options) {
    this.subject = subject;
    this.call = call;
    this.options = options;
  }

  /** The export that has the rows of a window. */
  windowed() {
    return this.scenarios("sync").length ? "sync" : "fetch";
  }

  /** The scenarios of one export, or of all. @param {string} [name] */
  scenarios(name) {
    return this.subject.scenarios.filter((one) => name === undefined || one.export === name);
  }

  /** Those that end well, with what they came to. @param {string} [name] */
  async good(name) {
    const all = await Promise.all(
      this.scenarios(name).map(async (one) => ({ scenario: one, ran: await this.once(one) })),
    );
    return all.filter(({ ran }) => ran.good);
  }

  /** Why there is nothing to look at. @param {string} [name] */
  async nothing(name) {
    const all = this.scenarios(name);
    if (!all.length) return `the plugin has no ${name ?? "export that is an interface"}`;
    const [first] = all;
    const { last } = await this.once(/** @type {Scenario} */ (first));
    const why = last.error ? `${last.error.code}: ${last.error.message}`.slice(0, 200) : last.outcome;
    const fix = `plugin test FOLDER --record NAME --export ${first?.export}`;
    return `${first?.name} does not end well here (${why}); record a case: ${fix}`;
  }

  /** A scenario as it is; run once, however many ask. @param {Scenario} scenario */
  once(scenario) {
    const known = this.#first.get(scenario.name) ?? this.run(scenario);
    this.#first.set(scenario.name, known);
    return known;
  }

  /**
   * One run: a fetch is called again with `next`, as the platform does it.
   * @param {Scenario} scenario @param {RunOptions} [options] @returns {Promise<Ran>}
   */
  async run(scenario, { cursor, from = 0, seed = "kit", nowMs = scenario.nowMs, deadlineMs, world = "taped" } = {}) {
    const tape = new World(scenario.host, from);
    /** @type {Ran} */
    const ran = {
      last: /** @type {any} */ (undefined),
      ...{ good: false, rows: [], answer: null, checkpoints: [], asked: new Set(), wallMs: 0, strayed: false },
    };
    const save = (/** @type {any} */ at) => ran.checkpoints.push({ cursor: at, rows: ran.rows.length, asked: tape.at });
    /** @type {import("./kit.d.ts").KitCall["host"]} */
    const host = async (name, request, signal) => {
      if (name === "emit" || name.startsWith("emit:")) {
        const rows = rowsOf(name, request);
        ran.rows.push(...rows);
        return { ok: { rows: rows.length } };
      }
      if (name === "checkpoint") save(parsed(textOf(request))?.cursor ?? null);
      if (OWN.includes(name)) return { ok: {} };
      ran.asked.add(name);
      if (world === "silent")
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      if (world === "away") return { error: { code: "unavailable", message: "nobody answers" } };
      return tape.answer(name, parsed(textOf(request)));
    };
    let at = cursor ?? scenario.input.cursor ?? null;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const input = isWindowed(scenario) ? { ...scenario.input, cursor: at } : scenario.input;
      const result = await this.call({
        ...{ export: scenario.export, input: JSON.stringify(input), nowMs, seed: `${seed}/${page}` },
        ...(world !== "closed" && { host }),
        ...(deadlineMs !== undefined && { deadlineMs }),
      });
      ran.last = result;
      ran.wallMs += result.wallMs;
      if (result.outcome !== "ok") break;
      const answer = parsed(result.output);
      const { rows = [], ...rest } = isObject(answer) ? answer : { answer };
      ran.answer = isWindowed(scenario) ? rest : answer;
      ran.good = !isWindowed(scenario) || GOOD.includes(rest.status ?? "ok");
      if (!isWindowed(scenario)) break;
      if (Array.isArray(rows)) ran.rows.push(...rows.map((row) => JSON.stringify(row)));
      if (rest.next === undefined || rest.next === null) break;
      at = rest.next;
      save(at);
    }
    ran.strayed = tape.strayed;
    return ran;
  }
}

/** Whether a call is for the rows of a window. @param {Scenario} scenario */
export const isWindowed = ({ export: name }) => name === "fetch" || name === "sync";

/**
 * Lines are rows; of CSV without the head, of Arrow the whole is one.
 * @param {string} name @param {Uint8Array} bytes
 */
function rowsOf(name, bytes) {
  if (name === "emit:arrow") return [JSON.stringify(textOf(bytes))];
  const lines = textOf(bytes)
    .split("\n")
    .filter((line) => line.trim() !== "");
  return name === "emit" ? lines : lines.slice(1).map((line) => JSON.stringify(line));
}

/** Whether a failure says what it is: a code and a message, no trap. @param {KitResult} result */
export const isTold = ({ outcome, error }) => TOLD.includes(outcome) && Boolean(error?.code) && Boolean(error?.message);

/** @param {KitResult} result */
export const endOf = ({ outcome, error }) =>
  error ? `${outcome} (${error.code || "no code"}: ${String(error.message).slice(0, 160)})` : outcome;

/** @param {Uint8Array} bytes */
export const textOf = (bytes) => new TextDecoder().decode(bytes);

/** @param {string} text @returns {any} */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {unknown} value @returns {value is Record<string, any>} */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {number} ms */
export const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`);
