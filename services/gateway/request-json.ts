/** One JSON object out of path, query and body of a request, and every mistake in it by name. Pure. */
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Binding } from "./api.ts";

export interface RequestParts {
  /** Values of the template's variables, in its order. */
  readonly variables: readonly string[];
  readonly query: URLSearchParams;
  /** The parsed body; undefined when there was none, or when it was raw bytes. */
  readonly body: JsonValue | undefined;
}

/** Errors: `invalid`, with every mistake of path, query and body at once. */
export function requestJson(binding: Binding, { variables, query, body }: RequestParts): JsonObject {
  const input = binding.method.desc.input;
  const mistakes: Mistake[] = [];
  const json = bodyJson(binding, body, mistakes);
  const bound = new Set<string>();
  binding.template.variables.forEach(({ field }, index) => {
    const path = fieldPath(input, field);
    if (!path) throw new Fault("internal", `${binding.method.path}: no field "${field}" for the path`);
    bound.add(dotted(path));
    const value = variables[index] as string;
    const before = lookUp(json, path);
    if (before !== undefined && before !== value && before !== "") {
      const problem = `${JSON.stringify(before)} differs from ${JSON.stringify(value)} in the path`;
      mistakes.push({ field: dotted(path), problem, fix: "leave it out of the body" });
    } else put(json, path, value);
  });
  for (const key of new Set(query.keys())) {
    const mistake = putQuery(binding, json, key, query.getAll(key), bound);
    if (mistake) mistakes.push(mistake);
  }
  if (mistakes.length === 0) {
    try {
      fromJson(input, json);
      return json;
    } catch (thrown) {
      findMistakes(input, json, "", mistakes);
      const problem = thrown instanceof Error ? thrown.message : String(thrown);
      if (mistakes.length === 0) mistakes.push({ field: "", problem });
    }
  } else findMistakes(input, json, "", mistakes);
  throw Fault.invalid(`bad request for ${binding.method.desc.name}`, mistakes);
}

function bodyJson(binding: Binding, body: JsonValue | undefined, mistakes: Mistake[]): JsonObject {
  if (body === undefined) return {};
  if (typeof binding.body === "object") return { [binding.body.jsonName]: body };
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return { ...body };
  mistakes.push({
    field: "",
    problem: "the body is not a JSON object",
    fix: "send an object with the request's fields",
  });
  return {};
}

/** The fields along a dotted path, by proto name or JSON name; undefined when one of them is not there. */
function fieldPath(message: DescMessage, path: string): DescField[] | undefined {
  const fields: DescField[] = [];
  let inside: DescMessage | undefined = message;
  for (const part of path.split(".")) {
    const field: DescField | undefined = inside && fieldOf(inside, part);
    if (!field) return undefined;
    fields.push(field);
    inside = field.fieldKind === "message" && !isWellKnown(field.message) ? field.message : undefined;
  }
  return fields;
}

const fieldOf = (message: DescMessage, name: string) =>
  message.fields.find((field) => field.jsonName === name || field.name === name);

export const isWellKnown = (message: DescMessage) => message.typeName.startsWith("google.protobuf.");

const dotted = (path: readonly DescField[]) => path.map((field) => field.jsonName).join(".");

const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What the body said under either spelling of the names. */
function lookUp(json: JsonObject, path: readonly DescField[]): JsonValue | undefined {
  let at: JsonValue | undefined = json;
  for (const { jsonName, name } of path) {
    if (!isObject(at)) return undefined;
    at = Object.hasOwn(at, jsonName) ? at[jsonName] : Object.hasOwn(at, name) ? at[name] : undefined;
  }
  return at;
}

function put(json: JsonObject, path: readonly DescField[], value: JsonValue): void {
  let at = json;
  for (const [index, { jsonName, name }] of path.entries()) {
    const key = Object.hasOwn(at, name) ? name : jsonName;
    if (index === path.length - 1) at[key] = value;
    else {
      const inside = at[key];
      const next: JsonObject = isObject(inside) ? inside : {};
      if (inside === undefined || isObject(inside)) at[key] = next;
      at = next;
    }
  }
}

function putQuery(
  { method, body, template }: Binding,
  json: JsonObject,
  key: string,
  values: readonly string[],
  bound: ReadonlySet<string>,
): Mistake | undefined {
  const path = fieldPath(method.desc.input, key);
  const field = path?.at(-1);
  if (!path || !field) {
    const known = method.desc.input.fields.filter((f) => f !== body && !isBound(template.variables, f));
    const fix = known.length && body !== "*" ? `known are ${known.map((f) => f.jsonName).join(", ")}` : "leave it out";
    return { field: key, problem: "is not a parameter of this call", fix };
  }
  if (body === "*") return { field: key, problem: "is given in the query", fix: "write it into the body" };
  if (path[0] === body) return { field: key, problem: "is given in the query", fix: "write it into the body" };
  if (bound.has(dotted(path))) return { field: key, problem: "is given in the query", fix: "the path says it" };
  if (field.fieldKind === "list") {
    const element = field.listKind === "scalar" ? field.scalar : undefined;
    put(
      json,
      path,
      values.map((value) => fromQuery(value, element)),
    );
    return undefined;
  }
  const [value = "", ...others] = values;
  if (others.length) return { field: key, problem: `is given ${values.length} times`, fix: "give it once" };
  if (field.fieldKind === "map" || (field.fieldKind === "message" && !isWellKnown(field.message))) {
    const fix = field.fieldKind === "map" ? "it cannot be given in a query" : `name one of its fields: ${key}.…`;
    return { field: key, problem: "is an object", fix };
  }
  const isMask = field.fieldKind === "message" && field.message.typeName === "google.protobuf.FieldMask";
  put(
    json,
    path,
    isMask ? camelCase(value) : fromQuery(value, field.fieldKind === "scalar" ? field.scalar : undefined),
  );
  return undefined;
}

