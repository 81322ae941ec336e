/**
 * The world of a scenario: what was written down, found again by what is asked. In order while the guest asks in order;
 * one that is resumed, or asks for less, finds its answers all the same.
 */

/** @typedef {import("./kit.d.ts").WorldAnswer} WorldAnswer */

export class World {
  /** @type {readonly WorldAnswer[]} */
  #answers;
  at;
  strayed = false;

  /** @param {readonly WorldAnswer[]} answers @param {number} from */
  constructor(answers, from) {
    this.#answers = answers;
    this.at = from;
  }

  /** @param {string} name @param {unknown} request @returns {import("./kit.d.ts").HostReply} */
  answer(name, request) {
    const fits = (/** @type {WorldAnswer | undefined} */ one) =>
      one?.name === name && (one.request === undefined || includes(request, one.request));
    const behind = this.#answers.findIndex((one, i) => i >= this.at && fits(one));
    const index = behind >= 0 ? behind : this.#answers.findIndex((one) => one.request !== undefined && fits(one));
    const found = this.#answers[index];
    if (!found) {
      this.strayed = true;
      return { error: { code: "unavailable", message: `nobody wrote down what ${name} answers to that` } };
    }
    if (behind >= 0) this.at = index + 1;
    if (found.error) return { error: found.error };
    return { ok: name === "http" ? httpAnswer(found.answer) : found.answer };
  }
}

/**
 * Whether all that `part` says is so in `whole`. The parameters of a URL may come in any order.
 * @param {any} whole @param {any} part @param {string} [key] @returns {boolean}
 */
export function includes(whole, part, key = "") {
  if (typeof part !== "object" || part === null)
    return Object.is(whole, part) || (key === "url" && sameUrl(whole, part));
  if (typeof whole !== "object" || whole === null) return false;
  return Object.entries(part).every(([name, value]) => includes(whole[name], value, name));
}

/** @param {unknown} a @param {unknown} b */
function sameUrl(a, b) {
  const [one, other] = [a, b].map((url) => (URL.canParse(String(url)) ? new URL(String(url)) : undefined));
  one?.searchParams.sort();
  other?.searchParams.sort();
  return one !== undefined && one.href === other?.href;
}

/** What may be left out of an answer of http. @param {any} answer */
function httpAnswer(answer) {
  const { json, ...rest } = answer ?? {};
  const body = json !== undefined && { body: JSON.stringify(json) };
  return { status: 200, url: "", elapsed_ms: 1, body: "", ...body, ...rest, headers: rest.headers ?? {} };
}
