/** What hostile guests are granted: the real host functions, on real servers of this machine. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Entity } from "../../proto/catalog.ts";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { Limits } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { newSecretKey, parseSecretKeys, type SecretKey, seal } from "../../proto/secrets.ts";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import type { Kv } from "../../services/bus/ports.ts";
import { findSubject } from "../../services/executor/catalog.ts";
import { functionCalls, outermost } from "../../services/executor/function-calls.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { parsePrivateHosts } from "../../services/executor/host/address.ts";
import { callCapability } from "../../services/executor/host/call.ts";
import { openDialer } from "../../services/executor/host/dialer.ts";
import { RowSink } from "../../services/executor/host/emit.ts";
import { hostFunctions } from "../../services/executor/host/functions.ts";
import { httpCapability } from "../../services/executor/host/http.ts";
import { HttpCache } from "../../services/executor/host/http-cache.ts";
import { guestKv, MAX_KV_KEYS } from "../../services/executor/host/kv.ts";
import { runLog } from "../../services/executor/host/log.ts";
import type { Trail } from "../../services/executor/invocations.ts";
import { callLimits, type LimitsOf } from "../../services/executor/limits.ts";
import type { HostFunction, Sandbox } from "../../services/executor/sandbox.ts";
import { openVault, type Vault } from "../../services/executor/secrets.ts";
import { Tally } from "../../services/executor/tally.ts";
import { silentLog } from "../../services/kit/log.ts";
import { call } from "./guest-call.ts";
import { startServer } from "./http-guest.ts";

const MAX_ROWS = 20_000;
const CHUNK = Buffer.alloc(1 << 16);

export interface HostileHost extends AsyncDisposable {
  readonly url: string;
  /** For one guest call, at the end of which it is to be disposed of, as a run does with what it holds. */
  host(): HostFunction & Disposable;
  /** For one call of the function `ping` of `hostile/ring`, which runs in the sandbox as an instance of that name. */
  ring(): HostFunction & Disposable;
}

/** A secret that may be sent to one host, which is none of the test's. */
async function canaryVault(kv: Kv): Promise<Vault> {
  const text = newSecretKey();
  const [key] = parseSecretKeys(text) ?? [];
  const of = { name: "secrets/canary", hosts: ["api.example.org"] };
  const secret = SealedSecret.fromPartial({ ...of, ...seal(key as SecretKey, of, "a canary that sings") });
  await kv.put(encodeKeyPart("canary"), SealedSecret.encode(secret).finish());
  return openVault(kv, text, silentLog);
}

/** What an executor does with `call`: the catalogue knows one instance, and its functions run in the same sandbox. */
function ringCalls(sandbox: Sandbox, limitsOf: LimitsOf) {
  const version = PluginVersion.fromPartial({
    name: "plugins/ring/versions/1.0.0",
    manifest: { permissions: { call: ["ring/*"] }, interfaces: { functions: { ping: {}, pong: {} } } },
  });
  const instance = Instance.fromPartial({
    ...{ name: "instances/ring", plugin: "plugins/ring", runningVersion: "1.0.0", state: InstanceState.ENABLED },
    grants: { allRequested: true },
  });
  const entities = new Map<string, Entity>([
    [version.name, { $case: "version", value: version }],
    [instance.name, { $case: "instance", value: instance }],
  ]);
  const catalog = { get: (key: string) => entities.get(key), values: () => entities.values(), synced: true };
  const found = findSubject(catalog, instance.name);
  if (!("found" in found)) throw new Error(found.unknown);
  const subject = found.found;
  const hostOf = (trail: Trail) =>
    hostFunctions({ call: callCapability(functions, { subject, tally: new Tally(), trail }) }, limitsOf(undefined));
  const functions = functionCalls(catalog, limitsOf, {
    async run({ export: name, input, limits, signal, trail, nested = false }) {
      const base = await call("hostile/ring", name, { input, deadlineMs: limits.timeoutMs, signal, nested });
      const { outcome, output, error } = await sandbox.call({ ...base, host: hostOf(trail) });
      if (outcome === "ok") return { runId: "ring", outcome, output };
      return { runId: "ring", outcome, error: error ?? { code: outcome, message: "", retryable: false } };
    },
  });
  const depth = limitsOf(undefined).maxCallDepth;
  return () => Object.assign(hostOf(outermost("ring/ping", depth)), { [Symbol.dispose]: () => {} });
}

export async function openHostileHost(sandbox: Sandbox): Promise<HostileHost> {
  const stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "millrace-hostile-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const bus = stack.use(await openEmbeddedBus({ file: join(folder, "bus.sqlite"), log: silentLog }));
  const bomb = gzipSync(Buffer.alloc(64 << 20));
  const server = stack.use(
    await startServer(({ url }, response) => {
      if (url === "/to-metadata") response.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
      else if (url === "/bomb") response.setHeader("content-encoding", "gzip").end(bomb);
      else if (url === "/endless") {
        const more = () => {
          while (!response.destroyed && response.write(CHUNK));
          if (!response.destroyed) response.once("drain", more);
        };
        more();
      } else response.end("ok");
    }),
  );
  const urls = [`${server.url}/*`, "http://169.254.169.254/*", "http://*:*/*"].filter((url) => url !== "http://*:*/*");
  const http = [...urls, "http://[::ffff:a9fe:a9fe]/*", "http://rebind.test/*"].map((url) => ({ url, methods: [] }));
  const asks = Permissions.fromPartial({ http, kv: true, secrets: ["canary"] });
  const grants = effectiveGrants(asks, { allRequested: true, only: undefined });
  const secrets = stack.use(await canaryVault(await bus.kv("secrets"))).of(grants);
  // A public address when it is asked for the first time, and loopback from then on.
  let asked = 0;
  const resolve = async (name: string) => {
    if (name !== "rebind.test") return [name];
    asked += 1;
    return [asked === 1 ? "127.0.0.1" : "169.254.169.254"];
  };
  const dialer = stack.use(openDialer(parsePrivateHosts([`127.0.0.1:${server.port}`], "X"), { resolve }));
  const cache = new HttpCache();
  const kv = guestKv(await bus.kv("guest"));
  const keys = kv.of("hostile", true, () => {});
  const scope = { signal: new AbortController().signal, remainingMs: () => 1_000 };
  for (let key = 0; key < MAX_KV_KEYS; key += 1) {
    await keys(Buffer.from(JSON.stringify({ op: "put", key: `${key}`, value: "x" })), scope as never);
  }
  // Small, so that running into them a thousand times does not take long.
  const limits = callLimits(Limits.fromPartial({ httpMib: 1, httpRequests: 5 }), "5s");
  const ring = ringCalls(sandbox, callLimits);
  const life = stack.move();
  return {
    url: server.url,
    ring,
    host() {
      const none = () => {};
      const sink = new RowSink({
        append: async (rows) => ({ rows: 1, bytes: rows.byteLength, rejected: 0 }),
        maxRows: MAX_ROWS,
      });
      const log = runLog({ runId: "hostile", fence: 0n, instance: "hostile" }, none, () => 0n, limits);
      const capabilities = {
        http: httpCapability({ instance: "hostile", grants, secrets, onDenied: none }, { dialer, cache }),
        kv: keys,
        log: log.log,
        emit: sink.capability,
      };
      return Object.assign(hostFunctions(capabilities, limits), { [Symbol.dispose]: () => sink[Symbol.dispose]() });
    },
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}
