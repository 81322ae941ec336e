/** The host functions as an executor gives them to a guest, on real stores, sockets and devices of this machine. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { BUCKETS } from "../../proto/names.ts";
import { newSecretKey, parseSecretKeys, type SecretKey, seal } from "../../proto/secrets.ts";
import { contextsOf } from "../../services/executor/contexts.ts";
import type { FunctionCalls } from "../../services/executor/function-calls.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { parsePrivateHosts } from "../../services/executor/host/address.ts";
import { callCapability } from "../../services/executor/host/call.ts";
import { contextCapability } from "../../services/executor/host/context.ts";
import { openDialer } from "../../services/executor/host/dialer.ts";
import { RowSink } from "../../services/executor/host/emit.ts";
import { hostFunctions } from "../../services/executor/host/functions.ts";
import { httpCapability } from "../../services/executor/host/http.ts";
import { HttpCache } from "../../services/executor/host/http-cache.ts";
import { guestKv } from "../../services/executor/host/kv.ts";
import { progressCapability, runLog } from "../../services/executor/host/log.ts";
import { OwnMetrics } from "../../services/executor/host/metric.ts";
import { pingCapability } from "../../services/executor/host/ping.ts";
import { publisher } from "../../services/executor/host/publish.ts";
import { openNetwork } from "../../services/executor/host/reach.ts";
import { secretCapability } from "../../services/executor/host/secret.ts";
import { sleep } from "../../services/executor/host/sleep.ts";
import { snmpCapability } from "../../services/executor/host/snmp.ts";
import { socketCapability } from "../../services/executor/host/socket.ts";
import { callLimits } from "../../services/executor/limits.ts";
import { nowUs } from "../../services/executor/run-record.ts";
import type { HostFunction } from "../../services/executor/sandbox.ts";
import { openVault } from "../../services/executor/secrets.ts";
import { Tally } from "../../services/executor/tally.ts";
import { silentLog } from "../../services/kit/log.ts";
import { embeddedGround } from "./bus-ground.ts";
import { NAME_OID, startSnmpAgent, TABLE_OID } from "./snmp-agent.ts";
import { startTlsServer } from "./tls-server.ts";

const HOST = "127.0.0.1";
export const TOKEN = "a token that no guest sees";
const GRANTS = Permissions.fromPartial({
  http: [{ url: `http://${HOST}:*/*`, methods: ["POST"] }],
  kv: true,
  secrets: ["token", "plain!"],
  sockets: ["tcp", "udp", "tls"].map((scheme) => `${scheme}://${HOST}:*`),
  call: ["units/*"],
  publish: ["alarm.*"],
  context: ["port"],
});

export interface RealHost extends AsyncDisposable {
  readonly host: HostFunction;
  /** Where there is what: the input of a guest that tries everything. */
  readonly places: Readonly<Record<string, string | number>>;
  /** What the guest left outside itself. */
  readonly left: {
    readonly metrics: OwnMetrics["rows"];
    readonly log: { readonly level: string; readonly message: string; readonly fields?: unknown }[];
    readonly progress: unknown[];
    readonly rows: string[];
    readonly csv: string[];
    readonly cursors: unknown[];
    readonly sent: { readonly authorization: string | undefined; readonly body: string }[];
    readonly tally: Tally;
  };
}

