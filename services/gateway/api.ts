/** The public API as its descriptors say it: services, methods, their HTTP bindings, and the comments beside them. */
import {
  createFileRegistry,
  type DescEnum,
  type DescEnumValue,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
  getOption,
  hasOption,
  type MessageShape,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { descriptorSet } from "../../proto/gen/descriptors.ts";
import { Fault } from "../kit/fault.ts";
import { type PathTemplate, parseTemplate } from "./path-template.ts";

export interface ApiMethod {
  readonly desc: DescMethod;
  /** `/millrace.registry.v1.Pipes/GetPipe`. */
  readonly path: string;
  /** Whether calling it changes nothing. */
  readonly readOnly: boolean;
  readonly bindings: readonly Binding[];
}

/** One HTTP face of a method. */
export interface Binding {
  readonly method: ApiMethod;
  /** Upper-case HTTP method. */
  readonly verb: string;
  readonly template: PathTemplate;
  /** `*`: the body is the request; a field: the body is that field; undefined: no body. */
  readonly body: "*" | DescField | undefined;
}

export interface Api {
  readonly files: FileRegistry;
  /** Only what has an HTTP annotation is public; the rest is between our own services. */
  readonly methods: readonly ApiMethod[];
  /** The comment above it in the proto, or "". */
  comment(desc: DescMessage | DescField | DescEnum | DescEnumValue | DescMethod | DescService): string;
}

/** google.api.HttpRule, as far as it is used here. */
interface HttpRule {
  readonly pattern: { readonly case?: string; readonly value?: unknown };
  readonly body: string;
  readonly additionalBindings: readonly HttpRule[];
}

/** Errors: `internal` for an annotation that makes no sense: it comes from our own protos. */
export function loadApi(): Api {
  const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet));
  const option = files.getExtension("google.api.http");
  if (!option) throw new Fault("internal", "the descriptors lack google.api.http");
  const methods: ApiMethod[] = [];
  for (const file of files.files) {
    for (const service of file.services) {
      for (const desc of service.methods) {
        if (!hasOption(desc, option)) continue;
        methods.push(publicMethod(desc, getOption(desc, option) as MessageShape<DescMessage> as unknown as HttpRule));
      }
    }
  }
  return { files, methods, comment: commentsOf(files) };
}

/**
 * A stream of messages of a `content_type` and `data` is one file in pieces: over HTTP they are the body. Its request
 * says in a field `format` how it is to be written; HTTP's own word for that is Accept.
 */
export function isFile({ method: { desc } }: Binding): boolean {
  const names = desc.output.fields.map(({ name }) => name).join(" ");
  return desc.methodKind === "server_streaming" && names === "content_type data";
}

function publicMethod(desc: DescMethod, rule: HttpRule): ApiMethod {
  const bindings: Binding[] = [];
  const method: ApiMethod = {
    desc,
    path: `/${desc.parent.typeName}/${desc.name}`,
    readOnly: desc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    bindings,
  };
  for (const { pattern, body } of [rule, ...rule.additionalBindings]) {
    if (typeof pattern.value !== "string") throw new Fault("internal", `${method.path}: custom patterns are not known`);
    const field = desc.input.fields.find((f) => f.name === body);
    if (body && body !== "*" && !field) throw new Fault("internal", `${method.path}: no field "${body}" for the body`);
    const template = parseTemplate(pattern.value);
    bindings.push({
      method,
      verb: (pattern.case ?? "").toUpperCase(),
      template,
      body: body === "*" ? "*" : field,
    });
  }
  return method;
}

// Numbers of the repeated fields in FileDescriptorProto, DescriptorProto and so on: how source info names a thing.
const MESSAGE = 4;
const ENUM = 5;
const SERVICE = 6;
const NESTED_MESSAGE = 3;
const NESTED_ENUM = 4;
const MEMBER = 2;

/** Leading comments by the path that source info gives. Files without source info have none. */
function commentsOf(files: FileRegistry): Api["comment"] {
  const byFile = new Map<string, Map<string, string>>();
  const commentsIn = (file: DescFile) => {
    const known = byFile.get(file.name);
    if (known) return known;
    const found = new Map<string, string>();
    for (const { path, leadingComments } of file.proto.sourceCodeInfo?.location ?? []) {
      if (leadingComments) found.set(path.join("."), plain(leadingComments));
    }
    byFile.set(file.name, found);
    return found;
  };
  for (const file of files.files) commentsIn(file);
  const pathOf = (desc: DescMessage | DescEnum): number[] => {
    const isEnum = desc.kind === "enum";
    const { parent, file } = desc;
    if (parent) {
      const list: readonly unknown[] = isEnum ? parent.proto.enumType : parent.proto.nestedType;
      return [...pathOf(parent), isEnum ? NESTED_ENUM : NESTED_MESSAGE, list.indexOf(desc.proto)];
    }
    const list: readonly unknown[] = isEnum ? file.proto.enumType : file.proto.messageType;
    return [isEnum ? ENUM : MESSAGE, list.indexOf(desc.proto)];
  };
  const look = (file: DescFile, path: readonly number[]) => commentsIn(file).get(path.join(".")) ?? "";
  return (desc) => {
    switch (desc.kind) {
      case "message":
      case "enum":
        return look(desc.file, pathOf(desc));
      case "field":
        return look(desc.parent.file, [...pathOf(desc.parent), MEMBER, desc.parent.proto.field.indexOf(desc.proto)]);
      case "enum_value":
        return look(desc.parent.file, [...pathOf(desc.parent), MEMBER, desc.parent.values.indexOf(desc)]);
      case "service":
        return look(desc.file, [SERVICE, desc.file.services.indexOf(desc)]);
      case "rpc":
        return look(desc.parent.file, [
          SERVICE,
          desc.parent.file.services.indexOf(desc.parent),
          MEMBER,
          desc.parent.methods.indexOf(desc),
        ]);
    }
  };
}

/** A comment as running text: line breaks within a paragraph are the proto's, not the reader's. */
const plain = (comment: string) =>
  comment
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replace(/\s+/g, " ").trim())
    .join("\n\n")
    .trim();
