/** OpenAPI 3.1 of the REST face, out of the same descriptors that serve it: comments are the descriptions. */
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { faultCodes } from "../kit/fault.ts";
import { type Api, type Binding, isFile } from "./api.ts";
import { isWellKnown } from "./request-json.ts";

type Schema = JsonObject;

const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

/** The whole document. `needsToken` says whether a bearer token is asked for here. */
export function openApi(api: Api, version: string, needsToken: boolean): JsonObject {
  const schemas: Record<string, Schema> = { Error: errorSchema };
  const paths: Record<string, Record<string, JsonValue>> = {};
  const tags = new Map<string, string>();
  const builder = schemaBuilder(api, schemas);
  for (const method of api.methods) {
    const service = method.desc.parent;
    tags.set(service.name, api.comment(service));
    method.bindings.forEach((binding, index) => {
      const at = paths[binding.template.openApi] ?? {};
      paths[binding.template.openApi] = at;
      const id = index === 0 ? `${service.name}_${method.desc.name}` : `${service.name}_${method.desc.name}_${index}`;
      at[binding.verb.toLowerCase()] = operation(api, binding, id, builder);
    });
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Millrace",
      version,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      description:
        "Runs plugins for data. The same methods are served over gRPC. Every error has the shape of `Error`. " +
        "Unknown fields and parameters are refused by name; 64-bit integers are written as text.",
    },
    servers: [{ url: "/" }],
    ...(needsToken && { security: [{ token: [] }] }),
    tags: [...tags].map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas,
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "MILLRACE_TOKEN of the gateway." },
      },
      responses: {
        Error: {
          description: "It did not work; `code` is stable.",
          content: { "application/json": { schema: ref("Error") } },
        },
      },
    },
  };
}

interface SchemaBuilder {
  message(message: DescMessage): Schema;
  field(field: DescField): Schema;
}

function operation({ comment }: Api, binding: Binding, id: string, build: SchemaBuilder): JsonObject {
  const { method, body } = binding;
  const { desc } = method;
  const description = comment(desc);
  const isStream = desc.methodKind === "server_streaming";
  const output = build.message(desc.output);
  const file = { "*/*": { schema: { type: "string", format: "binary" } } };
  const content: JsonObject = isFile(binding)
    ? file
    : isStream
      ? { "application/x-ndjson": { schema: output }, "text/event-stream": { schema: output } }
      : { "application/json": { schema: output } };
  const parameters = [...pathParameters(binding), ...queryParameters(binding, build, comment)];
  return {
    operationId: id,
    summary: /^[^.]*\./.exec(description)?.[0] ?? description,
    description,
    tags: [desc.parent.name],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: requestBody(body, desc.input, build) }),
    responses: {
      200: { description: comment(desc.output) || "Done.", content },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

function pathParameters({ template }: Binding): JsonObject[] {
  return template.parameters.map(({ name, slashes }) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string", ...(!slashes && { pattern: "^[^/:]+$" }) },
    ...(slashes && { description: "May contain slashes; write them as they are.", "x-slashes": true }),
  }));
}

/** Every field that neither path nor body holds; fields of a nested message by dotted name. */
function queryParameters(binding: Binding, build: SchemaBuilder, comment: Api["comment"]): JsonObject[] {
  if (binding.body === "*") return [];
  const bound = new Set(binding.template.variables.map(({ field }) => field));
  const found: JsonObject[] = [];
  const visit = (message: DescMessage, prefix: string, protoPrefix: string, depth: number) => {
    for (const field of message.fields) {
      const name = `${prefix}${field.jsonName}`;
      const protoName = `${protoPrefix}${field.name}`;
      if (bound.has(protoName) || field === binding.body || field.fieldKind === "map") continue;
      if (field.fieldKind === "message" && !isWellKnown(field.message)) {
        if (depth < MAX_QUERY_DEPTH) visit(field.message, `${name}.`, `${protoName}.`, depth + 1);
        continue;
      }
      if (field.fieldKind === "list" && field.listKind === "message") continue;
      found.push({ name, in: "query", description: comment(field), schema: build.field(field) });
    }
  };
  visit(binding.method.desc.input, "", "", 0);
  return found;
}
const MAX_QUERY_DEPTH = 3;

