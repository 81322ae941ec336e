/** `plugin dev`: each change of a folder built and put into a running platform; what it then does is shown. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { MaintenanceService } from "../../proto/gen/millrace/results/v1/maintenance_service.ts";
import type { Run } from "../../proto/gen/millrace/results/v1/run.ts";
import { RunsService } from "../../proto/gen/millrace/results/v1/run_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause, runUntilSignal } from "../kit/lifecycle.ts";
import { axisAmong, parseDuration, timestampOf } from "../kit/time.ts";
import { type Api, apiOf, pages, showTime } from "./api.ts";
import { building } from "./build-progress.ts";
import { buildAside } from "./build-thread.ts";
import { PAGE } from "./collection.ts";
import type { Invocation } from "./command.ts";
import { nextDevVersion, withVersion } from "./dev-version.ts";
import { watchFolder } from "./folder-watch.ts";
import { jsonFlag } from "./json-flag.ts";
import { syncPipe } from "./sync.ts";
import type { Terminal } from "./terminal.ts";

/** The pipe that is made where a plugin that fetches has none. */
const METRIC = "dev";
const LOOK_MS = 500;
const MAX_SHOWN_LINES = 20;
const DAY = "1d";
/** What a platform that is away or behind answers. */
const AWAY = ["unavailable", "deadline", "exhausted"];
/** Of those that a session publishes: what runs, and what ran before. */
const KEPT_VERSIONS = 2;
/** For a run that is at work as the pipe is to go. */
const DROP_MS = 10_000;

export async function developPlugin(invocation: Invocation): Promise<void> {
  const { args, flags, terminal } = invocation;
  const folder = resolve(args[0] ?? "");
  const config = flags.config === undefined ? undefined : await jsonFlag(flags.config, "--config");
  await runUntilSignal(async (stack, signal) => {
    const api = stack.use(apiOf(invocation));
    const session = new Session(api, terminal, config);
    await session.look();
    stack.defer(() => session.tidy());
    using changes = watchFolder(folder, signal);
    stack.use(
      background(
        (stop) => session.follow(stop),
        (fault) => terminal.note(`following its runs ended: ${fault.message}`),
      ),
    );
    for (let change: string | undefined = ""; change !== undefined; change = await changes.next()) {
      if (change) terminal.note(`${change} changed`);
      await session.swap(folder).catch((thrown) => session.keep(Fault.from(thrown)));
      terminal.note(
        session.running ? "watching for changes; Ctrl-C ends it" : "nothing runs yet; watching for changes",
      );
    }
  });
}

class Session {
  readonly #api: Api;
  readonly #terminal: Terminal;
  readonly #config: Record<string, unknown> | undefined;
  readonly #startedMs = Date.now();
  /** Plugins and versions of instances as they were found. */
  readonly #found = new Map<string, string>();
  #plugins = new Set<string>();
  #name = "";
  #digest = "";
  #madePipe: string | undefined;
  /** Versions that this session published, oldest first. */
  readonly #made: string[] = [];
  /** The version that runs now. */
  running: string | undefined;

  constructor(api: Api, terminal: Terminal, config: Record<string, unknown> | undefined) {
    this.#api = api;
    this.#terminal = terminal;
    this.#config = config;
  }

  /** Errors: `unavailable` when no platform answers. */
  async look(): Promise<void> {
    const api = this.#api;
    const list = (pageToken: string) => api.call(PluginsService.listPlugins, { ...PAGE, pageToken });
    const plugins = await pages(list).catch((thrown) => {
      const fault = Fault.from(thrown);
      if (fault.code !== "unavailable") throw fault;
      throw new Fault("unavailable", `no platform answers at ${api.address}; start one beside this: millrace dev`);
    });
    this.#plugins = new Set(plugins.flatMap((page) => page.plugins.map(({ name }) => bare(name))));
    const instances = (pageToken: string) => api.call(InstancesService.listInstances, { ...PAGE, pageToken });
    for (const { name, version } of (await pages(instances)).flatMap((page) => page.instances)) {
      this.#found.set(name, version);
    }
  }

