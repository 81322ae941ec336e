/** A pipe as guests see it. */
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import { bare } from "../../../proto/names.ts";

/** Parameters in the manifest's own writing, those that are set. */
export function pipeInput(pipe: Pipe) {
  const { columns = [], index = [], attempts = 0, ...texts } = pipe.effective ?? {};
  const set = Object.entries(texts).filter(([, value]) => Object.keys(value).length > 0);
  const parameters = {
    ...Object.fromEntries(set),
    ...(columns.length > 0 && { columns: Object.fromEntries(columns.map(({ name, type }) => [name, type])) }),
    ...(index.length > 0 && { index }),
    ...(attempts > 0 && { attempts }),
  };
  const { metric, location } = pipe;
  return { name: bare(pipe.name), connector: bare(pipe.instance), metric, location, parameters };
}
