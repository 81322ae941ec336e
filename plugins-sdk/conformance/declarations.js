/** What a plugin says of itself, against what it is: exports, imports, columns, permissions. */
import { fail, isWindowed, parsed, pass } from "./stage.js";

/** Each of these in a manifest needs an export of the same name. */
const INTERFACES = [
  ...["fetch", "sync", "before_sync", "after_sync", "register"],
  ...["poll", "discover", "enrich", "route"],
];
const IMPORTS = ["extism:host/env", "extism:host/user"];
const USER = ["host_call", "now", "random"];
const TYPE = "()->i32";
const FUNCTION = "function:";

/**
 * Interfaces and functions that a manifest declares, by the names of their exports.
 * @param {Record<string, any>} manifest
 */
function wanted({ interfaces = {} }) {
  const plain = INTERFACES.filter((name) => interfaces[name] !== undefined);
  return [...plain, ...Object.keys(interfaces.functions ?? {}).map((name) => `${FUNCTION}${name}`)];
}

/** @param {import("./stage.js").Stage} stage */
export function exported({ subject: { manifest, facts } }) {
  const functions = new Map(facts.exports.filter((e) => e.kind === "function").map((e) => [e.name, e.type]));
  const names = wanted(manifest);
  const wrong = names.flatMap((name) => {
    if (!functions.has(name)) return [`${name} is not exported`];
    const type = functions.get(name);
    return type === undefined || type === TYPE ? [] : [`${name} has type ${type}, not ${TYPE}`];
  });
  const strange = facts.imports.filter(
    ({ module, name }) => !IMPORTS.includes(module) || (module === "extism:host/user" && !USER.includes(name)),
  );
  wrong.push(...strange.map(({ module, name }) => `imports ${module}.${name}, which no host offers`));
  if (!names.length) wrong.push("the manifest declares no interface: nobody would call it");
  return wrong.length ? fail(wrong.join("; ")) : pass(`${names.join(", ")}: each ${TYPE}; imports only the ABI`);
}

/**
 * What a manifest says that is allowed to ask.
 * @type {Readonly<Record<string, (p: Record<string, any>) => boolean>>}
 */
const PERMISSION = {
  http: (p) => p.http?.length > 0,
  kv: (p) => p.kv === true,
  query: (p) => p.query?.length > 0,
  secret: (p) => p.secrets?.length > 0,
  call: (p) => p.call?.length > 0,
};

/** @param {import("./stage.js").Stage} stage */
export async function declared(stage) {
  const { manifest, facts } = stage.subject;
  const names = wanted(manifest);
  const undeclared = facts.exports.filter(
    ({ name, kind }) =>
      kind === "function" && (INTERFACES.includes(name) || name.startsWith(FUNCTION)) && !names.includes(name),
  );
  const wrong = undeclared.map(({ name }) => `the module exports ${name}, which plugin.json does not declare`);
  const asked = new Set();
  for (const scenario of stage.scenarios()) {
    const ran = await stage.once(scenario);
    for (const name of ran.asked) asked.add(name);
    if (isWindowed(scenario)) wrong.push(...strangers(columnsOf(manifest), ran.rows));
  }
  for (const name of asked) {
    if (PERMISSION[name] && !PERMISSION[name](manifest.permissions ?? {})) {
      wrong.push(`it asks for ${name}, which plugin.json does not ask permission for`);
    }
  }
  const unique = [...new Set(wrong)];
  return unique.length ? fail(unique.join("; ")) : pass("what it exports, asks for and returns is declared");
}

/** @param {Record<string, any>} manifest */
const columnsOf = ({ interfaces = {} }) => interfaces.sync?.columns ?? interfaces.fetch?.columns;

/**
 * Columns of rows that are not declared, where any are.
 * @param {Record<string, string> | undefined} columns @param {string[]} rows
 */
function strangers(columns, rows) {
  if (!columns) return [];
  // A line of CSV is one text here: its columns are looked at by the store.
  const seen = new Set(
    rows.map(parsed).flatMap((row) => (typeof row === "object" && row !== null ? Object.keys(row) : [])),
  );
  const strange = [...seen].filter((name) => !(name in columns));
  return strange.map((name) => `its rows have a column ${name}, which plugin.json does not declare`);
}
