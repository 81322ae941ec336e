/** Full names of the API and the ids in them. */
import { Fault } from "../kit/fault.ts";

/** `runs/a/b` → `a/b`. Errors: `invalid` for a name of another collection. */
export function nameIn(collection: string, field: string, name: string): string {
  const prefix = `${collection}/`;
  if (name.startsWith(prefix) && name.length > prefix.length) return name.slice(prefix.length);
  const mistake = { field, problem: `${JSON.stringify(name)} is not a name`, fix: `write ${prefix}…` };
  throw Fault.invalid("bad name", [mistake]);
}
