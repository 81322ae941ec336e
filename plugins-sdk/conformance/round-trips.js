/**
 * Texts and numbers on their way through a plugin. Where one of its inputs comes out again as it went in, something
 * difficult is put in its place: what comes out must be that text to the last character, that number to the last bit.
 */
import { fail, isObject, parsed, pass, skip } from "./stage.js";

/**
 * @typedef {import("./kit.d.ts").Scenario} Scenario
 * @typedef {{ where: string, scenario: Scenario }} Candidate
 */

const HEAD = "mk7";
/** Beyond ASCII, beyond the basic plane, combining, right to left. */
const MARK = `${HEAD} rød ☃ 𝄞 é שלום`;
/** The largest whole number that all JSON libraries agree on (RFC 8259 §6), and a fraction of 17 digits. */
const BIG = 9007199254740991;
const FRACTION = 0.30000000000000004;
const MAX_CANDIDATES = 40;
/** Shorter values would be found everywhere. */
const MIN_CHARACTERS = 3;

/** @param {import("./stage.js").Stage} stage */
export const text = (stage) =>
  through(stage, "text", MARK, (out) => (out.includes(MARK) ? "same" : out.includes(HEAD) ? "changed" : "gone"));

/** @param {import("./stage.js").Stage} stage */
export async function numbers(stage) {
  const big = await through(stage, "number", BIG, (out) => seen(out, BIG, /900719925474\d*|9\.00719925474\d*e/i));
  const fraction = await through(stage, "number", FRACTION, (out) => seen(out, FRACTION, /0\.30000000\d*/));
  if (big.verdict === "fail" || fraction.verdict === "skip") return big;
  return big.verdict === "skip" ? fraction : { ...fraction, reason: `${big.reason}; ${fraction.reason}` };
}

/**
 * A double may be written in many ways; what is read from it must be the very same.
 * @param {string} out @param {number} exact @param {RegExp} near
 */
const seen = (out, exact, near) =>
  (out.match(/\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi) ?? []).some((one) => Number(one) === exact)
    ? "same"
    : near.test(out)
      ? "changed"
      : "gone";

/**
 * @param {import("./stage.js").Stage} stage @param {"text" | "number"} kind @param {string | number} mark
 * @param {(out: string) => "same" | "changed" | "gone"} look
 */
async function through(stage, kind, mark, look) {
  const good = await stage.good();
  if (!good.length) return skip(await stage.nothing());
  const candidates = good.flatMap(({ scenario, ran }) => candidatesOf(scenario, outputOf(ran), kind, mark));
  for (const { where, scenario } of candidates.slice(0, MAX_CANDIDATES)) {
    const ran = await stage.run(scenario);
    const out = outputOf(ran);
    const found = ran.good ? look(out) : "gone";
    if (found === "same") return pass(`${JSON.stringify(mark)} comes through from ${where}`);
    if (found === "changed") {
      const at = Math.max(0, out.search(kind === "text" ? HEAD : /[\d.]{9}/) - 20);
      return fail(`${JSON.stringify(mark)} from ${where} comes out changed: ${out.slice(at, at + 100)}`);
    }
  }
  return skip(`no ${kind} of its inputs comes out again as it went in`);
}

/**
 * Everything that left, as JSON with no escapes that need not be.
 * @param {import("./stage.js").Ran} ran
 */
function outputOf(ran) {
  const rows = ran.rows.map(plain);
  return [...rows, plain(ran.last.output)].join("\n");
}

/** Numbers keep the digits that the guest wrote. @param {string} json */
const plain = (json) =>
  json.includes("\\u")
    ? json.replace(/\\u([0-9a-f]{4})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
    : json;

/**
 * The scenario with a value replaced that left as it had come, from its input or from the world, for each such value.
 * @param {Scenario} scenario @param {string} out @param {"text" | "number"} kind @param {string | number} mark
 * @returns {Candidate[]}
 */
function candidatesOf(scenario, out, kind, mark) {
  const { input, host } = scenario;
  const type = kind === "text" ? "string" : "number";
  const left = leavesOf(out.split("\n").map(parsed)).filter((leaf) => typeof leaf === type);
  const values = [...new Set(left)].filter((leaf) => String(leaf).length >= MIN_CHARACTERS).slice(0, MAX_CANDIDATES);
  const answers = host.map(({ answer }) => answer);
  /** @type {Candidate[]} */
  const found = values.flatMap((value) => {
    const given = replaced(input, value, mark);
    const told = replaced(answers, value, mark);
    const changed = [
      ...(same(given, input) ? [] : [{ where: "its input", scenario: { ...scenario, input: given } }]),
      ...(same(told, answers)
        ? []
        : [
            {
              where: "what it was told",
              scenario: { ...scenario, host: host.map((one, i) => ({ ...one, answer: told[i] })) },
            },
          ]),
    ];
    return changed.map(({ where, ...rest }) => ({
      where: `${where} (${scenario.name}: ${JSON.stringify(value)})`,
      ...rest,
    }));
  });
  const open = scenario.export.startsWith("function:") && !Object.keys(input).length;
  const filled = { ...scenario, input: { value: mark } };
  return open ? [...found, { where: `the input of ${scenario.export}`, scenario: filled }] : found;
}

/** What says where to go and when, and is not carried through. */
const LEFT_ALONE = ["headers", "begin", "end", "cursor", "url", "method", "parameters", "endpoint"];

/** @param {any} value @param {any} from @param {string | number} to @returns {any} */
function replaced(value, from, to) {
  if (Object.is(value, from)) return to;
  if (Array.isArray(value)) return value.map((one) => replaced(one, from, to));
  if (isObject(value)) {
    const entries = Object.entries(value);
    return Object.fromEntries(entries.map(([k, v]) => [k, LEFT_ALONE.includes(k) ? v : replaced(v, from, to)]));
  }
  if (typeof value !== "string" || value.length < String(from).length) return value;
  const body = parsed(value);
  if (typeof body === "object" && body !== null) return JSON.stringify(replaced(body, from, to));
  // XML, CSV: a whole cell.
  const cell = String(from).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return value.replace(new RegExp(`(?<=[>,;"\\t\\n|])${cell}(?=$|[<,;"\\t\\r\\n|])`, "g"), () => String(to));
}

/** @param {unknown} a @param {unknown} b */
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** @param {any} value @returns {any[]} */
function leavesOf(value) {
  if (typeof value !== "object" || value === null) return [value];
  return Object.values(value).flatMap(leavesOf);
}
