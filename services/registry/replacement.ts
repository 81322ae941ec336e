/** What a discovery's find does to the resources of its origin, and which resources are past their ttl. Pure. */
import { createHash } from "node:crypto";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { parseDuration } from "../kit/time.ts";
import { durationMistakes } from "./mistakes.ts";
import { shown } from "./names.ts";
import { fromTimestamp } from "./store.ts";

export const MAX_FOUND = 10_000;
const MAX_LABELS = 50;
const MAX_WORD = 200;
const MAX_ID = 512;
const MAX_ENDPOINT = 2_000;
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 3_660 * 86_400_000;
/** Fewer may always go: it is more than half of more than this that smells of a broken discovery. */
const SMALL_SET = 5;
const MAX_MISTAKES = 50;

/** What is wrong with one resource, fields below `field` ("" for none). */
export function resourceMistakes(resource: Resource, field: string): Mistake[] {
  const at = (name: string) => (field === "" ? name : `${field}.${name}`);
  const mistakes: Mistake[] = [];
  const length = (name: string, value: string, max: number) => {
    if (value.length > max)
      mistakes.push({ field: at(name), problem: `has ${value.length} characters`, fix: `at most ${max}` });
  };
  length("id", resource.id, MAX_ID);
  length("endpoint", resource.endpoint, MAX_ENDPOINT);
  for (const word of ["site", "class", "subclass", "type"] as const) length(word, resource[word], MAX_WORD);
  if (resource.type === "") mistakes.push({ field: at("type"), problem: "is not set", fix: 'such as "http"' });
  const labels = Object.entries(resource.labels);
  if (labels.length > MAX_LABELS) {
    mistakes.push({ field: at("labels"), problem: `has ${labels.length} labels`, fix: `at most ${MAX_LABELS}` });
  }
  for (const [key, value] of labels.slice(0, MAX_LABELS)) {
    length(`labels[${shown(key)}]`, key, MAX_WORD);
    length(`labels[${shown(key)}]`, value, MAX_WORD);
    if (key === "") mistakes.push({ field: at("labels"), problem: "has an empty key", fix: "give it a name" });
  }
  if (resource.ttl !== "") mistakes.push(...durationMistakes(resource.ttl, at("ttl"), MIN_TTL_MS, MAX_TTL_MS));
  return mistakes;
}

/** Readable where the id is, and never the same for two ids or origins. */
export function discoveredName(origin: string, id: string): string {
  const words = `${origin.replace(/^instances\//, "")}-${id}`.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const mark = createHash("sha256").update(`${origin}\n${id}`).digest("hex").slice(0, 12);
  return `resources/${words.slice(0, 49).replace(/^-+|-+$/g, "")}-${mark}`;
}

export interface Replacement {
  readonly create: readonly Resource[];
  /** Changed ones, and unchanged ones whose ttl asks for a sign of life. */
  readonly update: readonly Resource[];
  /** How many of `update` really changed. */
  readonly changed: number;
  /** Names. */
  readonly remove: readonly string[];
}

/** Errors: `invalid` with the mistakes of all resources; `precondition` for a removal that looks like an accident. */
export function replacement(
  stored: readonly Resource[],
  origin: string,
  found: readonly Resource[],
  complete: boolean,
  nowMs: number,
): Replacement {
  if (found.length > MAX_FOUND) {
    const fix = `at most ${MAX_FOUND}`;
    throw Fault.invalid("resources", [{ field: "resources", problem: `has ${found.length} entries`, fix }]);
  }
  const mistakes: Mistake[] = [];
  const fresh = new Map<string, Resource>();
  for (const [i, resource] of found.entries()) {
    if (mistakes.length >= MAX_MISTAKES) break;
    const field = `resources[${i}]`;
    mistakes.push(...resourceMistakes(resource, field));
    if (resource.id === "")
      mistakes.push({ field: `${field}.id`, problem: "is not set", fix: "what its origin calls it" });
    const name = discoveredName(origin, resource.id);
    if (fresh.has(name)) {
      mistakes.push({ field: `${field}.id`, problem: `${shown(resource.id)} is there twice`, fix: "list it once" });
    }
    fresh.set(name, {
      ...resource,
      name,
      origin,
      managedBy: "",
      etag: "",
      createTime: undefined,
      updateTime: undefined,
    });
  }
  if (mistakes.length) throw Fault.invalid("resources", mistakes);

  const own = stored.filter((resource) => resource.origin === origin);
  const before = new Map(own.map((resource) => [resource.name, resource]));
  const remove = complete ? own.filter(({ name }) => !fresh.has(name)).map(({ name }) => name) : [];
  if (own.length > SMALL_SET && remove.length > own.length / 2) {
    const counts = `it would remove ${remove.length} of ${own.length} resources of ${origin}`;
    throw new Fault("precondition", `refused: ${counts}; delete them by hand if that is meant`);
  }
  const create: Resource[] = [];
  const update: Resource[] = [];
  let changed = 0;
  for (const resource of fresh.values()) {
    const old = before.get(resource.name);
    if (!old) create.push(resource);
    else if (content(old) !== content(resource)) {
      changed += 1;
      update.push(resource);
    } else if (old.ttl !== "" && nowMs - fromTimestamp(old.updateTime) >= parseDuration(old.ttl, "ttl") / 4) {
      update.push(resource);
    }
  }
  return { create, update, changed, remove };
}

/** Names and etags of those not seen for longer than their ttl. */
export function expired(resources: readonly Resource[], nowMs: number): readonly Resource[] {
  return resources.filter(
    ({ ttl, updateTime }) => ttl !== "" && nowMs - fromTimestamp(updateTime) > parseDuration(ttl, "ttl"),
  );
}

function content({ id, site, class: kind, subclass, type, endpoint, labels, ttl }: Resource): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([id, site, kind, subclass, type, endpoint, sorted, ttl]);
}
