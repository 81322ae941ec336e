/** What `--json` prints: the same JSON as REST answers, made from the descriptors of the contract. */
import { createFileRegistry, type FileRegistry, fromBinary, type JsonValue, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { descriptorSet } from "../../proto/gen/descriptors.ts";
import { Fault } from "../kit/fault.ts";

export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
}

let files: FileRegistry | undefined;

/** `type` is the full name of the message that `codec` encodes: `millrace.registry.v1.Pipe`. */
export function restJson<T>(type: string, codec: Codec<T>, message: T): JsonValue {
  files ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet));
  const known = files.getMessage(type);
  if (!known) throw new Fault("internal", `the contract has no ${type}`);
  return toJson(known, fromBinary(known, codec.encode(message).finish()), { alwaysEmitImplicit: true });
}
