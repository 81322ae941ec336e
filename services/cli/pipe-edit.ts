/** The CLI's command to change a pipe's parameters, over what was read and nothing newer. */
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named } from "./api.ts";
import type { Command } from "./command.ts";
import { parameterFlags, parameterOf } from "./data-commands.ts";
import { restJson } from "./rest-json.ts";

export const pipeEditCommand: Command = {
  path: "pipe edit",
  args: "<pipe>",
  doc: 'Changes parameters of a pipe; "" takes one back to its default. A pipe that was changed meanwhile is refused.',
  flags: {
    ...parameterFlags,
    etag: { type: "string", doc: "of the pipe as you know it (default: as it is now)" },
  },
  async run(invocation) {
    const { args, flags, terminal } = invocation;
    const wanted = Object.keys(parameterFlags).filter((name) => typeof flags[name] === "string");
    if (wanted.length === 0) throw new Fault("invalid", "what shall change? give at least one parameter");
    using api = apiOf(invocation);
    const name = named("pipes", args[0]);
    const etag =
      typeof flags.etag === "string" ? flags.etag : (await api.call(PipesService.getPipe, { name })).pipe?.etag;
    const parameters = Object.fromEntries(wanted.map((field) => [field, parameterOf(field, String(flags[field]))]));
    const pipe = Pipe.fromPartial({ name, etag: etag ?? "", parameters });
    const updateMask = wanted.map((field) => `parameters.${field}`);
    const { pipe: changed } = await api.call(PipesService.updatePipe, { pipe, updateMask });
    terminal.result(
      () => changed && restJson("millrace.registry.v1.Pipe", Pipe, changed),
      () => `${name} is changed: ${wanted.join(", ")}; its etag is ${changed?.etag}`,
    );
  },
};
