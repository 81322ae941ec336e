/** What an instance may reach: what its manifest asks for and its operator allows, both. Deny by default. */
import type { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { HttpPermission, Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { parseUrlPattern, type UrlPattern } from "./url-pattern.ts";

export interface EffectiveGrants {
  /** Whether a request may be sent. A redirect is asked about again. */
  http(url: URL, method: string): boolean;
  /** Whether any request at all may be sent. */
  readonly anyHttp: boolean;
  readonly kv: boolean;
  /** Datasets that `query` may read. */
  readonly query: readonly string[];
}

export function effectiveGrants(
  requested: Permissions | undefined,
  grants: Pick<NonNullable<Instance["grants"]>, "allRequested" | "only"> | undefined,
): EffectiveGrants {
  const allowed = grants?.allRequested ? requested : grants?.only;
  const asked = patterns(requested?.http);
  const given = grants?.allRequested ? asked : patterns(allowed?.http);
  const match = (list: readonly UrlPattern[], url: URL, method: string) => list.some((p) => p.matches(url, method));
  return {
    http: (url, method) => match(asked, url, method) && match(given, url, method),
    anyHttp: asked.length > 0 && given.length > 0,
    kv: (requested?.kv ?? false) && (allowed?.kv ?? false),
    query: (requested?.query ?? []).filter((name) => allowed?.query.includes(name)),
  };
}

/** The registry refuses what is not a pattern; one that came here all the same permits nothing. */
function patterns(http: readonly HttpPermission[] | undefined): UrlPattern[] {
  return (http ?? []).flatMap(({ url, methods }) => parseUrlPattern(url, methods) ?? []);
}
