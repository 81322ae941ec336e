/** Commands about the platform as one file says: `plan`, `diff`, `apply`, `destroy`; and what makes such a file. */
import type { Command, Flag } from "./command.ts";

const file: Readonly<Record<string, Flag>> = {
  file: { type: "string", doc: "the file (default: millrace.yaml)" },
};
const adopt: Readonly<Record<string, Flag>> = {
  adopt: { type: "boolean", doc: "take over what was made by hand, or is kept by another project" },
};
const yes: Readonly<Record<string, Flag>> = { yes: { type: "boolean", doc: "do not ask" } };

const verbs = () => import("./declaration/verbs.ts");

export const declarationCommands: readonly Command[] = [
  {
    path: "plan",
    args: "",
    doc: "Tells what apply would do so that the platform is as a file says. Changes nothing.",
    flags: { ...file, ...adopt },
    run: async (invocation) => (await verbs()).plan(invocation, false),
  },
  {
    path: "diff",
    args: "",
    doc: "As plan, with exit code 1 when the platform is not as the file says.",
    flags: { ...file, ...adopt },
    run: async (invocation) => (await verbs()).plan(invocation, true),
  },
  {
    path: "apply",
    args: "",
    doc: "Makes the platform as a file says, and removes what the file does not name any more. Rows stay.",
    flags: { ...file, ...adopt, ...yes },
    run: async (invocation) => (await verbs()).apply(invocation),
  },
  {
    path: "destroy",
    args: "",
    doc: "Deletes everything that apply has made for the project of a file, and nothing else. Rows stay.",
    flags: { ...file, ...yes, data: { type: "boolean", doc: "also the rows of its pipes, for good" } },
    run: async (invocation) => (await verbs()).destroy(invocation),
  },
  {
    path: "import meerschaum",
    args: "<compose-file>",
    doc: "Prints a Meerschaum compose file as a millrace.yaml, and tells what has no counterpart.",
    flags: { apply: { type: "boolean", doc: "also apply it, after asking" }, ...yes, ...adopt },
    run: async (invocation) => (await import("./declaration/import-verb.ts")).importCompose(invocation),
  },
];
