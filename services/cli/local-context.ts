/** Documents about resources on the workbench: what the author gives with the input, and what `enrich` answers. */
import type { Contexts, Document } from "../executor/contexts.ts";
import { namespacesOf, readDocuments } from "../executor/kinds/enrich.ts";
import type { Json } from "./local-input.ts";
import type { LocalPlugin } from "./local-plugin.ts";

const HOUR_MS = 3_600_000;

/** The host function sees what a poll is given: `context` of its input, by namespace and key. */
export function contextsOfInput({ context }: Json): Pick<Contexts, "get" | "list"> {
  const given = (context ?? {}) as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
  const list = async (_: string, namespace: string): Promise<readonly Document[]> =>
    Object.entries(given[namespace] ?? {})
      .map(([key, value]) => ({ key, value, instance: "local", writtenMs: 0, ttlMs: HOUR_MS }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  return {
    list,
    get: async (resource, namespace, key) => (await list(resource, namespace)).find((one) => one.key === key),
  };
}

/** What the platform would not take of the answer of `enrich`; every resource that it names is taken to exist. */
export function documentMistakes({ manifest }: LocalPlugin, answer: unknown): string | undefined {
  const declared = manifest.interfaces?.enrich?.namespaces ?? {};
  const read = readDocuments(answer, namespacesOf(declared), { own: "local", find: (named) => named });
  if (typeof read === "string") return read;
  return read.mistakes.length ? read.mistakes.join("\n") : undefined;
}
