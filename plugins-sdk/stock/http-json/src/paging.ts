/** The ways in which APIs cut a long answer into pages, each as: values of the first page, and of the one after. */
import { type HttpReply, PluginError } from "@millrace/typescript";
import { parsePath, valueAt } from "../../source/path.ts";
import type { Values } from "../../source/template.ts";

export type Paging =
  | { readonly kind: "cursor"; readonly path: string; readonly more?: string }
  | { readonly kind: "page"; readonly size?: number; readonly first?: number; readonly total_pages?: string }
  | { readonly kind: "offset"; readonly size: number; readonly total?: string }
  | { readonly kind: "link" }
  | { readonly kind: "url"; readonly path: string };

/** What is remembered between two pages: also the cursor of a checkpoint. */
export interface Page {
  readonly number: number;
  readonly values: Values;
  /** The whole address of the page, when the source gives it. */
  readonly url?: string;
}

export interface Answered {
  readonly reply: HttpReply;
  readonly document: unknown;
  /** Rows on the page, before any was dropped. */
  readonly rows: number;
}

const LINK_NEXT = /<([^>]*)>\s*;[^,]*\brel\s*=\s*"?next"?/i;

export function firstPage(paging: Paging | undefined): Page {
  const size = paging && "size" in paging ? paging.size : undefined;
  if (paging?.kind === "page") return { number: 1, values: { page: paging.first ?? 1, size } };
  if (paging?.kind === "offset") return { number: 1, values: { offset: 0, size } };
  return { number: 1, values: paging?.kind === "cursor" ? { cursor: "" } : {} };
}

/** Undefined after the last page. Errors: `bad_answer` when the source sends us back to where we are. */
export function pageAfter(paging: Paging | undefined, page: Page, answered: Answered): Page | undefined {
  const next = paging && steps[paging.kind](paging as never, page, answered);
  if (!next) return undefined;
  if (next.url === page.url && JSON.stringify(next.values) === JSON.stringify(page.values)) {
    throw new PluginError("bad_answer", `page ${page.number} of ${answered.reply.url} names itself as the next one`);
  }
  return { ...next, number: page.number + 1 };
}

type Step<K extends Paging["kind"]> = (
  paging: Extract<Paging, { kind: K }>,
  page: Page,
  answered: Answered,
) => Omit<Page, "number"> | undefined;

const read = (path: string, document: unknown) => valueAt(parsePath(path), { value: document, above: [document] });

const steps: { readonly [K in Paging["kind"]]: Step<K> } = {
  cursor({ path, more }, _page, { document }) {
    if (more !== undefined && !read(more, document)) return undefined;
    const cursor = read(path, document);
    return cursor === undefined || cursor === null || cursor === ""
      ? undefined
      : { values: { cursor: String(cursor) } };
  },
  page({ size, total_pages }, { values, number }, { document, rows }) {
    const total = total_pages === undefined ? undefined : Number(read(total_pages, document));
    const isLast = total === undefined ? rows < (size ?? 1) : !(number < total);
    return isLast ? undefined : { values: { ...values, page: Number(values.page) + 1 } };
  },
  offset({ size, total }, { values }, { document, rows }) {
    const offset = Number(values.offset) + (total === undefined ? size : rows);
    const isLast = total === undefined ? rows < size : rows === 0 || offset >= Number(read(total, document));
    return isLast ? undefined : { values: { ...values, offset } };
  },
  link(_paging, { values }, { reply }) {
    const url = LINK_NEXT.exec(reply.header("link") ?? "")?.[1];
    return url ? { values, url: new URL(url, reply.url).href } : undefined;
  },
  url({ path }, { values }, { reply, document }) {
    const url = read(path, document);
    return typeof url === "string" && url !== "" ? { values, url: new URL(url, reply.url).href } : undefined;
  },
};
