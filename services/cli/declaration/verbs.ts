/** What `plan`, `diff`, `apply` and `destroy` do. Loaded only when they do: other commands answer sooner without it. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { Fault } from "../../kit/fault.ts";
import { type Api, apiOf } from "../api.ts";
import type { Invocation } from "../command.ts";
import { applyPlan, type Done } from "./apply.ts";
import { declare } from "./declared.ts";
import type { Difference } from "./item.ts";
import { readLive } from "./live.ts";
import { type Action, type Plan, planOf } from "./plan.ts";
import { placed, readSource, refuse, type Source } from "./source.ts";
import { wantedOf } from "./wanted.ts";

/** When `--file` names none. */
const FILE = "millrace.yaml";
/** A value in a table of differences. */
const MAX_SHOWN = 200;
/** Values of the environment shorter than this are no secrets, and everywhere in other words. */
const MIN_HIDDEN = 4;

interface Opened {
  readonly source: Source;
  /** Where its paths begin. */
  readonly folder: string;
}

function open({ flags, env }: Invocation): Opened {
  const path = typeof flags.file === "string" ? flags.file : FILE;
  try {
    return { source: readSource(path, readFileSync(path, "utf8"), env), folder: dirname(resolve(path)) };
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
    throw new Fault("not_found", `there is no file ${path}; name it with --file`);
  }
}

interface Planned {
  readonly plan: Plan;
  readonly source: Source;
}

/** Errors: `invalid` with every mistake of the file, and of what it asks this platform for. */
async function planned(api: Api, invocation: Invocation, { source, folder }: Opened): Promise<Planned> {
  const declaration = declare(source, invocation.env, folder);
  const { items, live, mistakes } = await wantedOf(api, declaration, await readLive(api));
  const options = { project: declaration.project, adopt: invocation.flags.adopt === true };
  const made = planOf(items, live, options);
  refuse(source.file, placed(source, [...mistakes, ...made.mistakes]));
  return { plan: made.plan, source };
}

const SIGNS = { create: "+", change: "~", delete: "-" } as const;

/** Values that came from the environment are shown by their names. */
function hide(text: string, { environment }: Source): string {
  return [...environment].reduce(
    (hidden, [name, value]) => (value.length < MIN_HIDDEN ? hidden : hidden.replaceAll(value, `\${${name}}`)),
    text,
  );
}

function valueText(value: unknown, source: Source): string {
  const text = hide(JSON.stringify(value) ?? "nothing", source);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

const isNothing = (value: unknown) =>
  value === undefined || value === "" || value === 0 || (typeof value === "object" && !Object.keys(value ?? {}).length);

function differenceText({ field, before, after }: Difference, verb: Action["verb"], source: Source): string[] {
  if (verb === "create")
    return isNothing(after) || field === "managed_by" ? [] : [`    ${field}: ${valueText(after, source)}`];
  return [`    ${field}: ${valueText(before, source)} → ${valueText(after, source)}`];
}

function actionText({ verb, name, differences }: Action, source: Source): string {
  return [`${SIGNS[verb]} ${name}`, ...differences.flatMap((one) => differenceText(one, verb, source))].join("\n");
}

function planText({ plan, source }: Planned): string {
  const count = (verb: Action["verb"]) => plan.actions.filter((action) => action.verb === verb).length;
  const sums = `${count("create")} to create, ${count("change")} to change, ${count("delete")} to delete`;
  if (!plan.actions.length) return `no changes: ${plan.unchanged} things are as ${source.file} says`;
  const lines = plan.actions.map((action) => actionText(action, source));
  return [...lines, `${sums}; ${plan.unchanged} are as they should be`].join("\n");
}

function planJson({ plan, source }: Planned) {
  const shown = (value: unknown) => JSON.parse(hide(JSON.stringify(value ?? null), source)) as unknown;
  return {
    project: plan.project,
    unchanged: plan.unchanged,
    actions: plan.actions.map(({ verb, name, differences }) => ({
      verb,
      name,
      differences: differences.map(({ field, before, after }) => ({
        field,
        before: shown(before),
        after: shown(after),
      })),
    })),
  };
}

/** Errors: `precondition` when it is not wanted, or nobody is there to ask. */
async function confirm({ flags, terminal }: Invocation, question: string): Promise<void> {
  if (flags.yes === true) return;
  if (!process.stdin.isTTY || terminal.json) throw new Fault("precondition", `nobody is there to ask: say --yes`);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`${question} [y/N] `);
  lines.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Fault("cancelled", "nothing was changed");
}

async function carryOut(api: Api, invocation: Invocation, made: Planned, data: boolean): Promise<void> {
  const { terminal } = invocation;
  const told = (done: Done) => {
    const { action, outcome, reason } = done;
    terminal.note(`${SIGNS[action.verb]} ${action.name} ${outcome}${reason && `: ${hide(reason, made.source)}`}`);
  };
  const all = await applyPlan(api, made.plan, { data, tell: told });
  const count = (outcome: Done["outcome"]) => all.filter((one) => one.outcome === outcome).length;
  const { project, unchanged } = made.plan;
  const sums = `${count("done")} done, ${count("failed")} failed, ${count("skipped")} skipped`;
  terminal.result(
    () => ({
      ...{ project, unchanged },
      actions: all.map(({ action: { verb, name }, outcome, reason }) => {
        return { verb, name, outcome, reason: hide(reason, made.source) };
      }),
    }),
    () => `project ${project}: ${sums}, ${unchanged} were as they should be`,
  );
  if (count("done") < all.length) terminal.fail("what is done stays; the same command goes on with the rest");
}

/** Plans, shows, asks, does. Errors: as `planned`; `precondition` and `cancelled` when nobody says yes. */
export async function applySource(api: Api, invocation: Invocation, opened: Opened): Promise<void> {
  const { terminal } = invocation;
  const made = await planned(api, invocation, opened);
  if (!made.plan.actions.length) {
    return terminal.result(
      () => planJson(made),
      () => planText(made),
    );
  }
  terminal.note(planText(made));
  await confirm(invocation, "apply?");
  await carryOut(api, invocation, made, false);
}

/** With `strictly`, exit code 1 when there is something to do. */
export async function plan(invocation: Invocation, strictly: boolean): Promise<void> {
  using api = apiOf(invocation);
  const made = await planned(api, invocation, open(invocation));
  invocation.terminal.result(
    () => planJson(made),
    () => planText(made),
  );
  if (strictly && made.plan.actions.length) {
    invocation.terminal.fail(`the platform is not as ${made.source.file} says`);
  }
}

export async function apply(invocation: Invocation): Promise<void> {
  using api = apiOf(invocation);
  await applySource(api, invocation, open(invocation));
}

export async function destroy(invocation: Invocation): Promise<void> {
  const { terminal, flags } = invocation;
  const { source } = open(invocation);
  const project = typeof source.value.project === "string" ? source.value.project : "";
  refuse(
    source.file,
    placed(source, project ? [] : [{ field: "project", problem: "is not set", fix: "name the project" }]),
  );
  using api = apiOf(invocation);
  const made = { plan: planOf([], await readLive(api), { project, adopt: false }).plan, source };
  if (!made.plan.actions.length) {
    return terminal.result(
      () => planJson(made),
      () => `nothing is kept by project ${project}`,
    );
  }
  terminal.note(planText(made));
  await confirm(invocation, flags.data ? "delete all of this, and the rows of its pipes?" : "delete all of this?");
  await carryOut(api, invocation, made, flags.data === true);
}
