/** The server's own syntax tree of a query (EXPLAIN AST), read back from its text. Pure. */
import { Fault } from "../kit/fault.ts";

export interface SqlNode {
  /** `SelectQuery`, `TableIdentifier`, `Function` … */
  readonly kind: string;
  /** The rest of the line without alias and count: a name, a literal. */
  readonly text: string;
  readonly children: SqlNode[];
}

const LINE = /^( *)(\w+)((?: .*?)??)(?: \(alias .*?\))?(?: \(children (\d+)\))?$/;

/**
 * Errors: `invalid` when the text is not one tree whose nodes have as many children as they say. That count is what
 * keeps a name from forging lines: at every depth there are exactly as many nodes as the depth above declares.
 */
export function readSqlTree(lines: readonly string[]): SqlNode {
  const path: { readonly node: SqlNode; readonly declared: number }[] = [];
  const odd = () => new Fault("invalid", "this SQL cannot be checked: its syntax tree is ambiguous; use plain names");
  let root: SqlNode | undefined;
  const close = (depth: number) => {
    while (path.length > depth) {
      const ended = path.pop();
      if (ended && ended.node.children.length !== ended.declared) throw odd();
    }
  };
  for (const line of lines) {
    const match = LINE.exec(line);
    const depth = match?.[1]?.length ?? 0;
    if (!match || depth > path.length) throw odd();
    close(depth);
    const node: SqlNode = { kind: match[2] as string, text: (match[3] ?? "").trim(), children: [] };
    const parent = path.at(-1);
    if (parent) parent.node.children.push(node);
    else if (root) throw odd();
    root ??= node;
    path.push({ node, declared: Number(match[4] ?? 0) });
  }
  close(0);
  if (!root) throw odd();
  return root;
}

export function* walk(
  node: SqlNode,
  parent?: SqlNode,
): Generator<{ readonly node: SqlNode; readonly parent?: SqlNode }> {
  yield parent ? { node, parent } : { node };
  for (const child of node.children) yield* walk(child, node);
}
