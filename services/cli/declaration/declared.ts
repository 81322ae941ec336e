/** What a `millrace.yaml` asks for, as the messages of the API; every mistake that can be seen without a platform. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { Instance, InstanceState } from "../../../proto/gen/millrace/registry/v1/instance.ts";
import { Permissions } from "../../../proto/gen/millrace/registry/v1/permissions.ts";
import { Pipe, PipeState } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { Poller, PollerKind, PollerState } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import { MAX_SECRET_BYTES } from "../../../proto/secrets.ts";
import type { Mistake } from "../../kit/fault.ts";
import { noteMistakes, tagMistakes } from "../../registry/masks.ts";
import { scheduleMistakes } from "../../registry/mistakes.ts";
import { permissionMistakes } from "../../registry/permissions.ts";
import { pipeMistakes } from "../../registry/pipes.ts";
import { pollerMistakes } from "../../registry/pollers.ts";
import { resourceMistakes } from "../../registry/replacement.ts";
import { checkPermissions, checkShape } from "./shape.ts";
import { below, type Json, placed, refuse, type Source, segmentsOf } from "./source.ts";

/** One entry of the file: its message, where it stands, and whether the file says if it is paused. */
export interface Declared<T> {
  readonly name: string;
  readonly field: string;
  readonly message: T;
  readonly saysState: boolean;
}
export interface DeclaredPlugin {
  readonly name: string;
  readonly field: string;
  /** An absolute path, or the digest of a published bundle. */
  readonly path?: string;
  readonly digest?: string;
}
export interface DeclaredSecret {
  readonly name: string;
  readonly field: string;
  readonly value: string;
  readonly hosts: readonly string[];
}

export interface Declaration {
  readonly project: string;
  readonly plugins: readonly DeclaredPlugin[];
  readonly secrets: readonly DeclaredSecret[];
  readonly instances: readonly Declared<Instance>[];
  readonly resources: readonly Declared<Resource>[];
  readonly pipes: readonly Declared<Pipe>[];
  readonly pollers: readonly Declared<Poller>[];
}

type Env = Readonly<Record<string, string | undefined>>;

const SECTIONS = ["plugins", "secrets", "schedules", "instances", "resources", "pipes", "pollers"];

/** `folder` is where the file is. Errors: `invalid` with every mistake, each at its `file:line:column`. */
export function declare(source: Source, env: Env, folder: string): Declaration {
  const value = tidied(source.value);
  const reading = new Reading(value, env, folder);
  const { missing, secrets } = reading.secrets(mapOf(value.secrets));
  // A variable that is not set makes other mistakes that are none.
  const unset = [...source.missing, ...placed(source, missing)];
  refuse(source.file, unset);
  const refs = reading.references(value);
  const shape = checkShape(value, "").mistakes;
  // What has the wrong shape is left out, and the rest is judged by its meaning.
  for (const { field } of shape) leaveOut(value, segmentsOf(field));
  const project = textOf(value.project);
  const declaration = {
    project,
    secrets,
    plugins: reading.plugins(mapOf(value.plugins)),
    instances: reading.instances(mapOf(value.instances), project),
    resources: reading.resources(mapOf(value.resources), project),
    pipes: reading.pipes(mapOf(value.pipes), project, refs),
    pollers: reading.pollers(mapOf(value.pollers), project),
  };
  const told = new Set(shape.map(({ field }) => field));
  const meaning = reading.mistakes.filter(({ field }) => !told.has(field));
  refuse(source.file, placed(source, [...shape, ...meaning]));
  return declaration;
}

/** An item that is wrong takes its list with it: the others would move to other places. */
function leaveOut(value: Json, segments: readonly string[]): void {
  let [holder, key]: [unknown, string] = [value, segments[0] ?? ""];
  for (const segment of segments.slice(1)) {
    const inner = (holder as Json)[key];
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) break;
    [holder, key] = [inner, segment];
  }
  delete (holder as Json)[key];
}

class Reading {
  readonly mistakes: Mistake[] = [];
  readonly #env: Env;
  readonly #folder: string;
  readonly #schedules: Json;

