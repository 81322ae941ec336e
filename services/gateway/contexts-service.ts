/** Contexts over gRPC: documents about resources, read from the bus. */
import { type Entity, find } from "../../proto/catalog.ts";
import { type ContextDocument, StoredDocument } from "../../proto/gen/millrace/executor/v1/context.ts";
import { type ContextsServer, ContextsService } from "../../proto/gen/millrace/executor/v1/context_service.ts";
import { BUCKETS } from "../../proto/names.ts";
import { isNamespace } from "../../proto/patterns.ts";
import { decodeKeyPart } from "../bus/keys.ts";
import type { Bus, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { type Service, service } from "../kit/grpc.ts";
import { timestampOf } from "../kit/time.ts";
import { nameIn } from "./resource-names.ts";

const PAGE = { fallback: 100, max: 1_000, bytes: 4 << 20 };

export interface ContextsPorts {
  readonly bus: Bus;
  readonly catalog: { get(key: string): Entity | undefined };
}

export const contextsService = ({ bus, catalog }: ContextsPorts): Service =>
  service<ContextsServer>(ContextsService, {
    async listContextDocuments({ parent, namespace, pageSize, pageToken }) {
      const resource = nameIn("resources", "parent", parent);
      if (namespace !== "" && !isNamespace(namespace)) {
        const problem = `${JSON.stringify(namespace.slice(0, 100))} is not a namespace`;
        throw Fault.invalid("list", [{ field: "namespace", problem, fix: "lower-case letters, digits, _ and -" }]);
      }
      if (!find(catalog, "resource", parent)) throw new Fault("not_found", `there is no ${parent}`);
      const size = pageSize <= 0 ? PAGE.fallback : Math.min(pageSize, PAGE.max);
      const entries = await (await bus.kv(BUCKETS.contexts)).list(namespace ? `${resource}.${namespace}` : resource);
      const documents: ContextDocument[] = [];
      let bytes = 0;
      let last = "";
      for (const entry of entries.sort((a, b) => (a.key < b.key ? -1 : 1))) {
        if (entry.key <= pageToken) continue;
        const document = documentOf(entry, resource);
        if (!document) continue;
        bytes += entry.value.byteLength;
        if (documents.length === size || (bytes > PAGE.bytes && documents.length > 0)) {
          return { documents, nextPageToken: last };
        }
        documents.push(document);
        last = entry.key;
      }
      return { documents, nextPageToken: "" };
    },
  });

/** Undefined when its time is over. */
function documentOf({ key, value, createdMs }: KvEntry, resource: string): ContextDocument | undefined {
  const { json, instance, runId, ttlMs } = StoredDocument.decode(value);
  const expireMs = createdMs + Number(ttlMs);
  if (expireMs <= Date.now()) return undefined;
  const [namespace = "", encoded = ""] = key.slice(resource.length + 1).split(".");
  return {
    ...{ namespace, key: decodeKeyPart(encoded), resource: `resources/${resource}` },
    value: JSON.parse(Buffer.from(json).toString("utf8")) as unknown,
    ...{ instance: `instances/${instance}`, run: `runs/${runId}` },
    writeTime: timestampOf(BigInt(createdMs) * 1_000n),
    expireTime: timestampOf(BigInt(expireMs) * 1_000n),
  };
}
