/** `http` as a guest has it, without the guest: real servers, real grants, real secrets. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { parsePrivateHosts } from "../../services/executor/host/address.ts";
import { type DialerOptions, openDialer } from "../../services/executor/host/dialer.ts";
import { httpCapability } from "../../services/executor/host/http.ts";
import { HttpCache } from "../../services/executor/host/http-cache.ts";
import { type CallLimits, callLimits, HttpBudget } from "../../services/executor/limits.ts";
import { type InstanceSecrets, NO_SECRETS } from "../../services/executor/secrets.ts";
import { Fault } from "../../services/kit/fault.ts";

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly seen: readonly Seen[];
  readonly url: string;
}

/** Answers with a function, on a free port of this machine. */
export async function startServer(answer: (seen: Seen, response: ServerResponse) => void): Promise<TestServer> {
  const seen: Seen[] = [];
  const http = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
    seen.push(one);
    answer(one, response);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return {
    port,
    seen,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly repeated_headers?: Record<string, string[]>;
  readonly body?: string;
  readonly body_base64?: string;
  readonly url: string;
  readonly cached?: boolean;
  readonly timing: { readonly hops: number; readonly attempts: number; readonly total_ms: number };
}

export interface HttpGuestOptions {
  readonly methods?: readonly string[];
  readonly secrets?: InstanceSecrets;
  readonly dialer?: DialerOptions;
  readonly limits?: Partial<CallLimits>;
  readonly remainingMs?: number;
}

/** Everything that it sends is one guest call. */
export function openHttpGuest(
  urls: readonly string[],
  privateHosts: readonly string[],
  {
    methods = ["GET", "POST"],
    secrets = NO_SECRETS,
    dialer: options = {},
    limits = {},
    remainingMs = 10_000,
  }: HttpGuestOptions = {},
) {
  const dialer = openDialer(parsePrivateHosts(privateHosts, "X"), options);
  const asked = Permissions.fromPartial({ http: urls.map((url) => ({ url, methods: [...methods] })) });
  const cache = new HttpCache();
  let denied = 0;
  const onDenied = () => {
    denied += 1;
  };
  const grants = effectiveGrants(asked, { allRequested: true, only: undefined });
  const http = httpCapability({ instance: "kitchen", grants, secrets, onDenied }, { dialer, cache });
  const scope = {
    signal: new AbortController().signal,
    remainingMs: () => remainingMs,
    http: new HttpBudget({ ...callLimits(undefined), ...limits }),
  };
  const send = (request: object) => http(Buffer.from(JSON.stringify(request)), scope) as Promise<Reply>;
  const fault = (request: object) => send(request).then(() => undefined, Fault.from);
  return {
    cache,
    get denied() {
      return denied;
    },
    send,
    fault,
    code: async (request: object) => (await fault(request))?.code ?? "ok",
    [Symbol.asyncDispose]: () => dialer[Symbol.asyncDispose](),
  };
}
