/** Picks things by their tags and a few facts: `daily and not (slow or state:paused)`. Pure. */
import { Fault } from "../kit/fault.ts";
import { nearest, shown } from "./names.ts";

/** What a selector looks at: tags, and facts by their key. */
export interface Selectable {
  readonly tags: readonly string[];
  readonly facts: Readonly<Record<string, string>>;
}

export type Selector = (thing: Selectable) => boolean;

const MAX_LENGTH = 2_000;
const MAX_DEPTH = 50;
/** A parenthesis, `key:value` or a word; either may be quoted where it holds spaces, parentheses or an operator. */
const TOKEN = /\s*(?:([()])|(?:([a-z_]+):)?(?:"([^"]*)"|'([^']*)'|([^\s()"']+)))/y;
const OPERATORS = ["and", "or", "not"];

interface Token {
  readonly at: number;
  /** `(`, `)`, `and`, `or`, `not`, or "" for a term. */
  readonly operator: string;
  readonly key: string | undefined;
  readonly value: string;
  /** Whether `*` in it stands for any text. */
  readonly pattern: boolean;
}

/**
 * A word is a tag, `key:value` a fact; `*` stands for any text, save in quotes. `not` binds closest, then `and`, then
 * `or`. Empty: everything. Errors: `invalid` naming `field`, with the place.
 */
export function parseSelector(text: string, keys: readonly string[], field: string): Selector {
  if (text.trim() === "") return () => true;
  const refuse = (problem: string, fix: string): never => {
    throw Fault.invalid(field, [{ field, problem: `${shown(text)} ${problem}`, fix }]);
  };
  if (text.length > MAX_LENGTH) refuse(`has ${text.length} characters`, `at most ${MAX_LENGTH}`);
  const tokens = tokensOf(text, keys, refuse);
  let next = 0;
  const where = () => (tokens[next] ? `at character ${(tokens[next]?.at ?? 0) + 1}` : "at its end");
  const taken = (operator: string) => {
    const found = tokens[next]?.operator === operator;
    if (found) next += 1;
    return found;
  };

  const either = (depth: number): Selector => {
    const parts = [both(depth)];
    while (taken("or")) parts.push(both(depth));
    return parts.length === 1 ? (parts[0] as Selector) : (thing) => parts.some((part) => part(thing));
  };
  const both = (depth: number): Selector => {
    const parts = [one(depth)];
    while (taken("and")) parts.push(one(depth));
    return parts.length === 1 ? (parts[0] as Selector) : (thing) => parts.every((part) => part(thing));
  };
  const one = (depth: number): Selector => {
    if (depth > MAX_DEPTH) refuse(`is nested deeper than ${MAX_DEPTH} levels`, "make it flatter");
    if (taken("not")) {
      const inner = one(depth + 1);
      return (thing) => !inner(thing);
    }
    if (taken("(")) {
      const inner = either(depth + 1);
      if (!taken(")")) refuse(`lacks a ")" ${where()}`, "close what is open");
      return inner;
    }
    const token = tokens[next];
    if (token?.operator !== "") return refuse(`lacks a tag ${where()}`, 'such as "daily and not slow"');
    next += 1;
    return termOf(token);
  };

  const selector = either(0);
  if (next < tokens.length) {
    refuse(`goes on ${where()} without a word between`, "write and, or, and not before what shall not be");
  }
  return selector;
}

function tokensOf(text: string, keys: readonly string[], refuse: (problem: string, fix: string) => never): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) return refuse(`is not readable at character ${from + 1}`, "close the quotes");
    const [whole, bracket, key, double, single, word] = match;
    const at = from + (whole.length - whole.trimStart().length);
    const quoted = double ?? single;
    const operator = bracket ?? (key === undefined && OPERATORS.find((one) => one === word?.toLowerCase())) ?? "";
    if (key !== undefined && !keys.includes(key)) {
      const meant = nearest(key, keys);
      const said = meant ? `did you mean ${meant}:?` : `one of ${keys.map((one) => `${one}:`).join(" ")}`;
      return refuse(`asks for "${key}:", which is not known here`, `${said}; a tag with a colon goes in quotes`);
    }
    tokens.push({ at, operator: operator || "", key, value: quoted ?? word ?? "", pattern: quoted === undefined });
  }
  return tokens;
}

function termOf({ key, value, pattern }: Token): Selector {
  const fits = matcher(value, pattern);
  if (key === undefined) return ({ tags }) => tags.some(fits);
  return ({ facts }) => fits(facts[key] ?? "");
}

function matcher(value: string, pattern: boolean): (text: string) => boolean {
  if (!pattern || !value.includes("*")) return (text) => text === value;
  const parts = value.split("*");
  return (text) => {
    const [first = "", last = ""] = [parts[0], parts.at(-1)];
    if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
    let at = first.length;
    const inner = text.slice(0, text.length - last.length);
    for (const part of parts.slice(1, -1)) {
      const found = inner.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return true;
  };
}

/** The name of an enum's value as selectors write it: 2 → `enabled`. */
export const stateWord = (names: Readonly<Record<string, string | number>>, value: number): string =>
  Object.entries(names)
    .find(([, known]) => known === value)?.[0]
    .toLowerCase() ?? "";
