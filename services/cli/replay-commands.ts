/** Commands about what went wrong: the record of a run, playing it back, and versions that were stopped. */
import { readFile, writeFile } from "node:fs/promises";
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import { QuarantinesService } from "../../proto/gen/millrace/registry/v1/quarantine_service.ts";
import { Recording } from "../../proto/gen/millrace/results/v1/recording.ts";
import { RecordingsService } from "../../proto/gen/millrace/results/v1/recording_service.ts";
import { type RunRecording, readRecording, sha256 } from "../executor/recording/format.ts";
import { type Replayed, replayRun } from "../executor/recording/replay.ts";
import { openSandbox } from "../executor/sandbox.ts";
import { Fault } from "../kit/fault.ts";
import { silentLog } from "../kit/log.ts";
import { normaliseModule } from "../registry/wasm.ts";
import { apiOf, named, pages, showTime, untilWhen } from "./api.ts";
import type { Command } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

const RECORD_DEADLINE_MS = 60_000;
const quarantineJson = (one: Quarantine) => restJson("millrace.registry.v1.Quarantine", Quarantine, one);

/** Errors: `invalid` when the record is without a module and none is named. */
async function moduleOf({ calls, module }: RunRecording, given: unknown): Promise<Uint8Array> {
  const limits = calls[0]?.call.limits;
  const normal = { maxPages: limits?.memory_pages ?? 1, metered: limits?.gas !== undefined };
  if (typeof given === "string") return normaliseModule(await readFile(given), normal);
  if (module) return module;
  const fix = "name the plugin's module with --wasm";
  throw Fault.invalid("run replay", [{ field: "file", problem: "has no module in it", fix }]);
}

function differences({ calls, hostCalls, differences }: Replayed): string {
  const head = `${calls} calls, ${hostCalls} host calls`;
  if (!differences.length) return `${head}: the same, byte for byte`;
  return [head, ...differences.map((d) => `${d.where}:\n- ${d.recorded}\n+ ${d.replayed}`)].join("\n");
}

export const replayCommands: readonly Command[] = [
  {
    path: "run record",
    args: "<run>",
    doc: "Saves the record of a run: what its guest was told, and the module. For `run replay`.",
    flags: { out: { type: "string", doc: "the file to write (default: run.record.gz)" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const request = { name: named("runs", invocation.args[0]) };
      const { recording, file } = await api.call(RecordingsService.getRunRecording, request, RECORD_DEADLINE_MS);
      const out = typeof invocation.flags.out === "string" ? invocation.flags.out : "run.record.gz";
      await writeFile(out, file);
      invocation.terminal.result(
        () => ({ recording: recording && restJson("millrace.results.v1.Recording", Recording, recording), out }),
        () => `${out}: ${recording?.run}, ${recording?.outcome}`,
      );
    },
  },
  {
    path: "run replay",
    args: "<file>",
    doc: "Plays a record back in the sandbox, with nothing else running. Exit 1 when it goes another way.",
    flags: { wasm: { type: "string", doc: "another build of the plugin's module (default: the one in the record)" } },
    async run(invocation) {
      const recording = readRecording(await readFile(invocation.args[0] as string));
      const module = await moduleOf(recording, invocation.flags.wasm);
      await using sandbox = await openSandbox({ lanes: 1, callsPerLane: 1, log: silentLog });
      const replayed = await replayRun(recording, module, sandbox);
      const { run } = recording;
      const same = sha256(module) === run.module ? "the module of the record" : "another module";
      const result = { run: run.run, sameModule: sha256(module) === run.module, ...replayed };
      invocation.terminal.result(
        () => result,
        () => `${run.run}, ${same}: ${differences(replayed)}`,
      );
      if (replayed.differences.length) invocation.terminal.fail("the replay differs from the record");
    },
  },
  {
    path: "plugin quarantine",
    args: "",
    doc: "Lists versions of plugins that broke down too often and are not run any more.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const list = (pageToken: string) => api.call(QuarantinesService.listQuarantines, { pageSize: 0, pageToken });
      const all = (await pages(list)).flatMap((page) => page.quarantines);
      const rows = all.map((one) => [one.name, showTime(one.createTime), untilWhen(one), one.executor, one.reason]);
      invocation.terminal.result(
        () => all.map(quarantineJson),
        () => (rows.length ? table(["version", "since", "until", "seen by", "reason"], rows) : "none"),
      );
    },
  },
  {
    path: "plugin release",
    args: "<plugin> <version>",
    doc: "Lets a version run again that was put in quarantine.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const [plugin, version] = invocation.args;
      const name = `${named("plugins", plugin)}/versions/${version}`;
      const response = await api.call(QuarantinesService.releaseQuarantine, { name });
      invocation.terminal.result(
        () => response,
        () => `${name} runs again`,
      );
    },
  },
];
