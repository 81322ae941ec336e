/** What hostile guests are granted: the real host functions, on real servers of this machine. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { parsePrivateHosts } from "../../services/executor/host/address.ts";
import { openDialer } from "../../services/executor/host/dialer.ts";
import { RowSink } from "../../services/executor/host/emit.ts";
import { hostFunctions } from "../../services/executor/host/functions.ts";
import { httpCapability } from "../../services/executor/host/http.ts";
import { HttpCache } from "../../services/executor/host/http-cache.ts";
import { guestKv, MAX_KV_KEYS } from "../../services/executor/host/kv.ts";
import { runLog } from "../../services/executor/host/log.ts";
import { callLimits } from "../../services/executor/limits.ts";
import type { HostFunction } from "../../services/executor/sandbox.ts";
import { NO_SECRETS } from "../../services/executor/secrets.ts";
import { silentLog } from "../../services/kit/log.ts";
import { startServer } from "./http-guest.ts";

const MAX_ROWS = 100_000;
const CHUNK = Buffer.alloc(1 << 20);

export interface HostileHost extends AsyncDisposable {
  readonly url: string;
  /** Requests that reached a server. */
  readonly requests: readonly string[];
  /** For one guest call. */
  host(): HostFunction;
}

export async function openHostileHost(): Promise<HostileHost> {
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
  const grants = effectiveGrants(Permissions.fromPartial({ http, kv: true }), { allRequested: true, only: undefined });
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
  const limits = callLimits(undefined, "5s");
  const life = stack.move();
  return {
    url: server.url,
    get requests() {
      return server.seen.map(({ url }) => url);
    },
    host() {
      const none = () => {};
      const sink = new RowSink({
        append: async (rows) => ({ rows: 1, bytes: rows.byteLength, rejected: 0 }),
        maxRows: MAX_ROWS,
      });
      const log = runLog({ runId: "hostile", fence: 0n, instance: "hostile" }, none, () => 0n, limits);
      const capabilities = {
        http: httpCapability({ instance: "hostile", grants, secrets: NO_SECRETS, onDenied: none }, { dialer, cache }),
        kv: keys,
        log: log.log,
        emit: sink.capability,
      };
      return hostFunctions(capabilities, limits);
    },
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}
