/** Which resources a poller picks. Pure. */
import { filteredFields, RESOURCE_VARIABLE } from "../../proto/catalog.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { compilePredicate } from "../kit/predicate.ts";

export type ResourceFilter = (resource: Resource) => boolean;

/** What is picked when nobody says otherwise: the resources that the instance itself discovered. */
export const discoveredBy =
  (instance: string): ResourceFilter =>
  (resource) =>
    resource.origin === instance;

/** Errors: `invalid`, naming `field`, for what is not a condition over `resource`. */
export function compileFilter(expression: string, field: string): ResourceFilter {
  const holds = compilePredicate(expression, RESOURCE_VARIABLE, field);
  return (resource) => holds(filteredFields(resource));
}
