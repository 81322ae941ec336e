/** The shape of `millrace.yaml` as a JSON Schema; descriptions are what its author is told to write instead. */
import { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { MANIFEST_SCHEMA } from "../../registry/manifest-schema.ts";
import { compileOwnSchema } from "../../registry/schema.ts";
import type { Json } from "./source.ts";

const MAX_ENTRIES = 10_000;

const text = (description: string) => ({ type: "string", description });
const object = (properties: Json, required: readonly string[] = []) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});
const named = (pattern: string, rule: string, item: Json) => ({
  type: "object",
  maxProperties: MAX_ENTRIES,
  propertyNames: { pattern, description: rule },
  additionalProperties: item,
});
const NAME = "^[a-z][a-z0-9-]{0,62}$";
const NAME_RULE = "a lower-case letter, then at most 62 lower-case letters, digits and -";
const PIPE = "^[a-z][a-z0-9-]{0,62}(\\.[a-z0-9][a-z0-9_-]{0,62}){1,2}$";

const manifest = MANIFEST_SCHEMA.properties as Readonly<Record<string, Json>>;
const interfaces = (manifest.interfaces?.properties ?? {}) as Readonly<Record<string, Json>>;
const declared = (interfaces.fetch?.properties ?? {}) as Json;

/** As a manifest writes them; what only a pipe may set has its type from the contract. */
const parameters = object(
  Object.fromEntries(
    Object.entries(PipeParameters.fromPartial({})).map(([field, empty]) => {
      const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (declared[name]) return [name, declared[name]];
      if (Array.isArray(empty)) return [name, { type: "array", items: text("a text"), description: "a list of texts" }];
      if (typeof empty === "object") {
        return [name, { type: "object", additionalProperties: text("a text"), description: "texts by name" }];
      }
      return [name, { type: typeof empty, description: `a ${typeof empty}` }];
    }),
  ),
);

const tags = { type: "array", items: text("a tag"), description: "a list of tags, such as [daily, slow]" };
const paused = { type: ["boolean", "string"], description: "true, false, or why it is paused" };

const plugin = {
  type: ["string", "object"],
  description: "a folder, a bundle file, or {digest: …}",
  properties: {
    path: text("a plugin's folder or its bundle (.tgz), from where this file is"),
    digest: { type: "string", pattern: "^(sha256:)?[0-9a-f]{64}$", description: "the SHA-256 of a published bundle" },
  },
  additionalProperties: false,
};

const instance = object(
  {
    plugin: text("the name of a plugin"),
    version: text('a version such as "1.0.0"; without one the newest runs'),
    config: { type: "object", description: "what the plugin's config schema asks for" },
    grants: {
      type: ["string", "object"],
      description: '"all", "none" or permissions such as {http: [{url: "https://api.example.org/*"}]}',
    },
    tags,
    paused,
  },
  ["plugin"],
);

const poller = object(
  {
    instance: text("the name of an instance"),
    kind: text("poll, discover or enrich; poll is the default"),
    schedule: text('"every 30s", "cron …", or the name of a schedule above'),
    timeout: text('a time such as "10s"'),
    filter: text("a CEL expression over resource"),
    site: text("handed to discover as site"),
    tags,
    paused,
  },
  ["instance"],
);

const resource = object(
  {
    ...Object.fromEntries(["id", "site", "class", "subclass", "endpoint"].map((name) => [name, text("a text")])),
    type: text('such as "http"'),
    ttl: text('a time such as "7d"'),
    labels: { type: "object", additionalProperties: text("a text in quotes"), description: "texts by name" },
  },
  ["type"],
);

const secret = {
  type: ["string", "object"],
  description: "env:NAME or file:PATH, never the value; or {from: env:NAME, hosts: [api.example.org]}",
  properties: {
    from: text("env:NAME or file:PATH"),
    hosts: { type: "array", items: text("a host"), description: "a list of hosts, such as [api.example.org]" },
  },
  required: ["from"],
  additionalProperties: false,
};

const pipe = object({ parameters, tags, paused });

const FILE: Json = object(
  {
    project: { type: "string", pattern: NAME, description: `whose things these are: ${NAME_RULE}` },
    plugins: named(NAME, NAME_RULE, plugin),
    secrets: named(NAME, NAME_RULE, secret),
    schedules: named(NAME, NAME_RULE, text('"every 1h" or "cron 15 3 * * * Europe/Berlin"')),
    instances: named(NAME, NAME_RULE, instance),
    resources: named("^[a-z0-9][a-z0-9-]{0,62}$", "lower-case letters, digits and -", resource),
    pipes: named(PIPE, "instance.metric or instance.metric.location", pipe),
    pollers: named(NAME, NAME_RULE, poller),
  },
  ["project"],
);

export const checkShape = compileOwnSchema(FILE, "millrace.yaml");

/** Names of the manifest's permissions; each is one of a grant, too. */
export const checkPermissions = compileOwnSchema((manifest.permissions ?? {}) as Json, "permissions");
