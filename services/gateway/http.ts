/** The HTTP door: limits, Host and token, the API, plugin routes and our own pages, one shape of error, and a drain. */
import Fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { splitAddress } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { pause, type Running, within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { errorBody, ownHeaders, pagePolicy, sendFault } from "./answers.ts";
import { type Api, isFile } from "./api.ts";
import { type Gate, hostCheck, refuseCrossSite } from "./auth.ts";
import type { BackEnd } from "./back-ends.ts";
import type { Metrics } from "./metrics.ts";
import type { PageFile } from "./pages.ts";
import type { PluginRoutes } from "./plugin-routes.ts";
import type { Readiness } from "./readiness.ts";
import { answerFile, answerStream, answerUnary, matcher, readRequest } from "./transcode.ts";

const MAX_HEADER_BYTES = 32_768;
const MAX_URL_BYTES = 8_192;
/** For the whole request to arrive, a 20 MiB bundle over a slow line included. */
const REQUEST_MS = 120_000;
const HEADERS_MS = 20_000;
const KEEP_ALIVE_MS = 72_000;
const BUSY_RETRY_MS = 1_000;
const API_DEADLINE_MS = 30_000;
/** A publish is checked and compiled; a query may ask for a minute. */
const LONG_DEADLINE_MS = 90_000;
const MAX_CONNECTIONS = 10_000;

export interface HttpOptions {
  readonly listen: string;
  readonly hosts: readonly string[];
  readonly maxInFlight: number;
  readonly drainMs: number;
  readonly api: Api;
  readonly openApi: string;
  readonly backEnd: BackEnd;
  readonly gate: Gate;
  readonly plugins: PluginRoutes;
  readonly metrics: Metrics;
  readonly metricsText: () => Promise<string>;
  readonly readiness: () => Promise<Readiness>;
  readonly pages: ReadonlyMap<string, PageFile>;
  readonly landing: (mayList: boolean) => string;
  readonly log: Logger;
}

export interface HttpDoor extends Running {
  /** From now on new work is refused and readiness says `draining`; resolves when what runs has finished. */
  drain(): Promise<void>;
}

/** `probe`: orchestrators ask by address, also while draining. `watch`: also while draining. `work`: not then. */
type Kind = "probe" | "watch" | "work";
type Handler = (request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) => Promise<string>;

/** Errors: `unavailable` naming the address and the setting when the port is taken. */
export async function openHttp(options: HttpOptions): Promise<HttpDoor> {
  const { gate, metrics, log, plugins, pages } = options;
  const where = splitAddress(options.listen);
  if (!where)
    throw Fault.invalid("GATEWAY_HTTP", [{ field: "GATEWAY_HTTP", problem: `"${options.listen}" is not host:port` }]);
  const checkHost = hostCheck(where.host, options.hosts);
  const running = new Set<AbortController>();
  const closing = new AbortController();
  let idle = () => {};

  const app = Fastify({
    logger: false,
    forceCloseConnections: "idle",
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_MS },
    routerOptions: { maxParamLength: MAX_URL_BYTES },
    clientErrorHandler(error, socket) {
      if (!socket.writable) return void socket.destroy();
      const [status, fault] = clientFault(error.code);
      const body = JSON.stringify(errorBody(fault, status));
      const head = `HTTP/1.1 ${status} Bad Request\r\ncontent-type: application/json; charset=utf-8`;
      socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
    },
    frameworkErrors: (error, _request, reply) => void sendFault(reply as FastifyReply, frameworkFault(error)),
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeAllContentTypeParsers();
  // Bodies are read where the limit is known: by method or by route.
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.setErrorHandler((error, _request, reply) => sendFault(reply, frameworkFault(error)));

  /** What every request goes through, whatever it asks for. */
  const guarded = (handle: Handler, kind: Kind) => async (request: FastifyRequest, reply: FastifyReply) => {
    const began = performance.now();
    const hangUp = new AbortController();
    running.add(hangUp);
    metrics.begin();
    let route = "(refused)";
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) hangUp.abort(new Fault("cancelled", "the caller hung up"));
      running.delete(hangUp);
      metrics.end(request.method, route, reply.raw.statusCode, (performance.now() - began) / 1_000);
      if (running.size === 0) idle();
    });
    reply.headers(ownHeaders);
    try {
      const url = request.raw.url ?? "";
      if (url.length > MAX_URL_BYTES)
        throw new Fault("too_large", `the URL has ${url.length} bytes; at most ${MAX_URL_BYTES}`);
      if (kind !== "probe") checkHost(request.headers.host);
      if (kind === "work" && closing.signal.aborted) {
        reply.header("connection", "close");
        throw new Fault("unavailable", "this gateway is draining", { retryAfterMs: BUSY_RETRY_MS });
      }
      if (kind === "work" && running.size > options.maxInFlight) {
        const message = `${options.maxInFlight} requests are being answered already`;
        throw new Fault("unavailable", message, { retryAfterMs: BUSY_RETRY_MS });
      }
      route = await handle(request, reply, hangUp.signal);
    } catch (thrown) {
      const fault = Fault.from(thrown);
      if (route === "(refused)") route = labelOf(request);
      if (fault.code === "internal" && fault.cause) log.error({ err: fault.cause, url: request.url }, "request failed");
      if (!reply.sent) sendFault(reply, fault);
    }
    return reply;
  };
  const labelOf = ({ routeOptions }: FastifyRequest) => routeOptions.url ?? "(none)";

  const find = matcher(options.api);
  const answerApi: Handler = async (request, reply, hangUp) => {
    gate.check(request.headers.authorization);
    refuseCrossSite(request.method, request.headers);
    const path = (request.raw.url ?? "").split("?", 1)[0] ?? "";
    const matched = find(request.method, path);
    const { binding } = matched;
    const bytes = await readRequest(matched, request);
    const { traceparent } = request.headers;
    const isStream = binding.method.desc.methodKind === "server_streaming";
    const call = {
      deadlineMs: binding.body === undefined ? API_DEADLINE_MS : LONG_DEADLINE_MS,
      // Streams have no end of their own, so a drain ends them; a file has.
      signal: isStream && !isFile(binding) ? AbortSignal.any([hangUp, closing.signal]) : hangUp,
      ...(traceparent !== undefined && { traceparent: String(traceparent) }),
    };
    if (isFile(binding) && request.method !== "HEAD") {
      await answerFile(binding, options.backEnd, bytes, reply, call);
    } else if (isStream && request.method !== "HEAD") {
      const asEvents = (request.headers.accept ?? "").includes("text/event-stream");
      await answerStream(binding, options.backEnd, bytes, reply, { ...call, asEvents });
    } else if (isStream) await reply.type("application/x-ndjson; charset=utf-8").send();
    else await answerUnary(binding, options.backEnd, bytes, reply, call);
    return binding.template.source;
  };

  const page = (html: string | Buffer, type: string, reply: FastifyReply, connect: "'self'" | "'none'") =>
    reply
      .header("content-security-policy", pagePolicy(connect))
      .header("cache-control", "no-cache")
      .type(type)
      .send(html);

  app.all("/v1/*", guarded(answerApi, "work"));
  app.all(
    "/plugins/*",
    guarded((request, reply, signal) => plugins.answer(request, reply, signal), "work"),
  );
  app.get(
    "/healthz",
    guarded(async (_request, reply) => {
      await reply.header("cache-control", "no-store").type("application/json").send('{"status":"alive"}');
      return "/healthz";
    }, "probe"),
  );
  app.get(
    "/readyz",
    guarded(async (request, reply) => {
      const state = await options.readiness();
      const mayLook = gate.opens(request.headers.authorization);
      const code = state.status === "ok" || state.status === "degraded" ? 200 : 503;
      reply.code(code).header("cache-control", "no-store").type("application/json");
      await reply.send(JSON.stringify(mayLook ? state : { status: state.status }));
      return "/readyz";
    }, "probe"),
  );
  app.get(
    "/metrics",
    guarded(async (request, reply) => {
      gate.check(request.headers.authorization);
      await reply.type("text/plain; version=0.0.4; charset=utf-8").send(await options.metricsText());
      return "/metrics";
    }, "watch"),
  );
  app.get(
    "/openapi.json",
    guarded(async (_request, reply) => {
      await reply.header("cache-control", "no-cache").type("application/json; charset=utf-8").send(options.openApi);
      return "/openapi.json";
    }, "work"),
  );
  app.get(
    "/",
    guarded(async (request, reply) => {
      const html = options.landing(gate.opens(request.headers.authorization));
      await page(html, "text/html; charset=utf-8", reply, "'none'");
      return "/";
    }, "work"),
  );
  for (const [path, { type, bytes }] of pages) {
    app.get(
      path,
      guarded(async (_request, reply) => {
        await page(bytes, type, reply, "'self'");
        return path;
      }, "work"),
    );
  }
  app.setNotFoundHandler(
    guarded(async (request) => {
      throw new Fault("not_found", `nothing is at ${request.method} ${request.url.slice(0, 200)}; see /docs`);
    }, "work"),
  );

  try {
    await app.listen({ host: where.host, port: where.port });
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const fix = "stop what listens there, or choose another port (0 picks a free one)";
    throw new Fault("unavailable", `cannot listen on ${options.listen} (GATEWAY_HTTP): ${why}; ${fix}`, {
      cause: thrown,
    });
  }
  const bound = app.server.address();
  const port = typeof bound === "object" && bound ? bound.port : where.port;
  const drain = async () => {
    if (!closing.signal.aborted) closing.abort(new Fault("unavailable", "the gateway is closing"));
    if (running.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    idle = resolve;
    await within(options.drainMs, "running requests", promise).catch(() => {
      log.warn({ requests: running.size }, "requests did not finish in time; they are cut");
      for (const hangUp of running) hangUp.abort(new Fault("unavailable", "the gateway is closing"));
    });
  };
  return {
    address: `${where.host.includes(":") ? `[${where.host}]` : where.host}:${port}`,
    drain,
    async [Symbol.asyncDispose]() {
      await drain();
      const closed = app.close();
      // What was cut gets a moment to say so; then its sockets go too.
      const patient = new AbortController();
      await Promise.race([closed, pause(CUT_MS, patient.signal)]);
      patient.abort();
      app.server.closeAllConnections();
      await closed;
    },
  };
}
const CUT_MS = 200;

/** Fastify's own refusals, as ours. */
function frameworkFault(thrown: unknown): Fault {
  const { code, statusCode } = thrown as { code?: unknown; statusCode?: unknown };
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof Fault || typeof code !== "string" || !code.startsWith("FST_")) return Fault.from(thrown);
  if (statusCode === 404) return new Fault("not_found", message);
  if (statusCode === 503) return new Fault("unavailable", message, { retryAfterMs: BUSY_RETRY_MS });
  return typeof statusCode === "number" && statusCode < 500 ? new Fault("invalid", message) : Fault.from(thrown);
}

function clientFault(code: string | undefined): readonly [number, Fault] {
  if (code === "HPE_HEADER_OVERFLOW") {
    return [431, new Fault("too_large", `the request's head is too large; at most ${MAX_HEADER_BYTES} bytes`)];
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return [408, new Fault("deadline", `the request did not arrive within ${REQUEST_MS} ms`)];
  }
  return [400, new Fault("invalid", "this is not an HTTP request")];
}
