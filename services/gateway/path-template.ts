/** Path templates of google.api.http: parsed once, then matched against request paths. Pure. */
import { Fault } from "../kit/fault.ts";

export interface Variable {
  /** Dotted field path within the request: `pipe.name`. */
  readonly field: string;
  /** What it stands for: `pipes/*`. */
  readonly pattern: string;
}

export interface PathTemplate {
  readonly source: string;
  readonly variables: readonly Variable[];
  /** The path as OpenAPI writes it: `/v1/pipes/{pipe}:sync`. */
  readonly openApi: string;
  /** Names of the parameters in `openApi`, and whether each may hold slashes. */
  readonly parameters: readonly { readonly name: string; readonly slashes: boolean }[];
  /** The value of each variable in order, decoded, or undefined when the path is another. */
  match(path: string): readonly string[] | undefined;
}

const VARIABLE = /\{([a-z0-9_.]+)(?:=([^}]*))?\}/g;

/** Errors: `internal` for a template that is not one: it comes from our own protos. */
export function parseTemplate(source: string): PathTemplate {
  const variables: Variable[] = [];
  const parameters: { name: string; slashes: boolean }[] = [];
  let expression = "";
  let openApi = "";
  let at = 0;
  for (const found of source.matchAll(VARIABLE)) {
    const [whole, field = "", pattern = "*"] = found;
    const literal = source.slice(at, found.index);
    expression += escapeLiteral(literal);
    openApi += literal;
    variables.push({ field, pattern });
    expression += `(${expressionOf(pattern)})`;
    openApi += namedSegments(pattern, field, parameters);
    at = found.index + whole.length;
  }
  const rest = source.slice(at);
  if (/[{}*]/.test(rest) || !source.startsWith("/")) {
    throw new Fault("internal", `"${source}" is not a path template that this gateway knows`);
  }
  const regex = new RegExp(`^${expression}${escapeLiteral(rest)}$`);
  return {
    source,
    variables,
    openApi: openApi + rest,
    parameters,
    match(path) {
      const matched = regex.exec(path);
      if (!matched) return undefined;
      const values = matched.slice(1).map((raw, index) => decode(raw, variables[index]?.pattern ?? ""));
      return values.includes(undefined) ? undefined : (values as string[]);
    },
  };
}

const escapeLiteral = (literal: string) => literal.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A bare colon belongs to a custom verb, never to a variable: `pipes/a:sync` is not a pipe called `a:sync`. */
const expressionOf = (pattern: string) =>
  pattern
    .split("/")
    .map((part) => (part === "**" ? "[^:]+" : part === "*" ? "[^/:]+" : escapeLiteral(part)))
    .join("/");

/** `pipes/*` → `pipes/{pipe}`: OpenAPI knows no patterns, and two paths must differ in more than a parameter's name. */
function namedSegments(pattern: string, field: string, parameters: { name: string; slashes: boolean }[]): string {
  const parts = pattern.split("/");
  const named = parts.map((part, index) => {
    if (part !== "*" && part !== "**") return part;
    const name = parts[index - 1]?.replace(/s$/, "") ?? field.replaceAll(".", "_");
    parameters.push({ name, slashes: part === "**" });
    return `{${name}}`;
  });
  return named.join("/");
}

/** Of a value that may hold slashes an encoded slash stays encoded, so that both kinds can be told apart. */
function decode(raw: string, pattern: string): string | undefined {
  try {
    if (!pattern.includes("**")) return raw.split("/").map(decodeURIComponent).join("/");
    return raw
      .split("/")
      .map((part) => decodeURIComponent(part.replace(/%2f/gi, "%252F")))
      .join("/");
  } catch {
    return undefined;
  }
}
