/** `context`: documents that enrichments wrote about the resource at hand, or about others. */
import { isNamespace } from "../../../proto/patterns.ts";
import { Fault, type Mistake } from "../../kit/fault.ts";
import { formatTime } from "../../kit/time.ts";
import type { Contexts, Document } from "../contexts.ts";
import type { Caller } from "../invocations.ts";
import { type Capability, readRequest } from "./functions.ts";

export const MAX_CONTEXT_KEY_BYTES = 128;
/** Values of one `list`. */
const MAX_LIST_BYTES = 4 << 20;
const MAX_LIMIT = 1_000;
const OPERATIONS = ["get", "list"] as const;
const RESOURCE = /^[a-z0-9][a-z0-9-]{0,62}$/;

interface Asked {
  readonly op: (typeof OPERATIONS)[number];
  readonly resource: string;
  readonly namespace: string;
  readonly key: string;
  readonly limit: number | undefined;
  readonly after: string | undefined;
}

/**
 * `get` `{resource?, namespace, key}` → `{key, value, instance, written, ttl_ms}`, or `{}`. `list` takes a prefix as
 * `key` → `{documents: […], next?}`; with `limit`, `next` is the `after` of the next page. Without `resource` it is the
 * one that the guest is called for. Errors of the results: `denied`, `invalid`, `too_large`.
 */
export function contextCapability(
  contexts: Pick<Contexts, "get" | "list">,
  { subject, tally, resource: own }: Caller,
): Capability {
  return async (bytes) => {
    const asked = readAsked(bytes, own);
    const { op, resource, namespace, key } = asked;
    if (!subject.grants.context(namespace, resource === own)) {
      tally.denied();
      const wanted = resource === own ? namespace : `${namespace}/*`;
      const fix = `the manifest must ask for "${wanted}" in permissions.context and the operator allow it`;
      throw new Fault("denied", `documents of ${namespace} about ${resource} are not granted; ${fix}`);
    }
    if (op === "list") {
      const documents = await contexts.list(resource, namespace);
      return pageOf(
        documents.filter((document) => document.key.startsWith(key)),
        asked,
      );
    }
    const found = await contexts.get(resource, namespace, key);
    return found ? answerOf(found) : {};
  };
}

const answerOf = ({ key, value, instance, writtenMs, ttlMs }: Document) => ({
  ...{ key, value, instance, ttl_ms: ttlMs },
  written: formatTime(BigInt(writtenMs) * 1_000n),
});

/** Without `limit`, all or `too_large`. */
function pageOf(all: readonly Document[], { namespace, limit, after }: Asked) {
  const page: ReturnType<typeof answerOf>[] = [];
  let bytes = 0;
  for (const document of all) {
    if (after !== undefined && document.key <= after) continue;
    bytes += Buffer.byteLength(JSON.stringify(document.value));
    const full = bytes > MAX_LIST_BYTES && page.length > 0;
    if (full && limit === undefined) {
      const fix = "ask for pages with limit";
      throw new Fault("too_large", `the documents of ${namespace} are over ${MAX_LIST_BYTES} bytes; ${fix}`);
    }
    if (full || page.length === limit) return { documents: page, next: page.at(-1)?.key };
    page.push(answerOf(document));
  }
  return { documents: page };
}

function readAsked(bytes: Uint8Array, own: string | undefined): Asked {
  const asked = readRequest("context", bytes);
  const mistakes: Mistake[] = [];
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  const op = OPERATIONS.find((name) => name === asked.op);
  if (!op) mistakes.push({ field: "op", problem: `${said(asked.op)} is not known`, fix: OPERATIONS.join(" or ") });
  const text = (field: string, value: unknown, good: (given: string) => boolean, fix: string) => {
    if (typeof value === "string" && good(value)) return value;
    mistakes.push({ field, problem: `${said(value)} is not accepted`, fix });
    return "";
  };
  const none = asked.resource === undefined || asked.resource === null;
  const whose = "the name of a resource: this call is for none";
  const resource = text("resource", none ? own : asked.resource, (given) => RESOURCE.test(given), whose);
  const namespace = text("namespace", asked.namespace, isNamespace, "lower-case letters, digits, _ and -");
  const isKey = (given: string) =>
    Buffer.byteLength(given) <= MAX_CONTEXT_KEY_BYTES && given.isWellFormed() && (given !== "" || op === "list");
  const key = text("key", asked.key ?? "", isKey, `text of 1 to ${MAX_CONTEXT_KEY_BYTES} bytes`);
  const limit = asked.limit ?? null;
  const after = asked.after ?? undefined;
  const isLimit = limit === null || (Number.isInteger(limit) && Number(limit) >= 1 && Number(limit) <= MAX_LIMIT);
  if (!isLimit) mistakes.push({ field: "limit", problem: `${said(limit)} is out of range`, fix: `1–${MAX_LIMIT}` });
  if (after !== undefined && typeof after !== "string") {
    mistakes.push({ field: "after", problem: `${said(after)} is not a key`, fix: "`next` as given" });
  }
  if (mistakes.length || !op) throw Fault.invalid("context", mistakes);
  const from = typeof after === "string" ? after : undefined;
  return { op, resource, namespace, key, limit: limit === null ? undefined : Number(limit), after: from };
}
