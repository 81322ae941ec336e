/** Entries of a ledger by their number. */
import { type FetchCall, http } from "@millrace/typescript";

interface Config {
  readonly url: string;
  /** Whether to tell how far the ledger goes. */
  readonly head?: boolean | number;
  /** Whether to give the first thousand, whatever is asked for. */
  readonly deaf?: boolean;
}

interface Page {
  /** Numbers as text: they may be greater than what a double holds. */
  readonly entries: readonly { readonly id: string; readonly value: string }[];
  readonly next: string;
}

export function fetch({ config, range }: FetchCall<Config>) {
  const [from, to] = config.deaf ? [0n, 1000n] : [range.begin, range.end];
  const { entries, next } = http.json<Page>(`${config.url}/entries?from=${from}&to=${to}`);
  const rows = entries.filter(({ id }) => config.deaf || range.has(id)).map(({ id, value }) => ({ id: BigInt(id), value }));
  return { rows, ...(config.head && { watermark: next }) };
}
