/** `ANY /plugins/<instance>/…`: a declared route goes to a guest; what is left is a static file or not there. */
import { isUtf8 } from "node:buffer";
import type { FastifyReply, FastifyRequest } from "fastify";
import { type Entity, find } from "../../proto/catalog.ts";
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault, type FaultCode, faultCodes } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { pluginPolicy, Refusal } from "./answers.ts";
import { type Gate, refuseCrossSite } from "./auth.ts";
import type { CallEnd } from "./executor-link.ts";
import type { Executors } from "./executors.ts";
import { guestAnswer, headersToGuest, queryToGuest } from "./guest-answer.ts";
import { mediaType, readBody } from "./request-body.ts";
import { type RouteMatch, type RouteTable, routeTable } from "./route-table.ts";
import { findFile, sendFile } from "./static-files.ts";

export interface PluginRoutesPorts {
  readonly catalog: { get(key: string): Entity | undefined };
  readonly executors: Executors;
  readonly gate: Gate;
  /** A blob by its digest. */
  readonly readBlob: (digest: string) => Promise<Uint8Array>;
  readonly log: Logger;
}

export interface PluginRoutes {
  /** Answers. `signal` aborts when the caller hangs up. Returns the label under which the request is counted. */
  answer(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal): Promise<string>;
}

const PATH = /^\/plugins\/([a-z][a-z0-9-]{0,62})(\/.*)?$/;
const PAUSED_RETRY_MS = 30_000;
const RUN_HEADER = "x-millrace-run";
const MOVED = 308;

export function pluginRoutes({ catalog, executors, gate, readBlob, log }: PluginRoutesPorts): PluginRoutes {
  const tables = new WeakMap<PluginVersion, RouteTable>();
  const tableOf = (version: PluginVersion) => {
    const known = tables.get(version);
    if (known) return known;
    const table = routeTable(version.manifest?.interfaces?.route?.routes ?? []);
    tables.set(version, table);
    return table;
  };
  const call = async (
    request: FastifyRequest,
    reply: FastifyReply,
    { name }: Instance,
    { route, params }: RouteMatch,
    target: { readonly path: string; readonly query: string; readonly signal: AbortSignal },
  ) => {
    const { method, headers } = request;
    const body = await readBody(request.raw, route.maxBodyBytes);
    const ownToken = gate.closed && gate.opens(headers.authorization);
    const input = JSON.stringify({
      // A HEAD that a GET route answers is a GET to the guest; the body stays here.
      method: route.method === "*" ? method : route.method,
      path: target.path,
      params,
      query: queryToGuest(new URLSearchParams(target.query)),
      headers: headersToGuest(headers, ownToken),
      ...(body.length > 0 && bodyToGuest(body, mediaType(request.raw))),
    });
    const end = await executors.call({
      instance: name,
      export: "route",
      input: Buffer.from(input),
      deadlineMs: route.timeoutMs,
      target: `${route.method} ${route.path}`,
      traceparent: headers.traceparent === undefined ? "" : String(headers.traceparent),
      idempotent: method === "GET" || method === "HEAD",
      signal: target.signal,
    });
    if (end.runId) reply.header(RUN_HEADER, end.runId);
    if (end.type === "failure") throw refusalOf(name, end);
    await send(reply, name, end.output);
  };
  const send = async (reply: FastifyReply, name: string, output: Uint8Array) => {
    try {
      const { status, headers, body } = guestAnswer(output);
      await reply
        .code(status)
        .headers(headers)
        .send(status === 204 || status === 304 ? undefined : body);
    } catch (thrown) {
      const { message } = Fault.from(thrown);
      log.warn({ instance: name, message }, "a guest's answer cannot be sent");
      const fault = new Fault("internal", `${name} gave an answer that cannot be sent: ${message}`);
      throw new Refusal(fault, { status: 502 });
    }
  };
  return {
    async answer(request, reply, signal) {
      const [rawPath = "", query = ""] = splitUrl(request.raw.url ?? "");
      const [found, id, path] = PATH.exec(rawPath) ?? [];
      const instance = found && find(catalog, "instance", `instances/${id}`);
      if (!instance || id === undefined) throw new Fault("not_found", `no instance answers at ${rawPath}`);
      reply.header("content-security-policy", pluginPolicy(request.headers.host ?? "", id));
      // A page of a plugin must not keep a handle on a page of ours that it opened.
      reply.header("cross-origin-opener-policy", "unsafe-none");
      if (path === undefined) {
        await reply.redirect(`/plugins/${id}/${query ? `?${query}` : ""}`, MOVED);
        return "/plugins/{instance}";
      }
      const version = versionOf(catalog, instance);
      const table = tableOf(version);
      const match = table.match(request.method, path);
      if (match) {
        if (!match.route.isPublic) {
          gate.check(request.headers.authorization);
          refuseCrossSite(request.method, request.headers);
        }
        await call(request, reply, instance, match, { path, query, signal });
        return `/plugins/${id}${match.route.path}`;
      }
      const file = findFile(version, decodePath(path));
      if (file) {
        if (!table.allPublic) gate.check(request.headers.authorization);
        await sendFile(request, reply, file, readBlob, table.allPublic);
        return `/plugins/${id}/(static)`;
      }
      const methods = table.methodsAt(path);
      if (methods.length === 0) throw new Fault("not_found", `${instance.name} has no route and no file at ${path}`);
      const allow = methods.join(", ");
      const fault = new Fault("unimplemented", `${request.method} is not possible at ${path}; possible are ${allow}`);
      throw new Refusal(fault, { status: 405, headers: { allow } });
    },
  };
}