  constructor(value: Json, env: Env, folder: string) {
    this.#env = env;
    this.#folder = folder;
    this.#schedules = mapOf(value.schedules);
    for (const [name, schedule] of Object.entries(this.#schedules)) {
      if (typeof schedule !== "string") continue;
      this.mistakes.push(...scheduleMistakes(schedule, below("schedules", name), { manual: true }));
    }
  }

  /** `missing` are variables and files that a secret names and that are not there. */
  secrets(section: Json): { readonly missing: Mistake[]; readonly secrets: DeclaredSecret[] } {
    const missing: Mistake[] = [];
    const secrets = Object.entries(section).flatMap(([name, given]): DeclaredSecret[] => {
      const field = below("secrets", name);
      const { from, hosts } = typeof given === "string" ? { from: given, hosts: [] } : mapOf(given);
      if (typeof from !== "string") return [];
      const value = this.#secretValue(from, field, missing);
      return value === undefined ? [] : [{ name: `secrets/${name}`, field, value, hosts: textsOf(hosts) }];
    });
    return { missing, secrets };
  }

  #secretValue(from: string, field: string, missing: Mistake[]): string | undefined {
    const [, kind, where = ""] = /^(env|file):(.+)$/.exec(from) ?? [];
    if (kind === "env") {
      const value = this.#env[where];
      if (!value) missing.push({ field, problem: `the environment has no ${where}`, fix: `set ${where}` });
      return value || undefined;
    }
    if (kind === "file") {
      const path = resolve(this.#folder, where);
      const found = existsSync(path) ? statSync(path) : undefined;
      if (found?.isFile() && found.size <= MAX_SECRET_BYTES + 2)
        return readFileSync(path, "utf8").replace(/\r?\n$/, "");
      const problem = found ? `${where} is no file of at most ${MAX_SECRET_BYTES} bytes` : `there is no file ${where}`;
      missing.push({ field, problem, fix: "paths start where this file is" });
      return undefined;
    }
    // Not shown: whoever writes a value here has written a secret.
    const fix = "write env:NAME or file:PATH, and take the value out of this file";
    this.mistakes.push({ field, problem: "is not a reference", fix });
    return undefined;
  }

  plugins(section: Json): DeclaredPlugin[] {
    return Object.entries(section).flatMap(([id, given]): DeclaredPlugin[] => {
      const [name, field] = [`plugins/${id}`, below("plugins", id)];
      const { path, digest } = typeof given === "string" ? { path: given, digest: undefined } : mapOf(given);
      if ((typeof path === "string") === (typeof digest === "string")) {
        this.mistakes.push({ field, problem: "names no source, or two", fix: "set either path or digest" });
        return [];
      }
      if (typeof digest === "string") return [{ name, field, digest: digest.replace(/^sha256:/, "") }];
      const absolute = resolve(this.#folder, String(path));
      if (existsSync(absolute)) return [{ name, field, path: absolute }];
      const fix = "a plugin's folder or its bundle, from where this file is";
      this.mistakes.push({ field, problem: `there is nothing at ${JSON.stringify(path)}`, fix });
      return [];
    });
  }

  instances(section: Json, managedBy: string): Declared<Instance>[] {
    return Object.entries(section).map(([id, given]) => {
      const field = below("instances", id);
      const { plugin, version, config, grants, tags, paused } = mapOf(given);
      const only = typeof grants === "object" ? Permissions.fromPartial(mapOf(grants)) : undefined;
      if (only) {
        const shape = checkPermissions(mapOf(grants), `${field}.grants`).mistakes;
        this.mistakes.push(...(shape.length ? shape : permissionMistakes(only, `${field}.grants`)));
      } else if (grants !== undefined && grants !== "all" && grants !== "none") {
        const problem = `${JSON.stringify(grants)} is not accepted`;
        this.mistakes.push({ field: `${field}.grants`, problem, fix: '"all", "none" or permissions' });
      }
      const instance = Instance.fromPartial({
        name: `instances/${id}`,
        plugin: `plugins/${textOf(plugin)}`,
        version: textOf(version),
        config: mapOf(config),
        grants: { allRequested: grants === "all", ...(only && { only }) },
        tags: textsOf(tags),
        managedBy,
        ...pausedOf(paused, InstanceState),
      });
      this.#judge(field, [...tagMistakes(instance.tags), ...noteMistakes(instance.stateReason)]);
      return { name: instance.name, field, message: instance, saysState: paused !== undefined };
    });
  }

  resources(section: Json, managedBy: string): Declared<Resource>[] {
    return Object.entries(section).map(([id, given]) => {
      const field = below("resources", id);
      const texts = Object.entries(mapOf(given)).filter(([, value]) => typeof value === "string");
      const labels = Object.entries(mapOf(mapOf(given).labels)).map(([key, value]) => [key, String(value)]);
      const own = { name: `resources/${id}`, managedBy, labels: Object.fromEntries(labels) };
      const resource = Resource.fromPartial({ id, ...Object.fromEntries(texts), ...own });
      this.#judge(field, resourceMistakes(resource, ""));
      return { name: resource.name, field, message: resource, saysState: false };
    });
  }

  pipes(section: Json, managedBy: string, refs: ReadonlyMap<string, Readonly<Record<string, string>>>) {
    return Object.entries(section).map(([id, given]): Declared<Pipe> => {
      const field = below("pipes", id);
      const { parameters, tags, paused } = mapOf(given);
      const [instance = "", metric = "", location = ""] = id.split(".");
      const pipe = Pipe.fromPartial({
        name: `pipes/${id}`,
        instance: `instances/${instance}`,
        metric,
        location,
        parameters: this.#parameters(mapOf(parameters), refs.get(id) ?? {}),
        tags: textsOf(tags),
        managedBy,
        ...pausedOf(paused, PipeState),
      });
      this.#judge(field, pipeMistakes(pipe, pipe.state || PipeState.ENABLED));
      return { name: pipe.name, field, message: pipe, saysState: paused !== undefined };
    });
  }

  #parameters(given: Json, refs: Readonly<Record<string, string>>): PipeParameters {
    const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const { columns, schedule, ...rest } = given;
    const others = Object.entries(rest).map(([name, value]) => [camel(name), value]);
    return PipeParameters.fromPartial({
      ...Object.fromEntries(others),
      schedule: this.#schedule(schedule),
      columns: Object.entries(mapOf(columns)).map(([name, type]) => ({ name, type: String(type) })),
      refs: { ...mapOf(given.refs), ...refs } as Record<string, string>,
    });
  }

  pollers(section: Json, managedBy: string): Declared<Poller>[] {
    return Object.entries(section).map(([id, given]) => {
      const field = below("pollers", id);
      const { instance, kind = "poll", schedule, timeout, filter, site, tags, paused } = mapOf(given);
      const kinds = PollerKind as Readonly<Record<string, number>>;
      const known = kinds[String(kind).toUpperCase()] as PollerKind | undefined;
      if (!known || known < 0) {
        const problem = `${JSON.stringify(kind)} is not a kind of pollers`;
        this.mistakes.push({ field: `${field}.kind`, problem, fix: "poll, discover or enrich" });
      }
      const poller = Poller.fromPartial({
        name: `pollers/${id}`,
        instance: `instances/${textOf(instance)}`,
        kind: known ?? PollerKind.POLL,
        schedule: this.#schedule(schedule),
        ...{ timeout: textOf(timeout), filter: textOf(filter), site: textOf(site) },
        tags: textsOf(tags),
        managedBy,
        ...pausedOf(paused, PollerState),
      });
      this.#judge(field, pollerMistakes({ ...poller, state: poller.state || PollerState.ENABLED }));
      return { name: poller.name, field, message: poller, saysState: paused !== undefined };
    });
  }

  /** Takes `{$ref: …}` out of the parameters of pipes, by pipe and parameter; `*` is `$ref` beside the parameters. */
  references(value: Json): Map<string, Record<string, string>> {
    const all = new Map<string, Record<string, string>>();
    for (const [id, given] of Object.entries(mapOf(value.pipes))) {
      const parameters = mapOf(mapOf(given).parameters);
      const refs: Record<string, string> = {};
      for (const [name, said] of Object.entries(parameters)) {
        const ref = name === "$ref" ? said : mapOf(said).$ref;
        if (typeof ref !== "string") continue;
        refs[name === "$ref" ? "*" : name] = ref;
        delete parameters[name];
      }
      all.set(id, refs);
    }
    return all;
  }

  /** A word without a space is a name of the section `schedules`, if it is there. */
  #schedule(given: unknown): string {
    const named = this.#schedules[String(given)];
    return typeof named === "string" ? named : textOf(given);
  }

