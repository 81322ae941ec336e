/** The declared routes of a plugin, compiled once for each version. Pure. */
import type { Route } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { parseDuration } from "../kit/time.ts";

export interface DeclaredRoute {
  readonly method: string;
  readonly path: string;
  readonly isPublic: boolean;
  readonly timeoutMs: number;
  readonly maxBodyBytes: number;
}

export interface RouteMatch {
  readonly route: DeclaredRoute;
  readonly params: Readonly<Record<string, string>>;
}

export interface RouteTable {
  /** The first route that fits, in the manifest's order. HEAD is answered by a GET route when none says HEAD. */
  match(method: string, path: string): RouteMatch | undefined;
  /** Methods of the routes at this path; empty when no route is there. */
  methodsAt(path: string): readonly string[];
  /** Whether static files need no token: there are routes, and every one of them is public. */
  readonly allPublic: boolean;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 60_000;
const DEFAULT_BODY_BYTES = 1 << 20;
const MAX_BODY_BYTES = 16 << 20;

export function routeTable(routes: readonly Route[]): RouteTable {
  const compiled = routes.map((route) => ({ route: declared(route), ...pathOf(route.path) }));
  const firstFor = (method: string, path: string): RouteMatch | undefined => {
    for (const { route, regex, names } of compiled) {
      if (route.method !== "*" && route.method !== method) continue;
      const found = regex.exec(path);
      if (!found) continue;
      const params: Record<string, string> = {};
      names.forEach((name, index) => {
        params[name] = decodeOr(found[index + 1] ?? "");
      });
      return { route, params };
    }
    return undefined;
  };
  return {
    match: (method, path) => firstFor(method, path) ?? (method === "HEAD" ? firstFor("GET", path) : undefined),
    methodsAt: (path) => compiled.filter(({ regex }) => regex.test(path)).map(({ route }) => route.method),
    allPublic: compiled.length > 0 && compiled.every(({ route }) => route.isPublic),
  };
}

function declared({ method, path, auth, timeout, maxBodyBytes }: Route): DeclaredRoute {
  const timeoutMs = timeout === "" ? DEFAULT_TIMEOUT_MS : parseDuration(timeout, "timeout");
  return {
    method: method === "" ? "GET" : method,
    path,
    isPublic: auth === "public",
    timeoutMs: Math.min(timeoutMs, MAX_TIMEOUT_MS),
    maxBodyBytes: Math.min(Number(maxBodyBytes) || DEFAULT_BODY_BYTES, MAX_BODY_BYTES),
  };
}

/** `/api/{name}/{rest...}`: a name stands for one segment that is not empty, a final `...` for all that is left. */
function pathOf(path: string): { readonly regex: RegExp; readonly names: readonly string[] } {
  const names: string[] = [];
  const source = path.split(/(\{[^}]+\})/).map((part) => {
    const named = /^\{([A-Za-z_][A-Za-z0-9_-]*)(\.\.\.)?\}$/.exec(part);
    if (!named) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    names.push(named[1] as string);
    return named[2] ? "(.*)" : "([^/]+)";
  });
  return { regex: new RegExp(`^${source.join("")}$`), names };
}

/** A parameter with a broken escape is handed on as it is: the guest decides what it means. */
function decodeOr(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}
