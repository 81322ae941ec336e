/** The shape of `plugin.json` as a JSON Schema; descriptions are what an author is told to write instead. */
import type { Json } from "./schema.ts";

const text = (maxLength: number, description: string) => ({ type: "string", maxLength, description });
const duration = (description: string) => text(32, `${description}, for example "30s"`);
const whole = (minimum: number, maximum: number, description: string) => ({
  type: "integer",
  minimum,
  maximum,
  description: `${description}: a whole number from ${minimum} to ${maximum}`,
});
const list = (items: Json, maxItems: number, description: string) => ({ type: "array", items, maxItems, description });
const object = (properties: Record<string, Json>, required: readonly string[] = [], more: Json = {}) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
  ...more,
});

const fetch = object({
  columns: {
    type: "object",
    additionalProperties: text(32, 'a type such as "string"'),
    description: 'columns by name, for example {"time": "timestamp"}',
  },
  datetime: text(64, "the column that windows go by: a time, or a declared int64 or uint64"),
  index: list(text(64, "a column"), 100, "a list of columns"),
  target: text(128, "the dataset that rows go to"),
  schedule: text(200, '"every 1h", "cron 15 3 * * * Europe/Berlin" or "manual"'),
  chunk: duration("the length of one window, or how many integers as text"),
  begin: text(40, 'a time such as 2012-01-01T00:00:00Z, or an integer as text: "0"'),
  end: text(40, 'a time such as 2012-01-01T00:00:00Z, or an integer as text: "0"'),
  backtrack: duration("how far back finished windows are fetched again, or how many integers as text"),
  timeout: duration("the wall time of one call"),
  attempts: whole(1, 20, "attempts of one window"),
  schema: { enum: ["evolve", "freeze", "reject"] },
  timezone: text(64, "the zone of times without an offset, such as Europe/Berlin"),
  retention: duration("how long rows are kept by their time"),
  ttl: duration("how long rows are kept after they came"),
  partition: { enum: ["day", "month", "none"] },
  codec: text(100, 'the compression of columns, such as "ZSTD(3)"'),
  codecs: {
    type: "object",
    additionalProperties: text(100, 'a compression such as "Delta, ZSTD"'),
    description: 'compression by column, for example {"temp": "Gorilla, ZSTD"}',
  },
  freshness: duration("how old the newest fetched moment may be"),
});

