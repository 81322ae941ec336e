/**
 * The executor's own sandbox and host functions in this process, with no service around them: what authors call, test
 * and judge their plugins with.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { BUCKETS } from "../../proto/names.ts";
import { newSecretKey, parseSecretKeys, type SecretKey, seal } from "../../proto/secrets.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import { openBus } from "../bus/open.ts";
import type { Subject } from "../executor/catalog.ts";
import { effectiveGrants } from "../executor/grants.ts";
import type { NotRun } from "../executor/guests.ts";
import { guestsOf } from "../executor/guests.ts";
import { parsePrivateHosts } from "../executor/host/address.ts";
import { openDialer } from "../executor/host/dialer.ts";
import type { Capabilities } from "../executor/host/functions.ts";
import { HttpCache } from "../executor/host/http-cache.ts";
import { guestKv } from "../executor/host/kv.ts";
import { openNetwork } from "../executor/host/reach.ts";
import { sleep } from "../executor/host/sleep.ts";
import type { CallLimits } from "../executor/limits.ts";
import { type GuestResult, type HostFunction, openSandbox, type Sandbox } from "../executor/sandbox.ts";
import { openVault } from "../executor/secrets.ts";
import type { Tally } from "../executor/tally.ts";
import { Fault } from "../kit/fault.ts";
import { silentLog } from "../kit/log.ts";
import { readManifest } from "../registry/manifest.ts";
import type { LocalPlugin } from "./local-plugin.ts";

/** Guests may dial this machine, as in `millrace dev`; the manifest and the grant must still name it. */
const PRIVATE_HOSTS = "EXECUTOR_PRIVATE_HOSTS";
const LOOPBACK = ["127.0.0.1", "::1", "localhost"];

/** What the operator would allow: all that the manifest asks for, nothing, or a JSON object of permissions. */
export type Grants = "manifest" | "none" | Readonly<Record<string, unknown>>;

export interface Secret {
  readonly value: string;
  readonly hosts?: readonly string[];
}

/** One call of one export. */
export interface BenchCall {
  readonly plugin: LocalPlugin;
  readonly config: Readonly<Record<string, unknown>>;
  readonly grants: Grants;
  readonly export: string;
  readonly input: Uint8Array;
  readonly limits: CallLimits;
  readonly tally: Tally;
  /** Beside http, kv and the rest, or in their place. */
  readonly extra: Capabilities;
  readonly signal: AbortSignal;
  /** In place of all of it, grants included. */
  readonly host?: HostFunction;
  /** What the guest's randomness is drawn from, and its clock. Absent: as in life. */
  readonly seed?: string;
  readonly now?: () => number;
}

export interface Workbench extends AsyncDisposable {
  /** Resolves for everything that the guest does. */
  call(call: BenchCall): Promise<GuestResult | NotRun>;
  readonly sandbox: Sandbox;
}

export interface WorkbenchOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly secrets?: Readonly<Record<string, Secret>>;
}

/** Build what is to be run before: the sandbox sets flags of V8 that compilers in WebAssembly do not like. */
export async function openWorkbench({ env, secrets = {} }: WorkbenchOptions): Promise<Workbench> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const bus = stack.use(await openBus({ file: join(folder, "bus.sqlite"), log: silentLog }));
  const sandbox = stack.use(await openSandbox({ lanes: 1, callsPerLane: 8, log: silentLog }));
  const privateHosts = parsePrivateHosts(env[PRIVATE_HOSTS]?.split(",") ?? LOOPBACK, PRIVATE_HOSTS);
  const dialer = stack.use(openDialer(privateHosts, { proxy: env.EXECUTOR_HTTP_PROXY ?? "" }));
  const key = newSecretKey();
  const sealed = await bus.kv(BUCKETS.secrets);
  const [opened] = parseSecretKeys(key) ?? [];
  for (const [name, { value, hosts = [] }] of Object.entries(secrets)) {
    await sealed.put(encodeKeyPart(name), sealedSecret(opened as SecretKey, name, value, hosts));
  }
  const vault = stack.use(await openVault(sealed, key, silentLog));
  const ports = {
    blobs: await bus.blobs("modules"),
    results: { query: noDatasets },
    http: { dialer, cache: new HttpCache() },
    network: openNetwork(privateHosts),
    kv: guestKv(await bus.kv(BUCKETS.guest)),
    vault,
    quarantines: { note() {}, stop() {} },
  };
  const life = stack.move();
  return {
    sandbox,
    async call({ plugin, config, grants, extra, host, seed, now, ...run }) {
      const { module } = plugin;
      const here: Sandbox = {
        call: (given) =>
          sandbox.call({
            ...given,
            module: { digest: given.module.digest, load: async () => module },
            ...(host && { host }),
            ...(seed !== undefined && { seed }),
            ...(now && { now }),
          }),
        free: () => sandbox.free(),
        stats: () => sandbox.stats(),
        [Symbol.asyncDispose]: async () => {},
      };
      const subject = subjectOf(plugin, config, grants);
      return guestsOf({ ...ports, sandbox: here }).call({ ...run, subject, extra: { sleep, ...NOBODY, ...extra } });
    },
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}

/** An instance of the plugin as an operator would have made it, named as the plugin. */
export function subjectOf({ release, manifest }: LocalPlugin, config: BenchCall["config"], grants: Grants): Subject {
  const { name, version } = manifest;
  const only = typeof grants === "object" ? permissionsOf(grants) : undefined;
  return {
    ...{ instance: name, plugin: name, version, config, release },
    grants: effectiveGrants(manifest.permissions, { allRequested: grants === "manifest", only }),
  };
}

function permissionsOf(grants: Readonly<Record<string, unknown>>) {
  const bytes = Buffer.from(
    JSON.stringify({ name: "grants", version: "0.0.0", abi: 1, interfaces: { poll: {} }, permissions: grants }),
  );
  return readManifest(bytes).permissions;
}

function sealedSecret(key: SecretKey, name: string, value: string, hosts: readonly string[]): Uint8Array {
  const bound = { name: `secrets/${name}`, hosts: [...hosts] };
  return SealedSecret.encode(SealedSecret.fromPartial({ ...bound, ...seal(key, bound, value) })).finish();
}

const away = (what: string) => new Fault("precondition", `${what}: only a running platform has that; not here`);
const noDatasets = () => Promise.reject(away("query needs datasets"));
/** Host functions that need other instances. */
const NOBODY: Capabilities = {
  call: () => Promise.reject(away("call needs other instances")),
  publish: async () => ({}),
  context: () => Promise.reject(away("context needs resources")),
};
