/** The documents that a guest is given with its input: the namespaces that its interface declares, read beforehand. */
import type { Contexts } from "./contexts.ts";
import type { EffectiveGrants } from "./grants.ts";

/** Of all documents of one input. */
const MAX_BYTES = 4 << 20;

export interface ContextInput {
  /** Values by namespace and key. A namespace without documents is there, and empty. */
  readonly context: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Namespaces that are not in it, with the reason: `topology (not granted)`. */
  readonly leftOut: readonly string[];
}

export async function contextFor(
  contexts: Pick<Contexts, "list">,
  grants: Pick<EffectiveGrants, "context">,
  namespaces: readonly string[] = [],
  { resource, onDenied }: { readonly resource: string; readonly onDenied: () => void },
): Promise<ContextInput> {
  const context: Record<string, Readonly<Record<string, unknown>>> = {};
  const leftOut: string[] = [];
  let bytes = 0;
  const granted = namespaces.filter((namespace) => {
    if (grants.context(namespace, true)) return true;
    onDenied();
    leftOut.push(`${namespace} (not granted)`);
    return false;
  });
  const lists = await Promise.all(granted.map((namespace) => contexts.list(resource, namespace)));
  for (const [i, namespace] of granted.entries()) {
    const values = Object.fromEntries((lists[i] ?? []).map(({ key, value }) => [key, value]));
    const more = Buffer.byteLength(JSON.stringify(values));
    if (bytes + more > MAX_BYTES) {
      leftOut.push(`${namespace} (over ${MAX_BYTES} bytes: read it with the host function)`);
      continue;
    }
    bytes += more;
    context[namespace] = values;
  }
  return { context, leftOut };
}