  /** The registry's rules name fields of the message; here they are below the entry, and `state_reason` is `paused`. */
  #judge(field: string, mistakes: readonly Mistake[]): void {
    for (const mistake of mistakes) {
      const inner = mistake.field.replace(/^state_reason$/, "paused");
      // The project is judged where it is written.
      if (inner !== "managed_by") this.mistakes.push({ ...mistake, field: `${field}.${inner}` });
    }
  }
}

/** A section or an entry without anything in it is null in YAML, and empty here. */
function tidied(value: Json): Json {
  const copy = structuredClone(value);
  for (const section of SECTIONS) {
    if (copy[section] === null) copy[section] = {};
    const entries = mapOf(copy[section]);
    for (const [id, entry] of Object.entries(entries)) if (entry === null) entries[id] = {};
  }
  return copy;
}

/** State and note, or nothing when the file leaves both to whoever works on the platform. */
function pausedOf<S>(paused: unknown, states: { readonly ENABLED: S; readonly PAUSED: S }) {
  if (paused === undefined) return {};
  const stateReason = typeof paused === "string" ? paused : "";
  return { state: paused === false ? states.ENABLED : states.PAUSED, stateReason };
}

const mapOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const textOf = (value: unknown) => (typeof value === "string" ? value : "");
const textsOf = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
