/** Pages of a sorted list: a token names the last item that was sent, so items that come or go do not shift pages. */
import { Fault } from "../kit/fault.ts";
import { shown } from "./names.ts";

const DEFAULT_SIZE = 100;
const MAX_SIZE = 1_000;

interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** `order` is the order of the list, by name. Errors: `invalid` for a size below 0 or a token that is not ours. */
export function pageOf<T extends { readonly name: string }>(
  sorted: readonly T[],
  { pageSize, pageToken }: PageRequest,
  order: (a: string, b: string) => number = (a, b) => (a < b ? -1 : a > b ? 1 : 0),
): { readonly items: T[]; readonly nextPageToken: string } {
  if (pageSize < 0) {
    const fix = `0 means ${DEFAULT_SIZE}, at most ${MAX_SIZE} are sent`;
    throw Fault.invalid("page_size", [{ field: "page_size", problem: `${pageSize} is below 0`, fix }]);
  }
  const size = Math.min(pageSize || DEFAULT_SIZE, MAX_SIZE);
  const after = pageToken === "" ? undefined : readToken(pageToken);
  const start = after === undefined ? 0 : sorted.findIndex((item) => order(item.name, after) > 0);
  const items = start < 0 ? [] : sorted.slice(start, start + size);
  const last = items.at(-1);
  const more = last !== undefined && last !== sorted.at(-1);
  return { items, nextPageToken: more ? Buffer.from(`1 ${last.name}`).toString("base64url") : "" };
}

function readToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (text.startsWith("1 ") && Buffer.from(text).toString("base64url") === token) return text.slice(2);
  const fix = "send next_page_token of the page before as it is, or nothing";
  throw Fault.invalid("page_token", [{ field: "page_token", problem: `${shown(token)} is not one of ours`, fix }]);
}
