/** `plugin.json` read: every mistake of shape and of meaning at once. */
import semver from "semver";
import type { EnrichInterface, Interfaces, Manifest } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { SQL_INSTANCE } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { contextMistakes } from "./enrichment.ts";
import { MANIFEST_SCHEMA } from "./manifest-schema.ts";
import { durationMistakes, filterMistakes } from "./mistakes.ts";
import { nameMistakes, shown } from "./names.ts";
import { filled, fitMistakes, formMistakes, MAX_CALL_MS } from "./parameters.ts";
import { permissionMistakes } from "./permissions.ts";
import { compileOwnSchema, depthOf, type Json, MAX_DEPTH, schemaMistakes, valueSchemaMistakes } from "./schema.ts";

const DEFAULT_MEMORY_MIB = 64;
const PAGES_PER_MIB = 16;
const MAX_ROUTE_MS = 60_000;
const MAX_FUNCTION_MS = 60_000;
const MAX_HOOK_MS = 60_000;
const MAX_CPU_MS = 60_000;
const DAY_MS = 86_400_000;

const checkShape = compileOwnSchema(MANIFEST_SCHEMA, "plugin.json");

/** Errors: `invalid` with every mistake, fields as the author wrote them: `interfaces.fetch.columns.time`. */
export function readManifest(bytes: Uint8Array): Manifest {
  const json = parse(bytes);
  if (depthOf(json) > MAX_DEPTH) {
    refuse([{ field: "plugin.json", problem: `is nested deeper than ${MAX_DEPTH} levels`, fix: "make it flatter" }]);
  }
  const shape = checkShape(json, "").mistakes;
  const manifest = fromJson(json);
  const wrong = shape.map((m) => m.field);
  // What has the wrong shape was not read, so what its meaning would be is not judged.
  const meaning = meaningMistakes(manifest).filter(
    ({ field }) => !wrong.some((w) => field === w || field.startsWith(`${w}.`) || field.startsWith(`${w}[`)),
  );
  const mistakes = [...shape.map((m) => (m.field === "" ? { ...m, field: "plugin.json" } : m)), ...meaning];
  if (mistakes.length) refuse(mistakes);
  return manifest;
}

/** The plugin's name, and its version as it is written, in a manifest that may be broken otherwise; "" for none. */
export function peekNames(bytes: Uint8Array): { readonly plugin: string; readonly version: string } {
  try {
    const { name, version } = parse(bytes);
    return { plugin: nameMistakes(text(name), "name").length ? "" : text(name), version: text(version) };
  } catch {
    return { plugin: "", version: "" };
  }
}

/** The exports that the interfaces need, each `() -> i32`. */
export function neededExports({ interfaces }: Manifest): string[] {
  return namesOf(interfaces);
}

/** Of interfaces that are one export each. */
const EXPORTS = {
  ...{ fetch: "fetch", sync: "sync", register: "register", beforeSync: "before_sync", afterSync: "after_sync" },
  ...{ poll: "poll", discover: "discover", enrich: "enrich", route: "route" },
} as const;

export const namesOf = (interfaces: Interfaces | undefined): string[] => [
  ...Object.entries(EXPORTS).flatMap(([name, exported]) =>
    interfaces?.[name as keyof typeof EXPORTS] === undefined ? [] : [exported],
  ),
  ...Object.keys(interfaces?.functions ?? {}).map((name) => `function:${name}`),
];

/** The cap on linear memory, in pages of 64 KiB. */
export const memoryPages = ({ limits }: Manifest): number => (limits?.memoryMib || DEFAULT_MEMORY_MIB) * PAGES_PER_MIB;

function refuse(mistakes: readonly Mistake[]): never {
  throw Fault.invalid("plugin.json", mistakes);
}