/** `units/convert` multiplies by 2.5. Documents of the namespace `port` are there about the guest's resource. */
export async function openRealHost(): Promise<RealHost> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const tally = new Tally();
  const grants = effectiveGrants(GRANTS, { allRequested: true, only: undefined });
  const caller = {
    subject: { instance: "probe", grants } as never,
    ...{ tally, trail: { path: ["probe/poll"], left: 4 }, resource: "oven-1" },
  };
  const onDenied = () => tally.denied();
  const secrets = stack.use(await vaultOf(await bus.kv(BUCKETS.secrets))).of(grants);
  const privateHosts = parsePrivateHosts([HOST], "private");
  const of = { instance: "probe", grants, secrets, onDenied };
  const reach = openNetwork(privateHosts).of(of);
  const contexts = contextsOf(await bus.kv(BUCKETS.contexts), () => true);
  const document = { resource: "oven-1", namespace: "port", ttlMs: 60_000 };
  const ports = ["eth0", "eth1"].map((key, i) => ({
    ...{ ...document, key },
    json: Buffer.from(JSON.stringify({ speed: 7 + i })),
  }));
  await contexts.store(ports, { instance: "net", runId: "r", fence: 1n }, new AbortController().signal);
  const left = {
    log: [] as { level: string; message: string; fields?: unknown }[],
    ...{ progress: [] as unknown[], rows: [] as string[], csv: [] as string[], cursors: [] as unknown[], tally },
    sent: [] as { authorization: string | undefined; body: string }[],
  };
  const metrics = new OwnMetrics("probe", "oven-1", nowUs);
  const append = async (rows: Uint8Array) => {
    left.rows.push(...Buffer.from(rows).toString().trimEnd().split("\n"));
    return { rejected: 0 } as never;
  };
  const sink = new RowSink({ append, maxRows: 1_000_000 });
  const dialer = stack.use(openDialer(privateHosts));
  const limits = callLimits(undefined);
  const said = runLog({ runId: "r", fence: 1n, instance: "probe" }, (lines) => left.log.push(...lines), nowUs, limits);
  const functions: FunctionCalls = {
    async call({ input }) {
      const { from } = JSON.parse(Buffer.from(input).toString()) as { from: number };
      return { outcome: "ok", runId: "units/1", output: Buffer.from(JSON.stringify({ to: from * 2.5 })) };
    },
  };
  const host = hostFunctions(
    {
      http: httpCapability(of, { dialer, cache: new HttpCache() }),
      secret: secretCapability(secrets, onDenied),
      kv: guestKv(await bus.kv(BUCKETS.guest)).of("probe", grants.kv, onDenied),
      ...{ socket: socketCapability(reach), ping: pingCapability(reach), snmp: snmpCapability(reach) },
      ...{ call: callCapability(functions, caller), publish: publisher(bus.events)(caller), sleep },
      ...{ context: contextCapability(contexts, caller), metric: metrics.capability },
      ...{ log: said.log, progress: progressCapability((progress) => left.progress.push(progress)) },
      emit: async (request) => ({ rows: await sink.add(request) }),
      async "emit:csv"(request) {
        left.csv.push(Buffer.from(request).toString());
        return { rows: (left.csv.at(-1)?.trimEnd().split("\n").length ?? 1) - 1 };
      },
      async checkpoint(request) {
        await sink.flush();
        left.cursors.push((JSON.parse(Buffer.from(request).toString()) as { cursor: unknown }).cursor);
      },
    },
    limits,
  );
  const places = {
    ...{ host: HOST, oid: `${NAME_OID}.0`, table: TABLE_OID, closed: await closedPort() },
    tls: stack.use(await startTlsServer()).port,
    snmp: stack.use(await startSnmpAgent()).port,
    ...{ tcp: await tcpEcho(stack), udp: await udpEcho(stack), url: await httpEcho(stack, left.sent) },
  };
  return {
    ...{ host, places },
    left: { ...left, metrics: metrics.rows },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function vaultOf(kv: Parameters<typeof openVault>[0]) {
  const key = newSecretKey();
  const [sealing] = parseSecretKeys(key) as [SecretKey];
  for (const id of ["token", "plain"]) {
    const of = { name: `secrets/${id}`, hosts: [HOST] };
    await kv.put(id, SealedSecret.encode(SealedSecret.fromPartial({ ...of, ...seal(sealing, of, TOKEN) })).finish());
  }
  return openVault(kv, key, silentLog);
}

async function listening(stack: AsyncDisposableStack, server: Server): Promise<number> {
  server.listen(0, HOST);
  await once(server, "listening");
  stack.defer(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Each line in capitals; the connection stays open. */
const tcpEcho = (stack: AsyncDisposableStack) =>
  listening(
    stack,
    createTcpServer((socket) => {
      socket.on("error", () => {}).on("data", (data) => socket.write(data.toString().toUpperCase()));
    }),
  );

/** Each datagram with a byte 1 behind it. */
async function udpEcho(stack: AsyncDisposableStack): Promise<number> {
  const socket = createSocket("udp4", (datagram, from) => {
    socket.send(Buffer.concat([datagram, Uint8Array.of(1)]), from.port, from.address);
  }).bind(0, HOST);
  await once(socket, "listening");
  stack.defer(() => void socket.close());
  return socket.address().port;
}

async function httpEcho(stack: AsyncDisposableStack, sent: { authorization: string | undefined; body: string }[]) {
  const server = createHttpServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const body = Buffer.concat(chunks).toString();
    sent.push({ authorization: request.headers.authorization, body });
    response.end(`got ${body}`);
  });
  return `http://${HOST}:${await listening(stack, server)}/`;
}

async function closedPort(): Promise<number> {
  const server = createTcpServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
