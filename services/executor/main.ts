/** The executor: runs guests for jobs from the queue and for calls from gateways. As many executors as you like. */
import { availableParallelism } from "node:os";
import { ulid } from "ulid";
import { ExecutorsService } from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { BLOBS, BUCKETS, EXECUTOR_TTL_MS, JOBS, JOBS_OPTIONS, LOCK_TTL_MS, RECORDS } from "../../proto/names.ts";
import { SECRET_KEY_DOC, SECRET_KEY_ENV } from "../../proto/secrets.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Bus, Kv } from "../bus/ports.ts";
import { address, type Config, choice, list, secret, splitAddress, text, whole } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { connect, serve, service } from "../kit/grpc.ts";
import { background, pause, type Running } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Results } from "../results/results.ts";
import { RING_TTL_MS } from "./breakdowns.ts";
import { serveCalls } from "./calls.ts";
import { followCatalog, knownResources } from "./catalog.ts";
import { contextsOf, documentsOfResources } from "./contexts.ts";
import { declaredDatasets } from "./declared-datasets.ts";
import { functionCalls } from "./function-calls.ts";
import { guestsOf } from "./guests.ts";
import { parsePrivateHosts } from "./host/address.ts";
import { callCapability } from "./host/call.ts";
import { contextCapability } from "./host/context.ts";
import { openDialer } from "./host/dialer.ts";
import { HttpCache } from "./host/http-cache.ts";
import { guestKv, keysOfInstances } from "./host/kv.ts";
import { publisher } from "./host/publish.ts";
import { openNetwork } from "./host/reach.ts";
import { sleep } from "./host/sleep.ts";
import { type Caller, invocationsOf } from "./invocations.ts";
import { takeJobs } from "./jobs.ts";
import { ceilingSettings, ceilingsOf, limitsUnder } from "./limits.ts";
import { cleanOwnedKeys } from "./owned-keys.ts";
import { openPolicy, POLICY } from "./policy.ts";
import { openQuarantines } from "./quarantine.ts";
import { openRecorder, RECORD_MODES } from "./recording/recorder.ts";
import { openSandbox } from "./sandbox.ts";
import { openVault } from "./secrets.ts";
import type { OnStep } from "./steps.ts";

const MIB = 2 ** 20;
const DAY_MS = 86_400_000;
const DEFAULT_LANES = Math.max(1, availableParallelism() - 1);
const PRIVATE_HOSTS = "EXECUTOR_PRIVATE_HOSTS";

