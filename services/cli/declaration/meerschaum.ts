/** A Meerschaum compose file as a `millrace.yaml`, with everything that has no counterpart told by its path. */
import { basename } from "node:path";
import { stringify } from "yaml";
import { isSecretKey, nameWord, scheduleWord, spanOf, typeWord, variables } from "./meerschaum-words.ts";
import { below, type Json, type Source } from "./source.ts";

export interface Imported {
  readonly yaml: string;
  /** What was not translated, or not quite, and what to do. */
  readonly notes: readonly Note[];
}
export interface Note {
  /** `file:line:column path`. */
  readonly at: string;
  readonly why: string;
}

const DEFAULT_BACKTRACK_S = 86_400;
const MAX_TIMEOUT_S = 900;
/** Parameters of a pipe that are Meerschaum's own; all others are the plugin's. */
const OWN = ["columns", "dtypes", "indices", "tags", "target", "schema", "fetch", "sql", "query", "upsert", "static"];
const OWN_TOO = ["enforce", "autoincrement", "autotime", "precision", "null_indices", "mixed_numerics", "hypertable"];
const OWN_ALSO = ["hypercore", "compress", "reference", "references", "parents", "children", "verify", "valkey"];
const KNOWN = new Set([...OWN, ...OWN_TOO, ...OWN_ALSO, "backtrack_minutes", "instance"]);
/** Of PostgreSQL and its extensions, or how rows are coerced in memory: nothing to take over. */
const WITHOUT = ["indices", "schema", ...OWN_TOO, "hypercore", "compress", "valkey", "upsert"];
const TOP = ["project_name", "pipes", "sync", "plugins", "connectors", "instance", "jobs", "config", "environment"];

interface Given {
  readonly field: string;
  readonly kind: string;
  readonly label: string;
  readonly metric: string;
  readonly location: string;
  readonly target: string;
  readonly json: Json;
  readonly parameters: Json;
}

/** Never fails: what is not understood is a note. `folder` names the project where the file does not. */
export function importMeerschaum(source: Source, folder: string): Imported {
  return new Importing(source, folder).file();
}

class Importing {
  readonly #source: Source;
  readonly #value: Json;
  readonly #folder: string;
  readonly #notes: Note[] = [];
  readonly #instances: Json = {};
  readonly #secrets: Json = {};
  readonly #pipes: Json = {};
  #given: readonly Given[] = [];

  constructor(source: Source, folder: string) {
    this.#source = source;
    this.#value = source.value;
    this.#folder = folder;
  }

