/** The CLI's command to change a pipe's parameters, over what was read and nothing newer. */
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named } from "./api.ts";
import type { Command } from "./command.ts";
import { parameterFlags, parametersOf } from "./parameter-flags.ts";
import { restJson } from "./rest-json.ts";

/** Tags as a flag names them. */
export const tagsOf = (flag: string | boolean | undefined): string[] =>
  typeof flag === "string" ? flag.split(",").flatMap((tag) => tag.trim() || []) : [];
const changedText = (mask: readonly string[]) => mask.map((field) => field.replace("parameters.", "")).join(", ");

export const pipeEditCommand: Command = {
  path: "pipe edit",
  args: "<pipe>",
  doc: 'Changes parameters of a pipe; "" takes one back to its default. A pipe that was changed meanwhile is refused.',
  flags: {
    ...parameterFlags,
    "set-tags": {
      type: "string",
      doc: 'words to select it by, with commas, in place of those that it has; "" for none',
    },
    etag: { type: "string", doc: "of the pipe as you know it (default: as it is now)" },
  },
  async run(invocation) {
    const { args, flags, terminal } = invocation;
    const parameters = parametersOf(flags);
    const tags = flags["set-tags"];
    const updateMask = [
      ...Object.keys(parameters).map((field) => `parameters.${field}`),
      ...(typeof tags === "string" ? ["tags"] : []),
    ];
    if (updateMask.length === 0) throw new Fault("invalid", "what shall change? give at least one parameter");
    using api = apiOf(invocation);
    const name = named("pipes", args[0]);
    const etag =
      typeof flags.etag === "string" ? flags.etag : (await api.call(PipesService.getPipe, { name })).pipe?.etag;
    const pipe = Pipe.fromPartial({
      name,
      etag: etag ?? "",
      parameters,
      tags: tagsOf(tags),
    });
    const { pipe: changed } = await api.call(PipesService.updatePipe, { pipe, updateMask });
    terminal.result(
      () => changed && restJson("millrace.registry.v1.Pipe", Pipe, changed),
      () => `${name} is changed: ${changedText(updateMask)}; its etag is ${changed?.etag}`,
    );
  },
};