export const settings = {
  listen: address("EXECUTOR_LISTEN", "host:port to serve calls on, for gateways", "127.0.0.1:0"),
  advertise: text("EXECUTOR_ADVERTISE", "host:port that gateways reach it by; empty: where it listens", ""),
  registry: address("REGISTRY_ADDRESS", "host:port of the registry", "127.0.0.1:7402"),
  id: text("EXECUTOR_ID", "its name in runs and in the bucket `executors`; empty: made up at start", ""),
  engine: choice("EXECUTOR_ENGINE", "what runs guests; sdk is Extism's own, slower", ["kernel", "sdk"], "kernel"),
  lanes: whole("EXECUTOR_LANES", "worker threads for guests", [1, 256], DEFAULT_LANES),
  callsPerLane: whole("EXECUTOR_CALLS_PER_LANE", "guests in one lane at a time", [1, 10_000], 64),
  laneCalls: whole("EXECUTOR_LANE_CALLS", "calls after which a lane is replaced by a new one", [1, 1e15], 10_000_000),
  laneAgeMs: whole("EXECUTOR_LANE_AGE_MS", "age at which it is, in milliseconds", [1_000, 1e12], 3_600_000),
  jobs: whole("EXECUTOR_JOBS", "jobs from the queue at a time, with those whose guests have ended", [1, 10_000], 256),
  privateHosts: list(
    PRIVATE_HOSTS,
    "host, host:port or CIDR range that guests may dial although it is not public; grants must still name it",
  ),
  policy: text(POLICY, "file of JSON with the most that instances may be granted here; empty: no ceiling", ""),
  httpProxy: secret("EXECUTOR_HTTP_PROXY", "URL of a proxy for requests of guests that ask for it"),
  secretKey: secret(SECRET_KEY_ENV, SECRET_KEY_DOC),
  stuckMs: whole(
    "EXECUTOR_STUCK_MS",
    "a guest's thread that lives so long after it was ended, in milliseconds, costs the process its life",
    [100, 600_000],
    5_000,
  ),
  drainMs: whole("EXECUTOR_DRAIN_MS", "time that running work gets at the end, in milliseconds", [0, 600_000], 10_000),
  ...ceilingSettings,
  record: choice(
    "EXECUTOR_RECORD",
    "runs whose record is kept, so that they can be played back",
    RECORD_MODES,
    "failed",
  ),
  recordRunMib: whole("EXECUTOR_RECORD_RUN_MIB", "what a run was told, in MiB; over it there is no record", [1, 64], 8),
  recordMib: whole("EXECUTOR_RECORD_MIB", "records of all runs together, in MiB; the oldest go", [1, 1_000_000], 512),
  recordDays: whole("EXECUTOR_RECORD_DAYS", "days that a record is kept", [1, 3_650], 7),
  quarantineFailures: whole(
    "EXECUTOR_QUARANTINE_FAILURES",
    "broken-down calls among the last ones that stop a version of a plugin; 0: never",
    [0, 10_000],
    25,
  ),
  quarantineOf: whole("EXECUTOR_QUARANTINE_OF", "the last calls of a version that are looked at", [1, 10_000], 50),
  quarantineMinutes: whole(
    "EXECUTOR_QUARANTINE_MINUTES",
    "after so many minutes a version that was stopped for breaking down runs again; 0: only when it is released",
    [0, 525_600],
    0,
  ),
};

export interface ExecutorPorts {
  readonly bus: Bus;
  readonly results: Results;
  readonly log: Logger;
  /** For tests that end the process between two steps. */
  readonly onStep?: OnStep;
  /** Told when a guest's thread cannot be ended: it takes a core, and this process does not end in order any more. */
  readonly onStuck?: () => void;
}

export interface Executor extends Running {
  readonly id: string;
}

