/** What a manifest says of documents about resources: those that `enrich` writes, those that `poll` is given. Pure. */
import type { Interfaces } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import type { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { parseContextPattern } from "../../proto/patterns.ts";
import type { Mistake } from "../kit/fault.ts";
import { durationMistakes, filterMistakes } from "./mistakes.ts";
import { shown } from "./names.ts";
import { MAX_CALL_MS } from "./parameters.ts";
import { valueSchemaMistakes } from "./schema.ts";

const MAX_EVERY_MS = 30 * 86_400_000;
export const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 366 * 86_400_000;

export function contextMistakes(interfaces: Interfaces | undefined, permissions: Permissions | undefined): Mistake[] {
  const { enrich, poll } = interfaces ?? {};
  const mistakes: Mistake[] = [];
  const at = "interfaces.enrich";
  if (enrich?.every) mistakes.push(...durationMistakes(enrich.every, `${at}.every`, 1_000, MAX_EVERY_MS));
  if (enrich?.timeout) mistakes.push(...durationMistakes(enrich.timeout, `${at}.timeout`, 1, MAX_CALL_MS));
  if (enrich?.filter) mistakes.push(...filterMistakes(enrich.filter, `${at}.filter`));
  for (const [name, { schema, ttl }] of Object.entries(enrich?.namespaces ?? {})) {
    const field = `${at}.namespaces.${name}`;
    if (schema) mistakes.push(...valueSchemaMistakes(schema, `${field}.schema`));
    if (ttl) mistakes.push(...durationMistakes(ttl, `${field}.ttl`, MIN_TTL_MS, MAX_TTL_MS));
  }
  const asked = (permissions?.context ?? []).flatMap((text) => parseContextPattern(text) ?? []);
  for (const [i, namespace] of (poll?.context ?? []).entries()) {
    if (asked.some((pattern) => pattern.matches(namespace, true))) continue;
    const problem = `${shown(namespace)} is not among the permissions`;
    const fix = `add ${shown(namespace)} to permissions.context`;
    mistakes.push({ field: `interfaces.poll.context[${i}]`, problem, fix });
  }
  return mistakes;
}
