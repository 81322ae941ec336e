/** By what one pipe looks for others: whose they are, where their rows go, what they take from and come after. Pure. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { Axis } from "../kit/time.ts";
import { axisOfPipe, parentsOf } from "./chains.ts";
import type { Facts } from "./directory.ts";
import { targetsOf } from "./references.ts";

export interface PipeFacts extends Facts {
  /** Names of the pipes that it takes parameters from. */
  readonly refs: readonly string[];
  /** Ids of the pipes that it comes after. */
  readonly after: readonly string[];
  readonly axis: Axis;
}

/** The links of pipes in their directory. */
export const link = {
  ownedBy: (instance: string) => instance,
  feeding: (dataset: string) => `dataset ${dataset}`,
  takingFrom: (pipe: string) => `refs ${pipe}`,
  comingAfter: (id: string) => `after ${id}`,
};

export function pipeFacts(pipe: Pipe): PipeFacts {
  const [refs, after] = [targetsOf(pipe), parentsOf(pipe)];
  const others = [...refs.map(link.takingFrom), ...after.map(link.comingAfter)];
  return {
    refs,
    after,
    axis: axisOfPipe(pipe),
    links: [link.ownedBy(pipe.instance), link.feeding(pipe.dataset), ...others],
  };
}
