/**
 * Server reflection (v1 and v1alpha, which differ in name only) from our own descriptors, byte for byte, comments and
 * HTTP annotations included. The library of grpc-node re-encodes them through protobufjs and loses both.
 */
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { Service } from "../kit/grpc.ts";
import type { Api } from "./api.ts";

// Field numbers of grpc/reflection/v1/reflection.proto.
const REQUEST = { fileByName: 3, fileBySymbol: 4, fileByExtension: 5, extensionsOf: 6, listServices: 7 } as const;
const RESPONSE = { validHost: 1, original: 2, files: 4, extensions: 5, services: 6, error: 7 } as const;

const VERSIONS = ["grpc.reflection.v1", "grpc.reflection.v1alpha"] as const;
const bytes = (value: Uint8Array) => Buffer.from(value);

/** Lists the services given; files of everything that the descriptors hold. */
export function reflectionServices(api: Api, services: readonly string[]): Service[] {
  const answer = answerer(api, services);
  return VERSIONS.map((version) => ({
    definition: {
      serverReflectionInfo: {
        path: `/${version}.ServerReflection/ServerReflectionInfo`,
        requestStream: true,
        responseStream: true,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      },
    },
    methods: {
      async *serverReflectionInfo(requests: AsyncIterable<Uint8Array>) {
        for await (const request of requests) yield answer(request);
      },
    },
  }));
}

function answerer({ files }: Api, services: readonly string[]): (request: Uint8Array) => Uint8Array {
  const byName = new Map<string, DescFile>();
  for (const file of files.files) byName.set(file.proto.name, file);
  /** A file with all it imports: a client builds its registry from one answer. */
  const closure = (file: DescFile, found = new Set<DescFile>()): Set<DescFile> => {
    if (found.has(file)) return found;
    for (const dependency of file.dependencies) closure(dependency, found);
    return found.add(file);
  };
  const ofSymbol = (symbol: string): DescFile | undefined => {
    const whole = files.get(symbol);
    if (whole) return whole.file;
    const parent = symbol.slice(0, symbol.lastIndexOf("."));
    const member = symbol.slice(parent.length + 1);
    const inside = files.get(parent);
    if (inside?.kind === "service") return inside.methods.some((m) => m.name === member) ? inside.file : undefined;
    if (inside?.kind === "message") return inside.fields.some((f) => f.name === member) ? inside.file : undefined;
    return undefined;
  };
  const filesOf = (file: DescFile | undefined, what: string) => {
    if (!file) return error(`${what} is not known`);
    const writer = new BinaryWriter();
    for (const { proto } of closure(file)) writer.uint32(tag(1)).bytes(toBinary(FileDescriptorProtoSchema, proto));
    return { field: RESPONSE.files, body: writer.finish() };
  };
  const look = (field: number, value: Uint8Array) => {
    const text = new TextDecoder().decode(value);
    switch (field) {
      case REQUEST.fileByName:
        return filesOf(byName.get(text), `file ${text}`);
      case REQUEST.fileBySymbol:
        return filesOf(ofSymbol(text), `symbol ${text}`);
      case REQUEST.fileByExtension: {
        const { type, number } = extensionIn(value);
        const extended = files.getMessage(type);
        const found = extended && files.getExtensionFor(extended, number);
        return filesOf(found?.file, `extension ${number} of ${type}`);
      }
      case REQUEST.extensionsOf: {
        if (!files.getMessage(text)) return error(`message ${text} is not known`);
        const writer = new BinaryWriter().uint32(tag(1)).string(text);
        for (const one of files) {
          if (one.kind === "extension" && one.extendee.typeName === text) writer.uint32(tag(2, 0)).int32(one.number);
        }
        return { field: RESPONSE.extensions, body: writer.finish() };
      }
      case REQUEST.listServices: {
        const writer = new BinaryWriter();
        for (const name of services) {
          writer.uint32(tag(1)).bytes(new BinaryWriter().uint32(tag(1)).string(name).finish());
        }
        return { field: RESPONSE.services, body: writer.finish() };
      }
      default:
        return error("the request asks for nothing that is known", status.UNIMPLEMENTED);
    }
  };
  return (request) => {
    const reader = new BinaryReader(request);
    let host: Uint8Array = new Uint8Array();
    let found = error("the request is empty", status.INVALID_ARGUMENT);
    while (reader.pos < reader.len) {
      const [field, wire] = reader.tag();
      if (wire !== 2) reader.skip(wire);
      else if (field === 1) host = reader.bytes();
      else found = look(field, reader.bytes());
    }
    return new BinaryWriter()
      .uint32(tag(RESPONSE.validHost))
      .bytes(host)
      .uint32(tag(RESPONSE.original))
      .bytes(request)
      .uint32(tag(found.field))
      .bytes(found.body)
      .finish();
  };
}

/** Length-delimited unless said otherwise. */
const tag = (field: number, wire = 2) => (field << 3) | wire;

function error(message: string, code = status.NOT_FOUND): { field: number; body: Uint8Array } {
  const body = new BinaryWriter().uint32(tag(1, 0)).int32(code).uint32(tag(2)).string(message).finish();
  return { field: RESPONSE.error, body };
}

function extensionIn(value: Uint8Array): { type: string; number: number } {
  const reader = new BinaryReader(value);
  const found = { type: "", number: 0 };
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === 1 && wire === 2) found.type = reader.string();
    else if (field === 2 && wire === 0) found.number = reader.int32();
    else reader.skip(wire);
  }
  return found;
}