const route = object(
  {
    method: { enum: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*"] },
    path: text(500, 'a path such as "/api/series/{name}"'),
    auth: { enum: ["token", "public"] },
    timeout: duration("the wall time of one call"),
    max_body_bytes: whole(0, 16 << 20, "the largest request body in bytes"),
  },
  ["method", "path"],
);

const schema = { type: "object", description: "a JSON Schema (draft 2020-12)" };

const functions = {
  type: "object",
  maxProperties: 200,
  propertyNames: {
    pattern: "^[a-z][a-z0-9_]{0,62}$",
    description: "a lower-case letter, then at most 62 lower-case letters, digits and _",
  },
  additionalProperties: object({
    input: schema,
    output: schema,
    timeout: duration("the wall time of one call"),
    description: text(500, "one sentence of at most 500 characters"),
  }),
  description: "functions by name",
};

const namespaces = {
  type: "object",
  minProperties: 1,
  maxProperties: 20,
  propertyNames: {
    pattern: "^[a-z][a-z0-9_-]{0,62}$",
    description: "a lower-case letter, then at most 62 lower-case letters, digits, _ and -",
  },
  additionalProperties: object({
    schema,
    ttl: duration("how long a document lives at most"),
    description: text(500, "one sentence of at most 500 characters"),
  }),
  description: 'namespaces by name, for example {"topology": {"schema": {"type": "object"}, "ttl": "1h"}}',
};

export const MANIFEST_SCHEMA: Json = object(
  {
    $schema: text(500, "the address of a JSON Schema, for editors"),
    name: {
      type: "string",
      pattern: "^[a-z][a-z0-9-]{0,62}$",
      description: "a lower-case letter, then at most 62 lower-case letters, digits and -",
    },
    version: text(128, 'a semantic version such as "1.0.0"'),
    abi: { const: 1, description: "write 1, the only version of the guest ABI" },
    description: text(500, "one sentence of at most 500 characters"),
    author: text(200, "at most 200 characters"),
    license: text(200, 'an SPDX expression such as "Apache-2.0"'),
    // Builders read it; a module that is built needs no more of it.
    runtime: { enum: ["micropython", "cpython"], description: "the interpreter of a plugin in Python" },
    interfaces: object(
      {
        fetch,
        sync: fetch,
        before_sync: object({ timeout: duration("the wall time of one call") }),
        after_sync: object({ timeout: duration("the wall time of one call") }),
        register: object({}),
        poll: object({
          every: duration("the period"),
          timeout: duration("the wall time of one call"),
          filter: text(2_000, "a CEL expression over resource"),
          context: list(text(63, "a namespace"), 20, "a list of namespaces"),
        }),
        discover: object({ every: duration("the period"), timeout: duration("the wall time of one call") }),
        enrich: object(
          {
            every: duration("the period"),
            timeout: duration("the wall time of one call"),
            filter: text(2_000, "a CEL expression over resource"),
            namespaces,
          },
          ["namespaces"],
        ),
        route: object({ routes: list(route, 200, "a list of routes") }, ["routes"]),
        functions,
      },
      [],
      { minProperties: 1, description: "at least one of fetch, sync, poll, discover, enrich, route, functions" },
    ),
    config: { type: "object", description: "a JSON Schema (draft 2020-12) of an object" },
    permissions: object({
      http: list(
        object(
          {
            url: text(2_000, 'a pattern such as "https://api.example.org/v1/*"'),
            methods: list(text(16, "a method"), 10, "a list of methods"),
          },
          ["url"],
        ),
        100,
        "a list of URL patterns",
      ),
      kv: { type: "boolean", description: "true or false" },
      query: list(text(128, "a dataset"), 100, "a list of datasets"),
      secrets: list(text(65, "the name of a secret"), 100, "a list of secrets"),
      sockets: list(text(300, 'a pattern such as "udp://10.0.0.0/8:161"'), 100, "a list of sockets"),
      call: list(text(130, 'a function such as "geo/lookup"'), 100, "a list of functions"),
      publish: list(text(200, 'a subject such as "alerts.*"'), 100, "a list of subjects"),
      context: list(text(65, 'a namespace such as "topology"'), 100, "a list of namespaces"),
    }),
    limits: object({
      memory_mib: whole(1, 1_024, "linear memory in MiB"),
      timeout: duration("the wall time of one call"),
      cpu: duration("the CPU time of one call"),
      output_mib: whole(1, 64, "the largest output in MiB"),
      host_calls: whole(1, 1_000_000_000, "host calls of one call"),
      rows: whole(1, Number.MAX_SAFE_INTEGER, "rows of one run"),
      host_calls_in_flight: whole(1, 1_024, "host calls that wait at once"),
      log_lines: whole(1, 100_000, "log lines of one run"),
      log_kib: whole(1, 16_384, "log text of one run in KiB"),
      http_requests: whole(1, 10_000, "HTTP requests of one call"),
      http_mib: whole(1, 1_024, "HTTP bodies of one call in MiB"),
      call_depth: whole(1, 32, "how deep calls may nest"),
      gas_million: whole(1, 1_000_000_000, "instructions of one call in millions"),
    }),
    reuse: whole(0, 100_000, "calls that one guest instance serves"),
    isolation: { enum: ["shared", "dedicated"] },
    metered: { type: "boolean", description: "true or false" },
  },
  ["name", "version", "abi", "interfaces"],
);