/** Serves and pulls jobs as soon as the catalogue is known; the registry may come up later. */
export async function start(config: Config<typeof settings>, ports: ExecutorPorts): Promise<Executor> {
  const { bus, results, log } = ports;
  const id = config.id || `executor-${ulid().toLowerCase()}`;
  const privateHosts = parsePrivateHosts(config.privateHosts, PRIVATE_HOSTS);
  await using stack = new AsyncDisposableStack();
  const { engine, lanes, callsPerLane, stuckMs } = config;
  const wear = { calls: config.laneCalls, ageMs: config.laneAgeMs };
  const stuck = { stuckMs, ...(ports.onStuck && { onStuck: ports.onStuck }) };
  const sandbox = stack.use(await openSandbox({ engine, lanes, callsPerLane, wear, log, ...stuck }));
  const policy = stack.use(await openPolicy(config.policy, log));
  const registry = stack.use(connect(config.registry));
  const catalog = stack.use(followCatalog(registry, policy, log));
  const dialer = stack.use(openDialer(privateHosts, { proxy: config.httpProxy }));
  const quarantines = stack.use(
    await openQuarantines({
      kv: await bus.kv(BUCKETS.quarantine),
      counts: await bus.kv(BUCKETS.breakdowns, { ttlMs: RING_TTL_MS }),
      rule: {
        failures: config.quarantineFailures,
        of: Math.max(config.quarantineOf, config.quarantineFailures),
        minutes: config.quarantineMinutes,
      },
      ...{ executor: id, log },
    }),
  );
  const recorder = stack.use(
    openRecorder({
      mode: config.record,
      maxRunBytes: config.recordRunMib * MIB,
      maxKeptBytes: config.recordMib * MIB,
      keepMs: config.recordDays * DAY_MS,
      index: await bus.kv(BUCKETS.records),
      blobs: await bus.blobs(RECORDS),
      log,
    }),
  );
  const guestEntries = await bus.kv(BUCKETS.guest);
  const kv = guestKv(guestEntries);
  const vault = stack.use(await openVault(await bus.kv(BUCKETS.secrets), config.secretKey, log));
  const http = { dialer, cache: new HttpCache() };
  const network = openNetwork(privateHosts);
  const guests = guestsOf({ sandbox, blobs: await bus.blobs(BLOBS), results, http, network, kv, vault, quarantines });
  const windows = await bus.kv(BUCKETS.windows);
  const locks = await bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
  const contextEntries = await bus.kv(BUCKETS.contexts);
  const contexts = contextsOf(contextEntries, (name) => catalog.get(`instances/${name}`) !== undefined);
  const buckets = [keysOfInstances(guestEntries), documentsOfResources(contextEntries)];
  stack.use(cleanOwnedKeys({ catalog, buckets, locks, executor: id, log }));
  const lastRuns = await bus.kv(BUCKETS.lastrun);

  const limits = limitsUnder(ceilingsOf(config));

  const { events } = bus;
  const capacity = config.lanes * config.callsPerLane;
  const publish = publisher(events);
  const capabilities = (caller: Caller) => ({
    call: callCapability(functions, caller),
    publish: publish(caller),
    context: contextCapability(contexts, caller),
    sleep,
  });
  const invocations = invocationsOf({
    executor: id,
    guests,
    results,
    events,
    capabilities,
    recorder,
    quarantines,
    log,
  });
  const functions = functionCalls(catalog, limits, invocations);
  const calls = serveCalls({ executor: id, catalog, invocations, functions, limits, capacity });
  const server = stack.use(await serve(config.listen, [service(ExecutorsService, calls.methods)], { log }));
  const jobs = takeJobs({
    queue: await bus.queue(JOBS, JOBS_OPTIONS),
    limit: config.jobs,
    guests: capacity,
    free: () => sandbox.free(),
    log,
    ports: {
      ...{ catalog, events, capabilities, recorder, quarantines, log, executor: id, onStep: ports.onStep },
      tools: {
        ...{ guests, limits, results, ensureDataset: declaredDatasets(results), registry, windows, lastRuns },
        ...{ contexts, resources: knownResources(catalog) },
      },
      locks,
      checkpoints: await bus.kv(BUCKETS.checkpoints),
    },
  });
  stack.defer(async () => {
    await Promise.all([jobs.drain(config.drainMs), calls.drain(config.drainMs)]);
  });
  const executors = await bus.kv(BUCKETS.executors, { ttlMs: EXECUTOR_TTL_MS });
  stack.use(announce(executors, id, advertised(config.advertise, server.address), log));
  const life = stack.move();
  return { id, address: server.address, [Symbol.asyncDispose]: () => life.disposeAsync() };
}

/** `host` alone takes the port that is listened on. */
function advertised(advertise: string, listening: string): string {
  if (advertise === "" || splitAddress(advertise)) return advertise || listening;
  return `${advertise}:${splitAddress(listening)?.port}`;
}

/** Gateways find executors in this bucket. Gone as soon as the executor begins to stop, or its ttl after it died. */
function announce(executors: Kv, id: string, where: string, log: Logger): AsyncDisposable {
  const key = encodeKeyPart(id);
  const value = Buffer.from(JSON.stringify({ address: where }));
  const loop = background(
    async (signal) => {
      do {
        await executors.put(key, value).catch((thrown) => {
          log.warn({ err: Fault.from(thrown) }, "could not announce this executor; trying again");
        });
      } while (await pause(EXECUTOR_TTL_MS / 3, signal));
    },
    (fault) => log.error({ err: fault }, "announcing ended"),
  );
  return {
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      await executors.delete(key).catch(() => {});
    },
  };
}
