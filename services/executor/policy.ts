/** The operator's policy: a file that says what instances may be granted at most on this executor. Watched. */
import { readFile } from "node:fs/promises";
import type { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import {
  CALL_FIX,
  CONTEXT_FIX,
  PUBLISH_FIX,
  parseCallPattern,
  parseContextPattern,
  parsePublishPattern,
  parseSocketPattern,
  SOCKET_FIX,
} from "../../proto/patterns.ts";
import { parseSecretPermission, SECRET_FIX } from "../../proto/secrets.ts";
import { parseUrlPattern } from "../../proto/url-pattern.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { isObject } from "./host/functions.ts";

export const POLICY = "EXECUTOR_POLICY";
/** A file behind a mounted volume may be exchanged in ways that no watch of the kernel tells. */
const LOOK_MS = 1_000;
const MAX_RULES = 1_000;

interface Rule {
  readonly plugin: RegExp;
  readonly instance: RegExp;
  readonly allow: Permissions;
}
export type PolicyRules = readonly Rule[];

export interface Policy {
  /** Undefined: there is no policy. Another value after each change of the file. */
  readonly rules: PolicyRules | undefined;
}

/** All that the rules for this instance allow together; nothing when none is for it. */
export function ceilingOf(rules: PolicyRules, of: { readonly plugin: string; readonly instance: string }): Permissions {
  const fitting = rules.filter(({ plugin, instance }) => plugin.test(of.plugin) && instance.test(of.instance));
  const allowed = fitting.map(({ allow }) => allow);
  return {
    http: allowed.flatMap(({ http }) => http),
    kv: allowed.some(({ kv }) => kv),
    query: allowed.flatMap(({ query }) => query),
    secrets: allowed.flatMap(({ secrets }) => secrets),
    sockets: allowed.flatMap(({ sockets }) => sockets),
    call: allowed.flatMap(({ call }) => call),
    publish: allowed.flatMap(({ publish }) => publish),
    context: allowed.flatMap(({ context }) => context),
  };
}

/**
 * `path` "" means no policy. Errors: `invalid` with every mistake of the file, `unavailable` when it cannot be read.
 * Later, a file that is broken or gone leaves the last good policy in place, and the log says so once.
 */
export async function openPolicy(path: string, log: Logger): Promise<Policy & AsyncDisposable> {
  if (path === "") return { rules: undefined, async [Symbol.asyncDispose]() {} };
  let text = await read(path);
  let rules = parsePolicy(text);
  const loop = background(
    async (signal) => {
      let failed = "";
      while (await pause(LOOK_MS, signal)) {
        try {
          const now = await read(path);
          if (now !== text) rules = parsePolicy(now);
          if (now !== text || failed !== "") log.info({ path, rules: rules.length }, "the policy is in force");
          text = now;
          failed = "";
        } catch (thrown) {
          const fault = Fault.from(thrown);
          if (fault.message !== failed) log.error({ err: fault, path }, "the policy before stays in force");
          failed = fault.message;
        }
      }
    },
    (fault) => log.error({ err: fault }, "the policy is no longer watched"),
  );
  return {
    get rules() {
      return rules;
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    throw new Fault("unavailable", `${POLICY}: ${Fault.from(thrown).message}`, { cause: thrown });
  }
}

const FIELDS = ["http", "kv", "query", "secrets", "sockets", "call", "publish", "context"];

/** `{"rules": [{"plugin": "weather*", "instance": "*", "allow": {"http": […], "kv": true, …}}]}`. Errors: `invalid`. */
export function parsePolicy(text: string): PolicyRules {
  const mistakes: Mistake[] = [];
  const wrong = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const known = (value: Readonly<Record<string, unknown>>, at: string, names: readonly string[]) => {
    for (const name of Object.keys(value)) {
      if (!names.includes(name)) wrong(`${at}${name.slice(0, 100)}`, "is not a field", names.join(", "));
    }
  };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    wrong("policy", `is not JSON: ${Fault.from(thrown).message}`, 'write {"rules": [...]}');
  }
  if (json !== undefined && (!isObject(json) || !Array.isArray(json.rules) || json.rules.length > MAX_RULES)) {
    wrong("rules", "is no list", `write {"rules": [...]}, at most ${MAX_RULES}`);
  } else if (isObject(json)) known(json, "", ["rules"]);
  const given = isObject(json) && Array.isArray(json.rules) ? (json.rules as unknown[]).slice(0, MAX_RULES) : [];
  const rules = given.flatMap((rule, i) => {
    const at = `rules[${i}].`;
    if (!isObject(rule) || !isObject(rule.allow)) {
      wrong(`rules[${i}]`, "has no object `allow`", '{"plugin": "*", "instance": "*", "allow": {}}');
      return [];
    }
    known(rule, at, ["plugin", "instance", "allow"]);
    known(rule.allow, `${at}allow.`, FIELDS);
    const glob = (name: "plugin" | "instance") => {
      const pattern = rule[name] ?? "*";
      if (typeof pattern === "string" && /^[a-z0-9*-]{1,100}$/.test(pattern)) {
        return new RegExp(`^${pattern.replaceAll("*", ".*")}$`);
      }
      wrong(
        `${at}${name}`,
        `${JSON.stringify(pattern)?.slice(0, 100)} is no pattern of names`,
        "a name; * is any text",
      );
      return /$^/;
    };
    return [{ plugin: glob("plugin"), instance: glob("instance"), allow: permissionsOf(rule.allow, at, wrong) }];
  });
  if (mistakes.length) throw Fault.invalid(POLICY, mistakes);
  return rules;
}

type Wrong = (field: string, problem: string, fix: string) => void;

function permissionsOf(allow: Readonly<Record<string, unknown>>, at: string, wrong: Wrong): Permissions {
  const list = (name: string, fix: string, good: (text: string) => unknown) => {
    const values = allow[name] ?? [];
    if (!Array.isArray(values)) wrong(`${at}allow.${name}`, "is no list", "[...]");
    return (Array.isArray(values) ? (values as unknown[]) : []).flatMap((value, j) => {
      if (typeof value === "string" && good(value)) return [value];
      wrong(`${at}allow.${name}[${j}]`, `${JSON.stringify(value)?.slice(0, 100)} is not accepted`, fix);
      return [];
    });
  };
  const http = (Array.isArray(allow.http) ? (allow.http as unknown[]) : []).flatMap((entry, j) => {
    const { url, methods = [] } = isObject(entry) ? entry : {};
    const named = Array.isArray(methods) && methods.every((method) => typeof method === "string") ? methods : undefined;
    if (typeof url === "string" && named && parseUrlPattern(url, named)) return [{ url, methods: named as string[] }];
    wrong(`${at}allow.http[${j}]`, "is no permission", '{"url": "https://api.example.org/*", "methods": ["GET"]}');
    return [];
  });
  if (allow.http !== undefined && !Array.isArray(allow.http)) wrong(`${at}allow.http`, "is no list", "[...]");
  if (allow.kv !== undefined && typeof allow.kv !== "boolean") wrong(`${at}allow.kv`, "is not a boolean", "true");
  return {
    http,
    kv: allow.kv === true,
    query: list("query", "name of a dataset", (text) => /^[a-z][a-z0-9_]*$/.test(text)),
    secrets: list("secrets", SECRET_FIX, parseSecretPermission),
    sockets: list("sockets", SOCKET_FIX, parseSocketPattern),
    call: list("call", CALL_FIX, parseCallPattern),
    publish: list("publish", PUBLISH_FIX, parsePublishPattern),
    context: list("context", CONTEXT_FIX, parseContextPattern),
  };
}