function splitUrl(url: string): [string, string] {
  const at = url.indexOf("?");
  return at < 0 ? [url, ""] : [url.slice(0, at), url.slice(at + 1)];
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Fault("invalid", `${path} has a broken percent escape`);
  }
}

/** The version that an instance runs now. Errors: `unavailable` with the reason when it runs none. */
export function versionOf(catalog: PluginRoutesPorts["catalog"], instance: Instance): PluginVersion {
  const { name, plugin, state, stateReason, runningVersion } = instance;
  if (state !== InstanceState.ENABLED) {
    const word = { [InstanceState.PAUSED]: "is paused", [InstanceState.DRAINING]: "is being deleted" }[state as 2 | 4];
    const message = `${name} ${word ?? "is in error"}${stateReason ? `: ${stateReason}` : ""}`;
    throw new Fault("unavailable", message, { retryAfterMs: PAUSED_RETRY_MS });
  }
  const wanted = runningVersion || instance.version || find(catalog, "plugin", plugin)?.latestVersion || "";
  const version = find(catalog, "version", `${plugin}/versions/${wanted}`);
  if (!version) throw new Fault("unavailable", `${name} runs no version: ${plugin}/versions/${wanted} is not there`);
  return version;
}

const TEXT =
  /^(text\/.*|application\/(.*\+)?(json|xml)|application\/(javascript|x-www-form-urlencoded|x-ndjson|graphql))$/;

/** Text as text, anything else as base64: JSON carries no bytes. */
function bodyToGuest(bytes: Buffer, type: string): { body: string } | { body_base64: string } {
  return TEXT.test(type) && isUtf8(bytes)
    ? { body: bytes.toString("utf8") }
    : { body_base64: bytes.toString("base64") };
}

/** HTTP statuses of runs that ended otherwise. A plugin that breaks is a bad gateway, not a broken platform. */
const STATUS_OF_OUTCOME: Readonly<Record<string, readonly [FaultCode, number]>> = {
  guest_error: ["internal", 502],
  trap: ["internal", 502],
  out_of_memory: ["internal", 502],
  host_error: ["internal", 502],
  timeout: ["deadline", 504],
  cpu_exceeded: ["deadline", 504],
  denied: ["denied", 403],
  quarantined: ["unavailable", 503],
};

/** A run that ended otherwise, as the caller sees it. */
export function refusalOf(
  name: string,
  { code, message, outcome, guestCode }: Extract<CallEnd, { type: "failure" }>,
): Fault {
  const known = STATUS_OF_OUTCOME[outcome];
  const said = `${name}: ${outcome ? `${outcome}: ` : ""}${guestCode ? `${guestCode}: ` : ""}${message}`;
  if (known) return new Refusal(new Fault(known[0], said), { status: known[1] });
  const own = faultCodes.find((one) => one === code) ?? "internal";
  if (own === "exhausted" || own === "unavailable" || own === "precondition") {
    return new Fault("unavailable", said, { retryAfterMs: 1_000 });
  }
  return new Fault(own, said);
}