  #note(field: string, why: string): void {
    this.#notes.push({ at: `${this.#source.at(field)} ${field}`, why });
  }

  file(): Imported {
    const { project_name: project, sync } = this.#value;
    this.#top();
    const schedule = this.#schedule(mapOf(sync));
    this.#given = [
      ...listOf(mapOf(sync).pipes).flatMap((pipe, i) => this.#read(pipe, `sync.pipes[${i}]`)),
      ...listOf(this.#value.pipes).flatMap((pipe, i) => this.#read(pipe, `pipes[${i}]`)),
    ];
    const common = {
      ...(schedule && { schedule: "sync" }),
      ...this.#timeout(mapOf(sync)),
      ...this.#begin(mapOf(sync)),
    };
    for (const given of this.#given) this.#pipe(given, common);
    const plugins = new Set([...this.#plugins(), ...this.#given.filter(({ kind }) => kind === "plugin").map(pluginOf)]);
    const whole = {
      project: nameWord(typeof project === "string" ? project : basename(this.#folder), "-"),
      plugins: Object.fromEntries([...plugins].map((name) => [name, `./plugins/${name}`])),
      secrets: this.#secrets,
      schedules: schedule ? { sync: schedule } : {},
      instances: this.#instances,
      pipes: this.#pipes,
    };
    for (const name of plugins) {
      this.#note("plugins", `${name} is Python inside Meerschaum: port it to ./plugins/${name} (plugin new python)`);
    }
    const filled = Object.entries(whole).filter(([, value]) => typeof value === "string" || Object.keys(value).length);
    return { yaml: stringify(Object.fromEntries(filled), { lineWidth: 0 }), notes: this.#notes };
  }

  #top(): void {
    const { connectors, config, environment, jobs, ...rest } = this.#value;
    const both = {
      connectors: mapOf(connectors),
      "config.meerschaum.connectors": mapOf(meerschaum(config).connectors),
    };
    for (const [path, kinds] of Object.entries(both)) {
      for (const [kind, labels] of Object.entries(kinds)) {
        for (const label of Object.keys(mapOf(labels))) {
          this.#note(below(below(path, kind), label), "rows are stored in ClickHouse; as a source it needs a plugin");
        }
      }
    }
    for (const key of Object.keys(mapOf(config))) {
      if (key !== "meerschaum") this.#note(below("config", key), "write it into the config of the plugin's instance");
    }
    for (const key of Object.keys(meerschaum(config))) {
      if (key !== "connectors" && key !== "instance") {
        this.#note(below("config.meerschaum", key), "is a setting of Meerschaum itself");
      }
    }
    for (const name of Object.keys(mapOf(environment))) {
      this.#note(below("environment", name), "set it where millrace apply runs");
    }
    for (const [name, command] of Object.entries(mapOf(jobs))) {
      const why = `is a command line (${String(command)}): give pipes a schedule instead, or run the command by cron`;
      this.#note(below("jobs", name), why);
    }
    for (const key of Object.keys(rest)) {
      if (!TOP.includes(key)) this.#note(key, "is about where Meerschaum itself runs");
      else if (key === "instance") this.#note(key, "rows are stored in ClickHouse");
    }
  }

  #plugins(): string[] {
    return listOf(this.#value.plugins).map((plugin) => nameWord(String(plugin).replace(/@.*$/, ""), "-"));
  }

  #schedule(sync: Json): string | undefined {
    const { schedule, min_seconds: rest } = sync;
    if (typeof schedule === "string") {
      const { text, note } = scheduleWord(variables(schedule));
      if (note) this.#note("sync.schedule", note);
      return text;
    }
    if (rest === undefined) return undefined;
    this.#note("sync.min_seconds", "a loop without a schedule becomes a period");
    return `every ${spanOf(Math.max(1, Math.round(Number(rest) || 1)))}`;
  }

  /** Where fetching begins is a flag there, and a parameter of each pipe here. */
  #begin({ args }: Json): Json {
    const words = (Array.isArray(args) ? args.map(String).join(" ") : String(args ?? "")).split(/\s+/).filter(Boolean);
    const [, begin] = /^(\d{4}-\d{2}-\d{2})$/.exec(words[words.indexOf("--begin") + 1] ?? "") ?? [];
    const others = begin ? words.toSpliced(words.indexOf("--begin"), 2) : words;
    if (others.length) this.#note("sync.args", `${others.join(" ")}: flags have no counterpart here`);
    if (!begin) this.#note("pipes", "need a `begin` before the first sync, unless the plugin's manifest has one");
    return begin ? { begin: `${begin}T00:00:00Z` } : {};
  }

  #timeout(sync: Json): Json {
    const seconds = Number(sync.timeout_seconds ?? 0);
    if (!seconds) return {};
    if (seconds > MAX_TIMEOUT_S) this.#note("sync.timeout_seconds", `one call takes at most ${spanOf(MAX_TIMEOUT_S)}`);
    return { timeout: spanOf(Math.min(seconds, MAX_TIMEOUT_S)) };
  }

  #read(pipe: unknown, field: string): Given[] {
    const json = mapOf(pipe);
    const { connector, connector_keys: keys = connector, metric, metric_key: key = metric, location, instance } = json;
    const [kind = "", label = ""] = String(keys ?? "").split(":");
    if (typeof keys !== "string" || typeof key !== "string") {
      this.#note(field, "has no connector or no metric: left out");
      return [];
    }
    if (instance !== undefined) this.#note(`${field}.instance`, "rows are stored in ClickHouse");
    const place = typeof json.location_key === "string" ? json.location_key : location;
    const parameters = { ...mapOf(json.parameters) };
    for (const alias of ["columns", "target", "tags", "dtypes"]) parameters[alias] ??= json[alias];
    const at = typeof place === "string" ? place : "";
    const named = [kind, label, key, at].filter(Boolean).join("_");
    const target = nameWord(typeof parameters.target === "string" ? parameters.target : named, "_");
    return [{ field, kind, label, metric: key, location: at, target, json, parameters }];
  }

  #pipe(given: Given, common: Json): void {
    const { field, kind, label, parameters } = given;
    for (const key of WITHOUT.filter((name) => parameters[name] !== undefined)) {
      this.#note(`${this.#within(given, key)}`, "is about Meerschaum's own tables: nothing to take over");
    }
    if (kind === "plugin") {
      const instance = this.#instance(given);
      this.#put(given, instance, { ...common, ...this.#parameters(given) });
    } else if (kind === "sql" && this.#isInPlace(label)) {
      const select = this.#select(given);
      if (select) this.#put(given, "sql", { ...common, ...this.#parameters(given), ...select });
    } else {
      const why = `rows from ${kind}:${label} need a plugin that fetches them, and there is none: left out`;
      this.#note(`${field}.connector`, why);
    }
  }

  #put({ field, metric, location, json, parameters }: Given, instance: string, translated: Json): void {
    const parts = [instance, nameWord(metric, "_"), ...(location ? [nameWord(location, "_")] : [])];
    const id = parts.join(".");
    const tags = listOf(parameters.tags).map(String);
    if (this.#pipes[id]) this.#note(field, `is another ${id}: left out`);
    else this.#pipes[id] = { ...(tags.length && { tags }), parameters: translated };
    if (metric !== parts[1]) this.#note(`${field}.metric`, `is called ${parts[1]} here`);
    if (json.location && location !== parts[2]) this.#note(`${field}.location`, `is called ${parts[2]} here`);
  }

  /** Where a parameter stands: under `parameters`, or beside it. */
  #within({ field, json }: Given, key: string): string {
    return below(mapOf(json.parameters)[key] === undefined ? field : `${field}.parameters`, key);
  }

  /** What is the plugin's own goes to an instance: pipes with other settings get another instance. */
  #instance(given: Given): string {
    const plugin = pluginOf(given);
    const own = Object.entries(given.parameters).filter(([key, value]) => !KNOWN.has(key) && value !== undefined);
    // By custom a plugin's settings are under its own name.
    const [only] = own;
    const inner =
      own.length === 1 && only && nameWord(only[0], "-") === plugin ? mapOf(only[1]) : Object.fromEntries(own);
    const config = this.#withoutSecrets(inner, plugin, given.field);
    const same = Object.entries(this.#instances).find(([, instance]) => {
      const known = mapOf(instance);
      return known.plugin === plugin && JSON.stringify(known.config ?? {}) === JSON.stringify(config);
    });
    if (same) return same[0];
    const longer = nameWord([plugin, given.metric, given.location].filter(Boolean).join("-"), "-");
    const name = this.#instances[plugin] ? longer : plugin;
    this.#instances[name] = { plugin, ...(Object.keys(config).length && { config }), grants: "none" };
    if (Object.keys(config).length) {
      this.#note(
        `${given.field}.parameters`,
        `the plugin's own settings are the config of instance ${name}: see its schema`,
      );
    }
    this.#note(given.field, `instance ${name} is granted nothing: say what ${plugin} may reach, or "all"`);
    return name;
  }

  #withoutSecrets(settings: Json, plugin: string, field: string): Json {
    const kept = Object.entries(settings).flatMap(([key, value]): [string, unknown][] => {
      if (!isSecretKey(key)) return [[key, typeof value === "string" ? variables(value) : value]];
      const secret = nameWord(`${plugin}-${key}`, "-");
      this.#secrets[secret] = `env:${secret.toUpperCase().replaceAll("-", "_")}`;
      this.#note(`${field}.parameters`, `${key} is left out: it is the secret ${secret} now, from the environment`);
      return [];
    });
    return Object.fromEntries(kept);
  }

  #parameters(given: Given): Json {
    const { parameters, target } = given;
    const { columns, dtypes, verify, fetch, static: frozen } = parameters;
    const roles = Object.entries(mapOf(columns)).filter(([, name]) => typeof name === "string");
    const datetime = mapOf(columns).datetime;
    const index = [...new Set(roles.filter(([role]) => role !== "value").map(([, name]) => String(name)))];
    const minutes = Number(parameters.backtrack_minutes ?? mapOf(fetch).backtrack_minutes ?? DEFAULT_BACKTRACK_S / 60);
    const { chunk_minutes: chunkMinutes = 0, chunk_range: range = chunkMinutes } = mapOf(verify);
    const declared = this.#columns(given, mapOf(dtypes), index, datetime);
    const hasColumns = Object.keys(declared).length > 0;
    if (frozen !== undefined && !hasColumns) this.#note(this.#within(given, "static"), "needs declared types");
    const integers = typeof datetime === "string" && /^u?int64$/.test(String(declared[datetime]));
    if (integers) this.#note(this.#within(given, "columns"), `${datetime} is an integer: begin is set to 0, check it`);
    // Both are counts there when the axis is one of integers, whatever their names say.
    const length = (count: number) => (integers ? String(count) : spanOf(count * 60));
    const chunk = Math.trunc(Number(integers ? range : chunkMinutes));
    const names = { ...(typeof datetime === "string" && { datetime }), ...(index.length && { index }) };
    return {
      ...(hasColumns && { columns: declared, schema: frozen === true ? "freeze" : "evolve" }),
      ...names,
      target,
      ...(integers && { begin: "0" }),
      ...(minutes > 0 && { backtrack: length(minutes) }),
      ...(chunk > 0 && { chunk: length(chunk) }),
      ...this.#others(given),
    };
  }

  /** All of the index or none: a declared pipe has to declare what it is indexed by. */
  #columns(given: Given, dtypes: Json, index: readonly string[], datetime: unknown): Json {
    const field = this.#within(given, "dtypes");
    const types = Object.entries(dtypes).flatMap(([name, type]): [string, string][] => {
      const { text, note } = typeWord(String(type));
      if (note) this.#note(below(field, name), note);
      return text ? [[name, text]] : [];
    });
    if (!types.length) return {};
    const declared: Record<string, string> = Object.fromEntries(types);
    if (typeof datetime === "string") declared[datetime] ??= "timestamp";
    const unknown = index.filter((name) => declared[name] === undefined);
    if (!unknown.length) return declared;
    if (typeof datetime === "string" && /^u?int64$/.test(declared[datetime] ?? "")) {
      this.#note(field, `${unknown.join(", ")} of the index has no type: text, for ${datetime} has to be declared`);
      return { ...declared, ...Object.fromEntries(unknown.map((name) => [name, "string"])) };
    }
    this.#note(field, `left out, because ${unknown.join(", ")} of the index has no type: all are inferred`);
    return {};
  }

  #others(given: Given): Json {
    const { reference, references = reference, parents } = given.parameters;
    const [base] = listOf(references).length ? listOf(references) : [references].filter((one) => one !== undefined);
    const refers = base === undefined ? undefined : this.#idOf(base);
    if (base !== undefined && !refers) this.#note(this.#within(given, "reference"), "names no pipe of this file");
    const after = listOf(parents).map((parent) => this.#idOf(parent));
    if (after.includes(undefined)) this.#note(this.#within(given, "parents"), "names a pipe that is not in this file");
    if (given.parameters.children) this.#note(this.#within(given, "children"), "write it as `after` of the children");
    const known = after.filter((id) => id !== undefined);
    return { ...(refers && { refs: { "*": `pipes/${refers}` } }), ...(known.length && { after: known }) };
  }

  /** The id here of a pipe named by its keys, if it was translated already. */
  #idOf(named: unknown): string | undefined {
    const { connector, connector_keys: keys = connector, metric, metric_key: key = metric, location } = mapOf(named);
    const place = typeof location === "string" ? location : "";
    const found = this.#given.find((one) => {
      return `${one.kind}:${one.label}` === keys && one.metric === key && one.location === place;
    });
    return Object.entries(this.#pipes).find(
      ([, pipe]) => found && mapOf(mapOf(pipe).parameters).target === found.target,
    )?.[0];
  }

  /** A query over the database that rows are stored in is a SELECT over datasets here. */
  #isInPlace(label: string): boolean {
    const instance = this.#value.instance ?? meerschaum(this.#value.config).instance;
    return instance === `sql:${label}`;
  }

  #select(given: Given): Json | undefined {
    const { field, parameters } = given;
    const query =
      parameters.query ?? mapOf(parameters.sql).query ?? mapOf(parameters.fetch).definition ?? parameters.sql;
    const datetime = mapOf(parameters.columns).datetime;
    const where = this.#within(given, "query");
    if (typeof query !== "string") {
      this.#note(field, "has no query: left out");
      return undefined;
    }
    if (typeof datetime !== "string") {
      this.#note(field, "has no datetime column, so it cannot run by windows: left out");
      return undefined;
    }
    const resolved = query.replace(/\{\{\s*Pipe\(([^)]*)\)\.target\s*\}\}/g, (whole, keys: string) => {
      const [connector, metric, location = ""] = [...keys.matchAll(/['"]([^'"]*)['"]/g)].map(([, key]) => key);
      const found = this.#given.find((one) => {
        return `${one.kind}:${one.label}` === connector && one.metric === metric && one.location === location;
      });
      if (!found) this.#note(where, `${whole} is no pipe of this file`);
      return found?.target ?? whole;
    });
    const reads = this.#given
      .map(({ target }) => target)
      .filter((target) => new RegExp(`\\b${target}\\b`).test(resolved));
    if (!reads.length) this.#note(where, "reads no table that a pipe of this file writes: say so in `reads`");
    this.#note(where, "is SQL of another database: check it against ClickHouse");
    const name = `"${datetime.replaceAll('"', '""')}"`;
    const inner = resolved.trim().replace(/;$/, "");
    const sql = `SELECT * FROM (\n${inner}\n)\nWHERE ${name} >= {begin} AND ${name} < {end}\n`;
    return { sql, ...(reads.length && { reads: [...new Set(reads)] }) };
  }
}

const pluginOf = ({ label }: Given) => nameWord(label, "-");
const meerschaum = (config: unknown) => mapOf(mapOf(config).meerschaum);
const mapOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
