/** Sources of one interface each, joined into the source of a plugin that has them all. Pure; knows no language. */

/** A list that is written once in a file: the names that it imports, or what it exports. */
export interface NameList {
  /** One match in a file. The group that matches is the items, with commas or line breaks between them. */
  readonly find: RegExp;
  readonly write: (items: readonly string[]) => string;
  /** How its language sorts them; without: as they come. */
  readonly sort?: (a: string, b: string) => number;
  /** At the end of the file; else where the first source has it, or at its top. */
  readonly last?: boolean;
}

export interface SourceForm {
  readonly lists: readonly NameList[];
  /** Blank lines around what is defined at the top level. */
  readonly airy?: boolean;
}

/** Lines that stand above all others, once. */
const IMPORTS = /^(?:use |#include |const \w+ = @import\(|local \w+ = require).*$/gm;
export const WIDTH = 100;

interface Wrapping {
  readonly indent?: string;
  /** Between the items and what is around them, on one line. */
  readonly space?: string;
  /** Lines are filled; else each item has its own. */
  readonly filled?: boolean;
}

/** Items between `open` and `close`: on one line where that fits. */
export function wrapped(open: string, items: readonly string[], close: string, how: Wrapping = {}): string {
  const { indent = "  ", space = " ", filled = false } = how;
  const line = `${open}${space}${items.join(", ")}${space}${close}`;
  if (line.length <= WIDTH) return line;
  const outer = /^ */.exec(open)?.[0] ?? "";
  const lines: string[] = [];
  for (const item of items) {
    const longer = `${lines.at(-1)} ${item},`;
    if (filled && lines.length && longer.length <= WIDTH) lines[lines.length - 1] = longer;
    else lines.push(`${outer}${indent}${item},`);
  }
  return [open, ...lines, `${outer}${close}`].join("\n");
}

/** Each source opens with a line of comment; these open the joined one. One source stays as it is. */
export function joinSources(sources: readonly string[], { lists, airy = false }: SourceForm): string {
  const [only = ""] = sources;
  if (sources.length < 2) return only;
  const comments = sources.map((source) => source.slice(0, source.indexOf("\n")));
  let texts = sources.map((source, i) => source.slice((comments[i] as string).length));
  texts = hoistImports(texts, lists);
  for (const list of lists) texts = mergeList(texts, list);
  const paragraphs = texts.flatMap((text) => text.split(/\n{2,}/).map((one) => one.replace(/\n+$/, "")));
  const kept = paragraphs
    .map((one) => one.replace(/^\n+/, ""))
    .filter((one, i, all) => one !== "" && (/^\s/.test(one) || all.indexOf(one) === i));
  const spaced = kept.map((one, i) => (i === 0 ? one : `${gap(kept[i - 1] as string, one, airy)}${one}`));
  const opening = joinComments(comments);
  // What stood right below its comment still does.
  const first = /^\n\n/.test(sources[0]?.slice(comments[0]?.length) ?? "") ? "\n\n" : "\n";
  return `${opening}${first}${spaced.join("")}\n`;
}

const trimmed = (text: string) => text.trim();

function mergeList(texts: readonly string[], { find, write, sort, last = false }: NameList): string[] {
  const found = texts.map((text) =>
    find
      .exec(text)
      ?.slice(1)
      .find((group) => group !== undefined),
  );
  const items = [...new Set(found.flatMap((list) => list?.split(/,\s|\n/) ?? []).map(trimmed))].filter(
    (one) => one !== "",
  );
  if (!items.length) return [...texts];
  const written = write(sort ? items.sort(sort) : items);
  const at = last ? texts.length - 1 : 0;
  return texts.map((text, i) => {
    if (i !== at) return text.replace(find, "");
    if (found[i] !== undefined) return text.replace(find, () => written);
    return last ? `${text}\n\n${written}\n` : `\n${written}\n\n${text}`;
  });
}

/** What others import besides their lists goes to the imports of the first. */
function hoistImports([first = "", ...others]: readonly string[], lists: readonly NameList[]): string[] {
  const own: readonly string[] = first.match(IMPORTS) ?? [];
  const isMore = (line: string) => !own.includes(line) && !lists.some(({ find }) => find.test(line));
  const more = new Set(others.flatMap((text) => text.match(IMPORTS) ?? []).filter(isMore));
  const without = others.map((text) =>
    text.replace(IMPORTS, (line) => (lists.some((l) => l.find.test(line)) ? line : "")),
  );
  if (!more.size) return [first, ...without];
  const sorted = [...own, ...more].sort((a, b) => (a < b ? -1 : 1)).join("\n");
  const [above] = own;
  if (above === undefined) return [`\n${sorted}\n\n${first}`, ...without];
  return [first.replace(own.join("\n"), () => sorted), ...without];
}

function gap(before: string, after: string, airy: boolean): string {
  const defined = /^(?:def|class|@)/.test(after) || /\n\s+.*$/.test(before);
  return airy && defined && !/^\s/.test(after) ? "\n\n\n" : "\n\n";
}

function joinComments(comments: readonly string[]): string {
  const [first = ""] = comments;
  const inner = (open: number, close: number) => comments.map((comment) => comment.slice(open, comment.length - close));
  if (first.startsWith("/**")) return ["/**", ...inner(4, 3).map((text) => ` * ${text}`), " */"].join("\n");
  if (first.startsWith('"""')) return `"""${inner(3, 3).join("\n")}\n"""`;
  return comments.join("\n");
}