function requestBody(body: "*" | DescField, input: DescMessage, build: SchemaBuilder): JsonObject {
  // An empty body is an empty message: what it lacks is then said by name.
  if (body === "*") return { content: { "application/json": { schema: build.message(input) } } };
  if (body.fieldKind === "scalar" && body.scalar === ScalarType.BYTES) {
    return {
      required: true,
      description: "The bytes themselves, with any content type other than JSON; or base64 text as JSON.",
      content: {
        "application/octet-stream": { schema: {} },
        "application/json": { schema: { type: "string", contentEncoding: "base64" } },
      },
    };
  }
  return { required: true, content: { "application/json": { schema: build.field(body) } } };
}

function schemaBuilder({ comment }: Api, schemas: Record<string, Schema>): SchemaBuilder {
  const owners = new Map<string, string>([["Error", "Error"]]);
  /** The short name, unless a type of another package has it. */
  const nameOf = (desc: DescMessage | DescEnum): string => {
    const owner = owners.get(desc.name) ?? desc.typeName;
    owners.set(desc.name, owner);
    return owner === desc.typeName ? desc.name : desc.typeName;
  };
  const message = (desc: DescMessage): Schema => {
    const known = WELL_KNOWN[desc.typeName];
    if (known) return known;
    const name = nameOf(desc);
    if (!schemas[name]) {
      const properties: Record<string, Schema> = {};
      schemas[name] = { type: "object", description: comment(desc), properties, additionalProperties: false };
      for (const field of desc.fields) properties[field.jsonName] = described(field);
    }
    return ref(name);
  };
  const enumeration = (desc: DescEnum): Schema => {
    const lines = desc.values.map((value) => `- \`${value.name}\`: ${comment(value)}`);
    const values = desc.values.map((value) => value.name);
    schemas[nameOf(desc)] ??= { type: "string", enum: values, description: [comment(desc), ...lines].join("\n") };
    return ref(nameOf(desc));
  };
  const single = (one: {
    message?: DescMessage | undefined;
    enum?: DescEnum | undefined;
    scalar?: ScalarType | undefined;
  }) => {
    if (one.message) return message(one.message);
    if (one.enum) return enumeration(one.enum);
    return SCALARS[one.scalar ?? ScalarType.STRING] ?? { type: "number" };
  };
  const field = (desc: DescField): Schema => {
    if (desc.fieldKind === "map") return { type: "object", additionalProperties: single(desc) };
    return desc.fieldKind === "list" ? { type: "array", items: single(desc) } : single(desc);
  };
  const described = (desc: DescField): Schema => {
    const description = comment(desc);
    const readOnly = /\bOutput only\b/.test(description);
    return { ...field(desc), ...(description && { description }), ...(readOnly && { readOnly }) };
  };
  return { message, field };
}

const SCALARS: Readonly<Partial<Record<ScalarType, Schema>>> = {
  [ScalarType.STRING]: { type: "string" },
  [ScalarType.BOOL]: { type: "boolean" },
  [ScalarType.BYTES]: { type: "string", contentEncoding: "base64" },
  [ScalarType.INT32]: { type: "integer", format: "int32" },
  [ScalarType.UINT32]: { type: "integer", format: "int32", minimum: 0 },
  [ScalarType.INT64]: { type: "string", format: "int64", pattern: "^-?[0-9]+$" },
  [ScalarType.UINT64]: { type: "string", format: "uint64", pattern: "^[0-9]+$" },
  [ScalarType.DOUBLE]: { type: "number", format: "double" },
  [ScalarType.FLOAT]: { type: "number", format: "float" },
};

const WELL_KNOWN: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9.]+s$" },
  "google.protobuf.FieldMask": { type: "string", examples: ["state,config"] },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Value": {},
  "google.protobuf.Empty": { type: "object" },
};

const errorSchema: Schema = {
  type: "object",
  description: "Why it did not work.",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "status", "message", "mistakes"],
      properties: {
        code: { type: "string", enum: [...faultCodes], description: "Stable." },
        status: { type: "integer", description: "The HTTP status again." },
        message: { type: "string", description: "For people." },
        mistakes: {
          type: "array",
          description: "Everything that is wrong with the input, at once.",
          items: {
            type: "object",
            required: ["field", "problem"],
            properties: {
              field: { type: "string", description: "Path of the field, as the caller wrote it." },
              problem: { type: "string" },
              fix: { type: "string", description: "What would be accepted." },
            },
          },
        },
      },
    },
  },
};