const isBound = (variables: readonly { readonly field: string }[], field: DescField) =>
  variables.some((variable) => variable.field === field.name);

/** Text of a query as the JSON value of a scalar. Numbers stay text: proto3 JSON takes them so, 64 bits included. */
function fromQuery(value: string, scalar: ScalarType | undefined): JsonValue {
  if (scalar !== ScalarType.BOOL) return value;
  if (value === "true" || value === "1" || value === "") return true;
  return value === "false" || value === "0" ? false : value;
}

/** A mask may be written either way; proto3 JSON wants lowerCamelCase. */
const camelCase = (mask: string) => mask.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Walks JSON beside its descriptor. Costs a second reading, so it is done only after the first one failed. */
function findMistakes(message: DescMessage, json: JsonObject, prefix: string, mistakes: Mistake[]): void {
  for (const [key, value] of Object.entries(json)) {
    const at = prefix ? `${prefix}.${key}` : key;
    const field = fieldOf(message, key);
    if (!field) {
      const known = message.fields.map((f) => f.jsonName).join(", ");
      mistakes.push({ field: at, problem: "is not known here", fix: known ? `known are ${known}` : "leave it out" });
      continue;
    }
    const inside = messageIn(field);
    if (inside && field.fieldKind === "message" && isObject(value)) findMistakes(inside, value, at, mistakes);
    else if (inside && field.fieldKind === "list" && Array.isArray(value)) {
      value.forEach((one, index) => {
        if (isObject(one)) findMistakes(inside, one, `${at}[${index}]`, mistakes);
        else mistakes.push({ field: `${at}[${index}]`, problem: "is not an object", fix: takes(field) });
      });
    } else if (inside && field.fieldKind === "map" && isObject(value)) {
      for (const [name, one] of Object.entries(value)) {
        if (isObject(one)) findMistakes(inside, one, `${at}.${name}`, mistakes);
        else mistakes.push({ field: `${at}.${name}`, problem: "is not an object", fix: takes(field) });
      }
    } else if (!fits(message, key, value)) {
      mistakes.push({ field: at, problem: `${shown(value)} does not fit`, fix: takes(field) });
    }
  }
}

/** The message that a field holds, when it has fields of its own to look into. */
function messageIn(field: DescField): DescMessage | undefined {
  const message =
    field.fieldKind === "message" || field.fieldKind === "list" || field.fieldKind === "map"
      ? field.message
      : undefined;
  return message && !isWellKnown(message) ? message : undefined;
}

function fits(message: DescMessage, key: string, value: JsonValue): boolean {
  try {
    fromJson(message, { [key]: value });
    return true;
  } catch {
    return false;
  }
}

const SHOWN_CHARACTERS = 100;
function shown(value: JsonValue): string {
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

function takes(field: DescField): string {
  const list = field.fieldKind === "list" ? "a list of " : field.fieldKind === "map" ? "an object of " : "";
  if (field.message) return `it takes ${list}${wellKnownForms[field.message.typeName] ?? field.message.name}`;
  if (field.enum) return `it takes ${list}${field.enum.values.map((v) => v.name).join(", ")}`;
  return `it takes ${list}${scalarForms[field.scalar ?? ScalarType.STRING] ?? "a number"}`;
}

const wellKnownForms: Readonly<Record<string, string>> = {
  "google.protobuf.Timestamp": 'a time such as "2012-01-31T00:00:00Z"',
  "google.protobuf.Duration": 'seconds such as "1.5s"',
  "google.protobuf.FieldMask": 'names such as "state,config"',
  "google.protobuf.Struct": "an object",
  "google.protobuf.ListValue": "a list",
};

const scalarForms: Readonly<Partial<Record<ScalarType, string>>> = {
  [ScalarType.STRING]: "text",
  [ScalarType.BOOL]: "true or false",
  [ScalarType.BYTES]: "base64 text",
  [ScalarType.INT64]: "a whole number, better as text",
  [ScalarType.UINT64]: "a whole number from 0, better as text",
  [ScalarType.INT32]: "a whole number",
  [ScalarType.UINT32]: "a whole number from 0",
};