function parse(bytes: Uint8Array): Json {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (thrown) {
    const problem = `is not JSON: ${(thrown as Error).message}`;
    refuse([{ field: "plugin.json", problem, fix: "write UTF-8 JSON without comments" }]);
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Json;
  return refuse([{ field: "plugin.json", problem: `is ${shown(json)}`, fix: "write one JSON object" }]);
}

const text = (value: unknown) => (typeof value === "string" ? value : "");
const number = (value: unknown) => (typeof value === "number" && Number.isSafeInteger(value) ? value : 0);
const object = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const texts = (value: unknown) => list(value).map(text);

/** Reads what can be read; anything of the wrong type counts as not there. */
function fromJson(json: Json): Manifest {
  const permissions = object(json.permissions);
  const limits = object(json.limits);
  return {
    name: text(json.name),
    version: text(json.version),
    abi: number(json.abi),
    description: text(json.description),
    author: text(json.author),
    license: text(json.license),
    interfaces: interfacesFrom(object(json.interfaces)),
    config: json.config === undefined ? undefined : object(json.config),
    permissions: {
      http: list(permissions.http).map((entry) => ({
        url: text(object(entry).url),
        methods: texts(object(entry).methods),
      })),
      kv: permissions.kv === true,
      query: texts(permissions.query),
      secrets: texts(permissions.secrets),
      sockets: texts(permissions.sockets),
      call: texts(permissions.call),
      publish: texts(permissions.publish),
      context: texts(permissions.context),
    },
    limits: {
      memoryMib: number(limits.memory_mib),
      timeout: text(limits.timeout),
      cpu: text(limits.cpu),
      outputMib: number(limits.output_mib),
      hostCalls: number(limits.host_calls),
      rows: BigInt(number(limits.rows)),
      hostCallsInFlight: number(limits.host_calls_in_flight),
      logLines: number(limits.log_lines),
      logKib: number(limits.log_kib),
      httpRequests: number(limits.http_requests),
      httpMib: number(limits.http_mib),
      callDepth: number(limits.call_depth),
      gasMillion: BigInt(number(limits.gas_million)),
    },
    reuse: number(json.reuse),
    isolation: text(json.isolation),
    metered: json.metered === true,
  };
}

function interfacesFrom(json: Json): Interfaces {
  const of = (name: string) => object(json[name]);
  const { fetch, sync, register, before_sync: beforeSync, after_sync: afterSync } = json;
  const { poll, discover, enrich, route } = json;
  const functions = Object.entries(of("functions")).map(([name, value]) => {
    const { input, output, timeout, description } = object(value);
    const schema = (given: unknown) => (given === undefined ? undefined : object(given));
    const fn = { input: schema(input), output: schema(output), timeout: text(timeout), description: text(description) };
    return [name, fn] as const;
  });
  return {
    functions: Object.fromEntries(functions),
    ...(fetch !== undefined && { fetch: parametersFrom(of("fetch")) }),
    ...(sync !== undefined && { sync: parametersFrom(of("sync")) }),
    ...(beforeSync !== undefined && { beforeSync: { timeout: text(of("before_sync").timeout) } }),
    ...(afterSync !== undefined && { afterSync: { timeout: text(of("after_sync").timeout) } }),
    ...(register !== undefined && { register: {} }),
    ...(poll !== undefined && {
      poll: {
        every: text(of("poll").every),
        timeout: text(of("poll").timeout),
        filter: text(of("poll").filter),
        context: texts(of("poll").context),
      },
    }),
    ...(discover !== undefined && {
      discover: { every: text(of("discover").every), timeout: text(of("discover").timeout) },
    }),
    ...(enrich !== undefined && { enrich: enrichFrom(of("enrich")) }),
    ...(route !== undefined && {
      route: {
        routes: list(of("route").routes)
          .map(object)
          .map((r) => ({
            method: text(r.method),
            path: text(r.path),
            auth: text(r.auth),
            timeout: text(r.timeout),
            maxBodyBytes: BigInt(number(r.max_body_bytes)),
          })),
      },
    }),
  };
}

function enrichFrom(json: Json): EnrichInterface {
  const namespaces = Object.entries(object(json.namespaces)).map(([name, value]) => {
    const { schema, ttl, description } = object(value);
    const declared = { ttl: text(ttl), description: text(description) };
    return [name, { ...declared, schema: schema === undefined ? undefined : object(schema) }] as const;
  });
  const { every, timeout, filter } = json;
  const defaults = { every: text(every), timeout: text(timeout), filter: text(filter) };
  return { ...defaults, namespaces: Object.fromEntries(namespaces) };
}

function parametersFrom(json: Json): PipeParameters {
  return {
    columns: Object.entries(object(json.columns)).map(([name, type]) => ({ name, type: text(type) })),
    datetime: text(json.datetime),
    index: texts(json.index),
    target: text(json.target),
    schedule: text(json.schedule),
    chunk: text(json.chunk),
    begin: text(json.begin),
    end: text(json.end),
    backtrack: text(json.backtrack),
    timeout: text(json.timeout),
    attempts: number(json.attempts),
    schema: text(json.schema),
    timezone: text(json.timezone),
    sql: "",
    reads: [],
    after: [],
    refs: {},
    retention: text(json.retention),
    ttl: text(json.ttl),
    partition: text(json.partition),
    codec: text(json.codec),
    codecs: Object.fromEntries(Object.entries(object(json.codecs)).map(([name, codec]) => [name, text(codec)])),
    freshness: text(json.freshness),
  };
}

function meaningMistakes(m: Manifest): Mistake[] {
  const { fetch, sync, register, beforeSync, afterSync, poll, discover, route } = m.interfaces ?? {};
  const mistakes: Mistake[] = [];
  if (`instances/${m.name}` === SQL_INSTANCE) {
    const problem = `${shown(m.name)} is the built-in connector of pipes that are a SELECT`;
    mistakes.push({ field: "name", problem, fix: "choose another name" });
  }
  const time = (value: string, field: string, minMs: number, maxMs: number) => {
    if (value !== "") mistakes.push(...durationMistakes(value, field, minMs, maxMs));
  };
  if (semver.valid(m.version) !== m.version) {
    const fix = `write a semantic version such as ${shown(semver.coerce(m.version)?.version ?? "1.0.0")}`;
    mistakes.push({ field: "version", problem: `${shown(m.version)} is not a semantic version`, fix });
  }
  if (fetch) {
    mistakes.push(...formMistakes(fetch, "interfaces.fetch"));
    // Without `register` these are all the defaults there are, so they must fit together by themselves.
    mistakes.push(...fitMistakes(filled(fetch), "interfaces.fetch"));
  }
  if (sync) {
    mistakes.push(...formMistakes(sync, "interfaces.sync"));
    mistakes.push(...fitMistakes(filled(sync, fetch), "interfaces.sync"));
  }
  for (const [name, declared] of Object.entries({ register, before_sync: beforeSync, after_sync: afterSync })) {
    if (!declared || fetch || sync) continue;
    const problem = "is declared without fetch or sync, whose pipes it is for";
    mistakes.push({ field: `interfaces.${name}`, problem, fix: `declare fetch too, or leave ${name} out` });
  }
  time(beforeSync?.timeout ?? "", "interfaces.before_sync.timeout", 1, MAX_HOOK_MS);
  time(afterSync?.timeout ?? "", "interfaces.after_sync.timeout", 1, MAX_HOOK_MS);
  time(poll?.every ?? "", "interfaces.poll.every", 1_000, DAY_MS);
  time(poll?.timeout ?? "", "interfaces.poll.timeout", 1, MAX_CALL_MS);
  if (poll?.filter) mistakes.push(...filterMistakes(poll.filter, "interfaces.poll.filter"));
  time(discover?.every ?? "", "interfaces.discover.every", 1_000, 30 * DAY_MS);
  time(discover?.timeout ?? "", "interfaces.discover.timeout", 1, MAX_CALL_MS);
  mistakes.push(...contextMistakes(m.interfaces, m.permissions));
  const taken = new Set<string>();
  for (const [i, { method, path, timeout }] of (route?.routes ?? []).entries()) {
    const field = `interfaces.route.routes[${i}]`;
    mistakes.push(...pathMistakes(path, `${field}.path`));
    const shape = `${method} ${path.replace(/\{[^}.]*/g, "{")}`;
    if (taken.has(shape)) mistakes.push({ field, problem: `${method} ${path} is there twice`, fix: "keep one" });
    taken.add(shape);
    time(timeout, `${field}.timeout`, 1, MAX_ROUTE_MS);
  }
  for (const [name, { input, output, timeout }] of Object.entries(m.interfaces?.functions ?? {})) {
    const field = `interfaces.functions.${name}`;
    if (input) mistakes.push(...valueSchemaMistakes(input, `${field}.input`));
    if (output) mistakes.push(...valueSchemaMistakes(output, `${field}.output`));
    time(timeout, `${field}.timeout`, 1, MAX_FUNCTION_MS);
  }
  if (m.config) mistakes.push(...schemaMistakes(m.config, "config"));
  if (m.permissions) mistakes.push(...permissionMistakes(m.permissions, "permissions"));
  time(m.limits?.timeout ?? "", "limits.timeout", 1, MAX_CALL_MS);
  time(m.limits?.cpu ?? "", "limits.cpu", 1, MAX_CPU_MS);
  return mistakes;
}

/** `/api/{name}/x` and a final `{rest...}`. */
function pathMistakes(path: string, field: string): Mistake[] {
  const wrong = (problem: string, fix: string) => [{ field, problem: `${shown(path)} ${problem}`, fix }];
  if (!path.startsWith("/")) return wrong("does not start with /", 'write "/api/series/{name}"');
  const names = new Set<string>();
  const segments = path.slice(1).split("/");
  for (const [i, segment] of segments.entries()) {
    const name = /^\{([a-z][A-Za-z0-9_]{0,31})(\.\.\.)?\}$/.exec(segment);
    if (name?.[2] && i < segments.length - 1) return wrong("goes on after the rest", `end it with ${segment}`);
    if (name && names.has(name[1] as string)) return wrong(`names ${segment} twice`, "give each its own name");
    if (name) names.add(name[1] as string);
    else if (!/^[A-Za-z0-9._~-]*$/.test(segment) || segment === "." || segment === "..") {
      return wrong(`has the part ${shown(segment)}`, "use letters, digits, . _ ~ -, or {name}, or a final {name...}");
    }
  }
  return [];
}
