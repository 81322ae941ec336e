/** Which fields an update changes. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { nameMistakes, nearest, shown } from "./names.ts";

/**
 * The named fields, or without a mask every changeable field that is set. Paths are taken in snake_case and camelCase.
 * Errors: `invalid` with every path that cannot be changed.
 */
export function changedFields(
  mask: readonly string[] | undefined,
  changeable: readonly string[],
  isSet: (path: string) => boolean,
): Set<string> {
  if (!mask?.length) return new Set(changeable.filter(isSet));
  const paths = mask.map((path) => path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  const mistakes = paths
    .filter((path) => !changeable.includes(path))
    .map((path) => {
      const meant = nearest(path, changeable);
      const fix = meant ? `did you mean ${shown(meant)}?` : `one of ${changeable.join(", ")}`;
      return { field: "update_mask", problem: `${shown(path)} cannot be changed`, fix };
    });
  if (mistakes.length) throw Fault.invalid("update_mask", mistakes);
  return new Set(paths);
}

/** `managed_by`: the name of a project, or nobody. */
export const keeperMistakes = (managedBy: string) => (managedBy === "" ? [] : nameMistakes(managedBy, "managed_by"));

const MAX_TAGS = 20;
const MAX_TAG_LENGTH = 100;

export function tagMistakes(tags: readonly string[]): Mistake[] {
  const mistakes: Mistake[] = [];
  if (tags.length > MAX_TAGS)
    mistakes.push({ field: "tags", problem: `has ${tags.length}`, fix: `at most ${MAX_TAGS}` });
  for (const [i, tag] of tags.entries()) {
    if (tag !== "" && tag.length <= MAX_TAG_LENGTH) continue;
    mistakes.push({
      field: `tags[${i}]`,
      problem: `${shown(tag)} is no tag`,
      fix: `1 to ${MAX_TAG_LENGTH} characters`,
    });
  }
  return mistakes;
}

/** Notes that people leave on a state. */
const MAX_NOTE = 500;

export function noteMistakes(note: string) {
  if (note.length <= MAX_NOTE) return [];
  return [{ field: "state_reason", problem: `has ${note.length} characters`, fix: `at most ${MAX_NOTE}` }];
}
