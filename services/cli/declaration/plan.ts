/** What would have to be done so that the platform is as the file says. Pure. */
import type { Mistake } from "../../kit/fault.ts";
import { collectionOf, type Difference, differences, type Item, type Live, ORDER } from "./item.ts";

export interface Action {
  readonly verb: "create" | "change" | "delete";
  readonly name: string;
  /** Empty for a deletion. */
  readonly differences: readonly Difference[];
  /** Full names of other things that must be there, or for a deletion gone, before. */
  readonly needs: readonly string[];
  readonly item?: Item;
  readonly live?: Live;
}

export interface Plan {
  readonly project: string;
  /** In the order in which they are done. */
  readonly actions: readonly Action[];
  /** Things that are as the file says. */
  readonly unchanged: number;
}

export interface PlanOptions {
  readonly project: string;
  /** Take over what exists and is kept by nobody, or by another project. */
  readonly adopt: boolean;
}

/** With the mistakes that only the platform shows: what is not there, what is somebody else's, what cannot change. */
export function planOf(
  items: readonly Item[],
  live: readonly Live[],
  { project, adopt }: PlanOptions,
): { readonly plan: Plan; readonly mistakes: readonly Mistake[] } {
  const there = new Map(live.map((one) => [one.name, one]));
  const wanted = new Map(items.map((item) => [item.name, item]));
  const mistakes: Mistake[] = [];
  const actions: Action[] = [];
  let unchanged = 0;
  for (const item of inOrder(items)) {
    for (const need of item.needs.filter((name) => !wanted.has(name) && !there.has(name))) {
      const fix = "write it into this file, or make it first";
      mistakes.push({ field: item.field, problem: `${item.name} needs ${need}, which is neither here nor there`, fix });
    }
    const known = there.get(item.name);
    const changes = differences(known?.facets ?? {}, item.facets);
    const needs = item.needs.filter((name) => wanted.has(name));
    if (!known) actions.push({ verb: "create", name: item.name, differences: changes, needs, item });
    else {
      mistakes.push(...clashes(item, known, changes, { project, adopt }));
      if (changes.length === 0) unchanged += 1;
      else actions.push({ verb: "change", name: item.name, differences: changes, needs, item, live: known });
    }
  }
  return { plan: { project, actions: [...actions, ...removals(wanted, live, project)], unchanged }, mistakes };
}

function clashes(item: Item, known: Live, changes: readonly Difference[], { project, adopt }: PlanOptions): Mistake[] {
  const stuck = changes.filter(({ field }) => item.fixed.includes(field));
  const mistakes = stuck.map(({ field, before }) => ({
    field: `${item.field}.${field}`,
    problem: `of ${item.name} is ${JSON.stringify(before)} and cannot be changed`,
    fix: "delete it first, or choose another name",
  }));
  if (known.managedBy === project || adopt || changes.length === 0) return mistakes;
  const keeper = known.managedBy === "" ? "was made by hand" : `is kept by project ${known.managedBy}`;
  const fix = "--adopt takes it over, or choose another name";
  return [...mistakes, { field: item.field, problem: `${item.name} is there already and ${keeper}`, fix }];
}

/** What the project keeps and the file does not name any more, what uses others before these. */
function removals(wanted: ReadonlyMap<string, Item>, live: readonly Live[], project: string): Action[] {
  const gone = live.filter((one) => one.managedBy === project && !wanted.has(one.name) && !isDefault(one, wanted));
  const order = (one: Live) => ORDER.indexOf(collectionOf(one));
  const byName = gone.toSorted((a, b) => order(b) - order(a) || (a.name < b.name ? -1 : 1));
  const sorted = usersFirst(byName);
  return sorted.map((one) => ({
    verb: "delete",
    name: one.name,
    differences: [],
    needs: sorted.filter((other) => uses(other, one)).map(({ name }) => name),
    live: one,
  }));
}

/** What is used by others after these. */
function usersFirst(all: readonly Live[]): Live[] {
  const placed = new Set<Live>();
  const path = new Set<Live>();
  const put = (one: Live) => {
    if (placed.has(one) || path.has(one)) return;
    path.add(one);
    for (const user of all) if (uses(user, one)) put(user);
    path.delete(one);
    placed.add(one);
  };
  for (const one of all) put(one);
  return [...placed];
}

/** The instance that a publication made goes with its plugin, though the file does not name it. */
const isDefault = ({ name, facets }: Live, wanted: ReadonlyMap<string, Item>) =>
  name.startsWith("instances/") && facets.plugin === name.replace("instances/", "plugins/")
    ? wanted.has(String(facets.plugin))
    : false;

/** Whether a deletion has to wait for another one. */
function uses({ facets }: Live, used: Live): boolean {
  if (facets.plugin === used.name || facets.instance === used.name) return true;
  const after = (facets["parameters.after"] ?? []) as readonly string[];
  const refs = Object.values((facets["parameters.refs"] ?? {}) as Readonly<Record<string, string>>);
  const names = [...after.map((id) => `pipes/${id}`), ...refs.map((ref) => ref.split("/").slice(0, 2).join("/"))];
  return names.includes(used.name);
}

/** By collection, and among equals what needs others after these; circles stay as they are written. */
function inOrder(items: readonly Item[]): Item[] {
  const sorted = ORDER.flatMap((collection) => items.filter((item) => collectionOf(item) === collection));
  const byName = new Map(sorted.map((item) => [item.name, item]));
  const placed = new Set<Item>();
  const path = new Set<Item>();
  const put = (item: Item) => {
    if (placed.has(item) || path.has(item)) return;
    path.add(item);
    for (const need of item.needs) {
      const other = byName.get(need);
      if (other) put(other);
    }
    path.delete(item);
    placed.add(item);
  };
  for (const item of sorted) put(item);
  return [...placed];
}
