/** Does what a plan says, one thing after the other; what fails stops only what needs it. */
import { Fault } from "../../kit/fault.ts";
import type { Api } from "../api.ts";
import { differences } from "./item.ts";
import type { Action, Plan } from "./plan.ts";

export interface Done {
  readonly action: Action;
  readonly outcome: "done" | "failed" | "skipped";
  /** Why not. */
  readonly reason: string;
}

/** Writes of the platform itself (a version that settles, a `register` that answers) may come in between. */
const ATTEMPTS = 5;

export interface ApplyOptions {
  /** Deletions of pipes take their rows, too. */
  readonly data: boolean;
  readonly tell: (done: Done) => void;
}

/** Never throws for one item: each has its outcome, in the order of the plan. */
export async function applyPlan(api: Api, { actions }: Plan, { data, tell }: ApplyOptions): Promise<Done[]> {
  const all: Done[] = [];
  const undone = new Set<string>();
  for (const action of actions) {
    const waits = action.needs.find((name) => undone.has(name));
    const why = action.verb === "delete" ? `${waits} still uses it` : `${waits} has to be there first`;
    const done = waits ? ({ action, outcome: "skipped", reason: why } as const) : await attempt(api, action, data);
    if (done.outcome !== "done") undone.add(action.name);
    all.push(done);
    tell(done);
  }
  return all;
}

async function attempt(api: Api, action: Action, data: boolean): Promise<Done> {
  try {
    await run(api, action, data);
    return { action, outcome: "done", reason: "" };
  } catch (thrown) {
    const fault = Fault.from(thrown);
    return { action, outcome: "failed", reason: `${fault.code}: ${fault.message}` };
  }
}

/**
 * Only over what the plan has seen. Errors: `conflict` when it was changed since, or made by somebody else; those of
 * the API.
 */
async function run(api: Api, { verb, name, item, live }: Action, data: boolean): Promise<void> {
  if (verb === "create" || !live) {
    await item?.create(api);
    return;
  }
  for (let tries = 1; ; tries += 1) {
    const now = await live.again(api);
    if (!now && verb === "delete") return;
    if (!now) throw new Fault("conflict", `${name} was deleted meanwhile; apply again`);
    // Facets that only a question shows (a secret's value) are not read again: the etag tells.
    const seen = Object.fromEntries(Object.entries(live.facets).filter(([field]) => field in now.facets));
    const asked = Object.keys(seen).length < Object.keys(live.facets).length;
    const changed = differences(now.facets, seen).map(({ field }) => field);
    if (changed.length || now.managedBy !== live.managedBy || (asked && now.etag !== live.etag)) {
      const what = changed.length ? ` (${changed.join(", ")})` : "";
      throw new Fault("conflict", `${name} was changed meanwhile${what}; look at the plan again`);
    }
    try {
      if (verb === "delete") await live.remove(api, { etag: now.etag, data });
      else {
        const fields = differences(live.facets, item?.facets ?? {}).map(({ field }) => field);
        await item?.update(api, fields, now.etag);
      }
      return;
    } catch (thrown) {
      if (Fault.from(thrown).code !== "conflict" || tries === ATTEMPTS) throw thrown;
    }
  }
}
