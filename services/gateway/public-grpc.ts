/** The public API over gRPC: every method with an HTTP annotation, passed on as bytes; health and reflection beside. */
import type { ServiceDefinition } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { Fault } from "../kit/fault.ts";
import { type CallContext, type Service, serve } from "../kit/grpc.ts";
import { pause, type Running } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Api, ApiMethod } from "./api.ts";
import type { Gate } from "./auth.ts";
import { type BackEnd, rawMethod } from "./back-ends.ts";
import type { Readiness } from "./readiness.ts";
import { reflectionServices } from "./reflection.ts";

/** For callers that set no deadline: nothing waits without one. */
export const DEFAULT_DEADLINE_MS = 30_000;
const WATCH_EVERY_MS = 1_000;

export interface PublicGrpcOptions {
  readonly listen: string;
  readonly api: Api;
  readonly backEnd: BackEnd;
  readonly gate: Gate;
  readonly readiness: () => Promise<Readiness>;
  /** Which part of readiness each proto package hangs on: `millrace.registry.v1` → `registry`. */
  readonly partOf: ReadonlyMap<string, string>;
  readonly log: Logger;
  readonly drainMs: number;
}

export function servePublicGrpc(options: PublicGrpcOptions): Promise<Running> {
  const { api, backEnd, gate, listen, log, drainMs } = options;
  const byService = new Map<string, ApiMethod[]>();
  for (const method of api.methods) {
    const { typeName } = method.desc.parent;
    byService.set(typeName, [...(byService.get(typeName) ?? []), method]);
  }
  const names = [...byService.keys()];
  const services = [
    ...[...byService.values()].map((methods) => proxied(methods, backEnd)),
    healthService(names, options),
    ...reflectionServices(api, [...names, "grpc.health.v1.Health"]),
  ];
  const admit = (metadata: { get(key: string): readonly unknown[] }, path: string) => {
    // Orchestrators ask for health without a token; it says no more than whether.
    if (path.startsWith("/grpc.health.v1.")) return;
    const [authorization] = metadata.get("authorization");
    gate.check(authorization === undefined ? undefined : String(authorization));
  };
  return serve(listen, services, { log, admit, drainMs });
}

/** The methods of one service. What has no annotation is not registered, so it answers UNIMPLEMENTED. */
function proxied(methods: readonly ApiMethod[], backEnd: BackEnd): Service {
  const definition: Record<string, ReturnType<typeof rawMethod>> = {};
  const handlers: Record<string, Service["methods"][string]> = {};
  for (const method of methods) {
    const name = method.desc.localName;
    definition[name] = rawMethod(method);
    const pass = method.desc.methodKind === "server_streaming" ? "stream" : "unary";
    handlers[name] = (request: Uint8Array, context: CallContext) => {
      const leftMs = context.remainingMs();
      const deadlineMs = Number.isFinite(leftMs) ? Math.max(1, leftMs) : DEFAULT_DEADLINE_MS;
      const [traceparent] = context.metadata.get("traceparent");
      return backEnd[pass](method, request, {
        deadlineMs,
        signal: context.signal,
        ...(traceparent !== undefined && { traceparent: String(traceparent) }),
      });
    };
  }
  return { definition: definition as ServiceDefinition, methods: handlers };
}

type Serving = "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";

/** The standard health service. "" is the gateway as a whole; a service is as well as what answers it. */
function healthService(names: readonly string[], { readiness, partOf }: PublicGrpcOptions): Service {
  const look = async (asked: string): Promise<Serving> => {
    const { status: overall, parts } = await readiness();
    if (asked === "") return overall === "ok" || overall === "degraded" ? "SERVING" : "NOT_SERVING";
    if (!names.includes(asked)) return "SERVICE_UNKNOWN";
    const state = parts[partOf.get(asked.slice(0, asked.lastIndexOf("."))) ?? ""]?.state;
    return state === "ok" && overall !== "draining" ? "SERVING" : "NOT_SERVING";
  };
  return {
    definition: healthDefinition as unknown as ServiceDefinition,
    methods: {
      async Check({ service }: { service: string }) {
        const serving = await look(service);
        if (serving === "SERVICE_UNKNOWN") throw new Fault("not_found", `no service "${service}" here`);
        return { status: serving };
      },
      async *Watch({ service }: { service: string }, { signal }: CallContext) {
        let last: Serving | undefined;
        for (;;) {
          const serving = await look(service);
          if (serving !== last) yield { status: serving };
          last = serving;
          if (!(await pause(WATCH_EVERY_MS, signal))) return;
        }
      },
    },
  };
}
