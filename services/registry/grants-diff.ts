/** How what one version asks to reach differs from what another asked: added, removed, widened, narrowed. Pure. */
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { type GrantChange, GrantChangeKind } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { parseContextPattern } from "../../proto/patterns.ts";
import { ANY_SECRET } from "../../proto/secrets.ts";

/**
 * What becomes of an instance that is granted all that is asked for, when a newer version asks for more: it gets it, or
 * it stays where it is until its grants or its version are set again.
 */
export type Widening = "allow" | "hold";

/** One thing that is asked for, in one line, and whether it takes in all that another of its kind means. */
interface Ask {
  readonly text: string;
  covers(other: Ask): boolean;
}

const NOTHING: Permissions = Permissions.fromPartial({});

export function grantChanges(before: Permissions = NOTHING, after: Permissions = NOTHING): GrantChange[] {
  return [
    ...changesOf("http", before.http.map(httpAsk), after.http.map(httpAsk)),
    ...changesOf("kv", before.kv ? [exact("own keys")] : [], after.kv ? [exact("own keys")] : []),
    ...changesOf("query", before.query.map(exact), after.query.map(exact)),
    ...changesOf("secrets", before.secrets.map(secretAsk), after.secrets.map(secretAsk)),
    ...changesOf("sockets", before.sockets.map(socketAsk), after.sockets.map(socketAsk)),
    ...changesOf("call", before.call.map(globAsk), after.call.map(globAsk)),
    ...changesOf("publish", before.publish.map(globAsk), after.publish.map(globAsk)),
    ...changesOf("context", before.context.map(contextAsk), after.context.map(contextAsk)),
  ];
}

/** Whether `after` may reach anything that `before` may not. Says yes when it cannot tell. */
export const widens = (changes: readonly GrantChange[]): boolean =>
  changes.some(({ kind }) => kind === GrantChangeKind.ADDED || kind === GrantChangeKind.WIDENED);

function changesOf(permission: string, before: readonly Ask[], after: readonly Ask[]): GrantChange[] {
  const changes: GrantChange[] = [];
  const say = (kind: GrantChange["kind"], old: string, now: string) =>
    changes.push({ kind, permission, before: old, after: now });
  const told = new Set<Ask>();
  for (const now of after) {
    if (before.some((old) => old.covers(now))) continue;
    const within = before.filter((old) => now.covers(old));
    for (const old of within) told.add(old);
    const { ADDED, WIDENED } = GrantChangeKind;
    say(within.length ? WIDENED : ADDED, within.map(({ text }) => text).join(", "), now.text);
  }
  for (const old of before) {
    if (told.has(old) || after.some((now) => now.covers(old))) continue;
    const within = after.filter((now) => old.covers(now));
    const { REMOVED, NARROWED } = GrantChangeKind;
    say(within.length ? NARROWED : REMOVED, old.text, within.map(({ text }) => text).join(", "));
  }
  return changes;
}

const exact = (text: string): Ask => ({ text, covers: (other) => other.text === text });

/** `name!` lets the guest read the value, and use it as `name` does; `*` is every secret to use, none to read. */
const secretAsk = (text: string): Ask => ({
  text,
  covers: (other) =>
    other.text === text || `${other.text}!` === text || (text === ANY_SECRET && !other.text.endsWith("!")),
});

/** `*` stands for any text. A pattern that takes another's `*` for ordinary text takes all that it stands for. */
function globTakes(glob: string, other: string): boolean {
  const quoted = glob.split("*").map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${quoted.join(".*")}$`, "s").test(other);
}

const globAsk = (text: string): Ask => ({ text, covers: (other) => globTakes(text, other.text) });

/** `namespace` is only the resource at hand, `namespace/*` every one. */
const contextAsk = (text: string): Ask => {
  const takes = parseContextPattern(text)?.matches ?? (() => false);
  return {
    text,
    covers: (other) => {
      const [namespace = "", everywhere] = other.text.split("/");
      return takes(namespace, everywhere === undefined);
    },
  };
};

function hostTakes(host: string, other: string): boolean {
  if (host === "*" || host === other) return true;
  return host.startsWith("*.") && other.endsWith(host.slice(1));
}

interface Place {
  readonly scheme: string;
  readonly host: string;
  readonly port: string;
  readonly path: string;
}

interface PlaceAsk extends Ask {
  readonly place: Place;
  readonly methods: readonly string[];
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };

function placeOf(text: string): Place {
  const [, scheme = "", host = "", port = DEFAULT_PORTS[scheme] ?? "", path = "/"] =
    /^([a-z]+):\/\/(\[[^\]]*\]|[^/:]*)(?::([^/]*))?(\/.*)?$/.exec(text) ?? [];
  return { scheme, host: host.toLowerCase(), port, path };
}

const placeTakes = (one: Place, other: Place) =>
  one.scheme === other.scheme &&
  hostTakes(one.host, other.host) &&
  (one.port === "*" || one.port === other.port) &&
  globTakes(one.path, other.path);

/** `methods` is empty for what is not HTTP. */
function placeAsk(text: string, place: Place, methods: readonly string[]): PlaceAsk {
  return {
    text,
    place,
    methods,
    covers: (other) => "place" in other && covers(place, methods, other as PlaceAsk),
  };
}

const covers = (place: Place, methods: readonly string[], other: PlaceAsk) =>
  placeTakes(place, other.place) && other.methods.every((method) => methods.includes(method));

function httpAsk({ url, methods }: Permissions["http"][number]): Ask {
  const allowed = methods.length ? methods : ["GET", "HEAD"];
  return placeAsk(`${allowed.join(",")} ${url}`, placeOf(url), allowed);
}

const socketAsk = (text: string): Ask => placeAsk(text, placeOf(text), []);
