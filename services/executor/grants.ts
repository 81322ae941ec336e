/** What an instance may reach: what its manifest asks for and its operator allows, both. Deny by default. */
import type { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { type HttpPermission, Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import {
  parseCallPattern,
  parseContextPattern,
  parsePublishPattern,
  parseSocketPattern,
  type SocketScheme,
} from "../../proto/patterns.ts";
import { ANY_SECRET, parseSecretPermission } from "../../proto/secrets.ts";
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
  /** Whether documents of a namespace may be read: about the resource at hand (`own`), or about another. */
  context(namespace: string, own: boolean): boolean;
}

/** `ceiling` is the policy of whoever runs this executor; undefined: there is none. */
export function effectiveGrants(
  requested: Permissions | undefined,
  grants: Pick<NonNullable<Instance["grants"]>, "allRequested" | "only"> | undefined,
  ceiling?: Permissions,
): EffectiveGrants {
  const given = grants?.allRequested ? [] : [grants?.only];
  const sides = [requested, ...given, ...(ceiling ? [ceiling] : [])].map((side) => side ?? NOTHING);
  const http = sides.map((side) => patterns(side.http));
  return {
    http: (url, method) => http.every((side) => side.some((pattern) => pattern.matches(url, method))),
    anyHttp: http.every((side) => side.length > 0),
    kv: sides.every((side) => side.kv),
    query: (requested?.query ?? []).filter((name) => sides.every((side) => side.query.includes(name))),
    socket: all(parseSocketPattern, sides, "sockets"),
    call: all(parseCallPattern, sides, "call"),
    secrets: secretsOf(sides),
    publish: all(parsePublishPattern, sides, "publish"),
    context: all(parseContextPattern, sides, "context"),
  };
}

const NOTHING: Permissions = Permissions.fromPartial({});

/** `name!` on all sides lets the value be read, else it may be used. `*` takes what another side names, never all. */
function secretsOf(sides: readonly Permissions[]): Map<string, boolean> {
  const named = sides.map(({ secrets }) => secrets.flatMap((text) => parseSecretPermission(text) ?? []));
  const everywhere = (fits: (one: { name: string; plain: boolean }) => boolean) =>
    named.every((side) => side.some((one) => fits(one)));
  const may = (name: string) => everywhere((one) => one.name === name || one.name === ANY_SECRET);
  const names = new Set(named.flat().flatMap(({ name }) => (name !== ANY_SECRET && may(name) ? [name] : [])));
  return new Map([...names].map((name) => [name, everywhere((one) => one.name === name && one.plain)]));
}

/** What matches an entry on all sides. A text that is not a pattern permits nothing. */
function all<A extends readonly unknown[]>(
  parse: (text: string) => { matches(...asked: A): boolean } | undefined,
  sides: readonly Permissions[],
  field: "sockets" | "call" | "publish" | "context",
): (...asked: A) => boolean {
  const read = sides.map((side) => side[field].flatMap((text) => parse(text) ?? []));
  return (...asked) => read.every((side) => side.some((pattern) => pattern.matches(...asked)));
}

/** The registry refuses what is not a pattern; one that came here all the same permits nothing. */
function patterns(http: readonly HttpPermission[]): UrlPattern[] {
  return http.flatMap(({ url, methods }) => parseUrlPattern(url, methods) ?? []);
}
