/** What an instance may reach: what its manifest asks for and its operator allows, both. Deny by default. */
import type { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { HttpPermission, Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { parseCallPattern, parsePublishPattern, parseSocketPattern, type SocketScheme } from "../../proto/patterns.ts";
import { parseSecretPermission } from "../../proto/secrets.ts";
import { parseUrlPattern, type UrlPattern } from "../../proto/url-pattern.ts";

export interface EffectiveGrants {
  /** Whether a request may be sent. A redirect is asked about again. */
  http(url: URL, method: string): boolean;
  /** Whether any request at all may be sent. */
  readonly anyHttp: boolean;
  readonly kv: boolean;
  /** Datasets that `query` may read. */
  readonly query: readonly string[];
  /** `host` as `plainHost` gives it; `port` is 0 for `ping`. */
  socket(scheme: SocketScheme, host: string, port: number): boolean;
  /** Whether a function of another instance may be called. */
  call(instance: string, fn: string): boolean;
  /** Secrets that may be used, by name; true: the guest may also read the value. */
  readonly secrets: ReadonlyMap<string, boolean>;
  /** Whether events may be sent on a subject below the instance's own. */
  publish(subject: string): boolean;
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
    socket: both(parseSocketPattern, requested?.sockets, allowed?.sockets),
    call: both(parseCallPattern, requested?.call, allowed?.call),
    secrets: bothSecrets(requested?.secrets, allowed?.secrets),
    publish: both(parsePublishPattern, requested?.publish, allowed?.publish),
  };
}

/** `name!` on both sides lets the value be read; on one side it means `name`. */
function bothSecrets(requested: readonly string[] = [], allowed: readonly string[] = []): Map<string, boolean> {
  const [asked, given] = [requested, allowed].map((texts) => {
    const named = texts.flatMap((text) => parseSecretPermission(text) ?? []);
    return (plain: boolean) => new Set(named.filter((one) => !plain || one.plain).map(({ name }) => name));
  }) as [(plain: boolean) => Set<string>, (plain: boolean) => Set<string>];
  const readable = asked(true).intersection(given(true));
  return new Map([...asked(false).intersection(given(false))].map((name) => [name, readable.has(name)]));
}

/** What matches an entry on either side. A text that is not a pattern permits nothing. */
function both<A extends readonly unknown[]>(
  parse: (text: string) => { matches(...asked: A): boolean } | undefined,
  requested: readonly string[] = [],
  allowed: readonly string[] = [],
): (...asked: A) => boolean {
  const read = (texts: readonly string[]) => texts.flatMap((text) => parse(text) ?? []);
  const sides = [read(requested), requested === allowed ? undefined : read(allowed)];
  return (...asked) => sides.every((side) => side === undefined || side.some((pattern) => pattern.matches(...asked)));
}

/** The registry refuses what is not a pattern; one that came here all the same permits nothing. */
function patterns(http: readonly HttpPermission[] | undefined): UrlPattern[] {
  return (http ?? []).flatMap(({ url, methods }) => parseUrlPattern(url, methods) ?? []);
}
