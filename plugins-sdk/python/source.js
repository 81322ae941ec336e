/**
 * What MicroPython forgets about a source is told to it by the source itself: it drops annotations, so the fields of a
 * dataclass are named in its decorator, and the members of an enum behind its class. Lines keep their numbers. Pure.
 */

const CLASS = /^(\s*)class\s+(\w+)\s*(?:\(([^)]*)\))?\s*:/;
const DATACLASS = /^(\s*)@((?:dataclasses\.)?dataclass)\s*(?:\((.*)\))?\s*(?:#.*)?$/;
const FIELD = /^(\w+)\s*:\s*([^=\s].*)$/;
const MEMBER = /^([A-Za-z]\w*)\s*=[^=]/;
const ENUM_BASE = /(?:^|[\s,.])(?:Enum|IntEnum|StrEnum)\s*(?:$|,)/;
const ASYNC = /^async\s+def\s+(\w+)/;

/**
 * @param {string} code
 * @returns {{ code: string, asyncNames: string[], mistakes: { line: number, problem: string }[] }}
 */
export function prepared(code) {
  const lines = code.split("\n");
  const inText = insideText(lines);
  const out = [...lines];
  const mistakes = [];
  const asyncNames = [];
  for (const [i, line] of lines.entries()) {
    if (inText[i]) continue;
    const [, awaited] = ASYNC.exec(line) ?? [];
    if (awaited) asyncNames.push(awaited);
    const [, indent = "", name, bases = ""] = CLASS.exec(line) ?? [];
    if (name === undefined) continue;
    const body = bodyOf(lines, inText, i, indent);
    nameFields(out, lines, i, body.texts);
    if (!ENUM_BASE.test(bases)) continue;
    const members = body.texts.flatMap((text) => MEMBER.exec(text)?.[1] ?? []);
    const call = `${indent}${name} = __enum(${name}, ${tuple(members)})`;
    if (body.end >= lines.length) out.push(call);
    else if (lines[body.end]?.trim() === "") out[body.end] = call;
    else mistakes.push({ line: body.end + 1, problem: `leave a line empty behind the enum ${name}` });
  }
  return { code: out.join("\n"), asyncNames, mistakes };
}

/**
 * The decorator of the class at `at`, if it is `@dataclass`.
 * @param {string[]} out
 * @param {readonly string[]} lines
 * @param {number} at
 * @param {readonly string[]} body
 */
function nameFields(out, lines, at, body) {
  for (let i = at - 1; i >= 0 && /^\s*@/.test(lines[i] ?? ""); i -= 1) {
    const [, indent, decorator, given = ""] = DATACLASS.exec(lines[i] ?? "") ?? [];
    if (decorator === undefined) continue;
    const fields = body.flatMap((text) => {
      const [, field, type = ""] = FIELD.exec(text) ?? [];
      return field && !/^(typing\.)?ClassVar\b/.test(type) ? [field] : [];
    });
    const more = given.trim() && `, ${given}`;
    out[i] = `${indent}@${decorator}(_fields=${tuple(fields)}${more})`;
  }
}

/** @param {readonly string[]} names */
const tuple = (names) => `(${names.map((name) => `"${name}",`).join(" ")})`;

/**
 * The statements right in a class, without their indentation, and the first line behind it.
 * @param {readonly string[]} lines
 * @param {readonly boolean[]} inText
 * @param {number} at
 * @param {string} indent
 */
function bodyOf(lines, inText, at, indent) {
  const texts = [];
  let end = at + 1;
  let inner;
  for (let i = at + 1; i < lines.length; i += 1) {
    const line = /** @type {string} */ (lines[i]);
    const text = line.trim();
    const depth = line.length - line.trimStart().length;
    if (inText[i]) end = i + 1;
    if (inText[i] || text === "" || text.startsWith("#")) continue;
    if (depth <= indent.length) break;
    inner ??= depth;
    if (depth === inner) texts.push(text);
    end = i + 1;
  }
  return { texts, end };
}

/**
 * For each line whether it begins inside a text of several lines.
 * @param {readonly string[]} lines
 */
function insideText(lines) {
  let quote = "";
  return lines.map((line) => {
    const began = quote !== "";
    for (const [found] of line.replace(/^\s*#.*/, "").matchAll(/"""|'''/g)) {
      if (quote === "") quote = found;
      else if (quote === found) quote = "";
    }
    return began;
  });
}