  /** Builds, publishes under a version of its own, and lets the instance run it. Errors: what did not work. */
  async swap(folder: string): Promise<void> {
    const startedMs = performance.now();
    const built = await buildAside(folder, building(this.#terminal));
    const bytes = await readFile(built.path);
    const digest = bytes.toString("base64");
    if (digest === this.#digest) return;
    this.#name = built.name;
    const instance = `instances/${built.name}`;
    const version = nextDevVersion(built.version, await this.#versions());
    await this.#api.call(PluginsService.publishPlugin, {
      bundle: await withVersion(bytes, version),
      validateOnly: false,
    });
    const config = this.#config && this.running === undefined ? { config: this.#config } : {};
    const mask = ["version", ...Object.keys(config)];
    const pinned = Instance.fromPartial({ name: instance, version, ...config });
    const answer = await this.#api.call(InstancesService.updateInstance, { instance: pinned, updateMask: mask });
    this.running = version;
    this.#made.push(version);
    this.#digest = digest;
    const ms = (performance.now() - startedMs).toFixed(0);
    this.#terminal.note(`${built.name} ${version} runs, ${ms} ms after the change`);
    const { state, stateReason } = answer.instance ?? {};
    if (state === InstanceState.ERROR) {
      this.#terminal.note(`${instance} cannot run: ${stateReason}; give it one with --config`);
      return;
    }
    await this.#try(instance);
    // What ran before this one may be at work still.
    await this.#forget(KEPT_VERSIONS);
  }

  /** The build failed, or the platform did not take it: what ran before goes on. */
  keep(fault: Fault): void {
    const rest = this.running ? `${this.#name} ${this.running} goes on` : "nothing runs yet";
    this.#terminal.note(`${fault.message}\n${rest}`);
  }

  async #versions(): Promise<string[]> {
    if (!this.#plugins.has(this.#name) && this.running === undefined) return [];
    const parent = `plugins/${this.#name}`;
    const list = (pageToken: string) =>
      this.#api.call(PluginsService.listPluginVersions, { parent, ...PAGE, pageToken });
    return (await pages(list)).flatMap((page) => page.versions.map((one) => one.manifest?.version ?? ""));
  }

  /** Has the new version do what it is there for, now. */
  async #try(instance: string): Promise<void> {
    const api = this.#api;
    const { plugin } = await api.call(PluginsService.getPlugin, { name: `plugins/${this.#name}` });
    const pipes = (await pages((pageToken) => api.call(PipesService.listPipes, { ...PAGE, pageToken })))
      .flatMap((page) => page.pipes)
      .filter((pipe) => pipe.instance === instance);
    if (!pipes.length && plugin?.interfaces.includes("fetch")) {
      const made = await api.call(PipesService.createPipe, { pipe: Pipe.fromPartial({ instance, metric: METRIC }) });
      this.#madePipe = made.pipe?.name;
      if (made.pipe) pipes.push(made.pipe);
    }
    for (const { name, effective } of pipes.filter(({ state }) => state !== PipeState.PAUSED)) {
      // Integers have no now: what is at the head of the source is asked for anyway.
      const timed = axisAmong(effective?.columns ?? [], effective?.datetime ?? "") === "time";
      const chunkMs = timed ? parseDuration(effective?.chunk || DAY, "chunk") : 0;
      const begin = timed ? timestampOf(BigInt(Date.now() - chunkMs) * 1_000n) : undefined;
      const { windows } = await syncPipe(api, { name, begin, end: undefined, refetch: timed });
      this.#terminal.note(`${name}: the newest windows are fetched again (${windows.length})`);
    }
    const pollers = (await pages((pageToken) => api.call(PollersService.listPollers, { ...PAGE, pageToken })))
      .flatMap((page) => page.pollers)
      .filter((poller) => poller.instance === instance);
    for (const { name } of pollers) await api.call(SchedulesService.runPoller, { name });
  }

  /** Tells of every run of the instance that ends, with what it logged. A platform that is away may come back. */
  async follow(signal: AbortSignal): Promise<void> {
    const seen = new Set<string>();
    while (await pause(LOOK_MS, signal)) {
      await this.#tellNew(seen).catch((thrown) => {
        if (!AWAY.includes(Fault.from(thrown).code)) throw thrown;
      });
    }
  }

  async #tellNew(seen: Set<string>): Promise<void> {
    if (this.running === undefined) return;
    const since = timestampOf(BigInt(this.#startedMs) * 1_000n);
    const asked = { ...PAGE, pageToken: "", instance: `instances/${this.#name}`, target: "", outcome: "", kind: "" };
    const { runs } = await this.#api.call(RunsService.listRuns, { ...asked, since });
    for (const run of runs.toReversed()) {
      const id = `${run.name}@${run.fence}`;
      if (seen.has(id)) continue;
      seen.add(id);
      await this.#tell(run);
    }
  }

  async #tell(run: Run): Promise<void> {
    const { lines } = await this.#api.call(RunsService.listRunLogs, { name: run.name, pageSize: MAX_SHOWN_LINES });
    for (const { level, message, fence } of lines) {
      if (fence === run.fence) this.#terminal.note(`  ${level.padEnd(5)} ${message}`);
    }
    const version = run.pluginVersion.slice(run.pluginVersion.lastIndexOf("/") + 1);
    const why = run.message ? `: ${run.message}` : "";
    const what = `${run.kind} ${bare(run.name)} by ${version}: ${run.outcome}, ${run.rows} rows`;
    this.#terminal.note(`${showTime(run.endTime).slice(11, 19)} ${what}, ${run.wallMs.toFixed(0)} ms${why}`);
  }

  /** As it was found: an instance runs its version again; a plugin that came with us goes with us. */
  async tidy(): Promise<void> {
    if (!this.running) return;
    const api = this.#api;
    const instance = `instances/${this.#name}`;
    if (this.#madePipe) await this.#drop(this.#madePipe);
    const version = this.#found.get(instance);
    if (version !== undefined) {
      const was = Instance.fromPartial({ name: instance, version });
      const { instance: now } = await api.call(InstancesService.updateInstance, {
        instance: was,
        updateMask: ["version"],
      });
      this.#terminal.note(`${instance} runs ${now?.runningVersion} again`);
      await this.#forget(0);
    } else if (!this.#plugins.has(this.#name)) {
      await api.call(PluginsService.deletePlugin, { name: `plugins/${this.#name}`, etag: "", cascade: true });
      this.#terminal.note(`${this.#name} is gone again; to keep it: millrace plugin publish`);
    }
  }

  /** Deletes this session's versions but the newest; one that somebody else runs stays. */
  async #forget(kept: number): Promise<void> {
    while (this.#made.length > kept) {
      const name = `plugins/${this.#name}/versions/${this.#made.shift()}`;
      await this.#api.call(PluginsService.deletePluginVersion, { name }).catch((thrown) => {
        const fault = Fault.from(thrown);
        if (fault.code !== "precondition" && fault.code !== "not_found") throw fault;
        this.#terminal.note(`${name} stays: ${fault.message}`);
      });
    }
  }

  /** What is at work on it ends first, or the pipe is left, paused. */
  async #drop(name: string): Promise<void> {
    const api = this.#api;
    const note = "plugin dev ends";
    await api.call(PipesService.updatePipe, {
      pipe: Pipe.fromPartial({ name, state: PipeState.PAUSED, stateReason: note }),
      updateMask: ["state", "state_reason"],
    });
    const untilMs = performance.now() + DROP_MS;
    for (;;) {
      try {
        await api.call(MaintenanceService.dropPipe, { name });
        return this.#terminal.note(`${name} and its rows are gone again`);
      } catch (thrown) {
        const fault = Fault.from(thrown);
        if (fault.code !== "precondition") throw fault;
        if (performance.now() > untilMs) return this.#terminal.note(`${name} stays, paused: ${fault.message}`);
        await pause(LOOK_MS);
      }
    }
  }
}
