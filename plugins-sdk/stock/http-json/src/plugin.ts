/** Rows from any JSON API, described in the config: requests by window, pages, fields. */
import {
  checkpoint,
  type FetchCall,
  log,
  PluginError,
  type RegisterCall,
  type Row,
  type Value,
} from "@millrace/typescript";
import {
  convert,
  declared,
  type Field,
  type Fields,
  fieldsOf,
  inWindow,
  sourceOf,
  timeOf,
} from "../../source/field.ts";
import { type Found, parsePath, valueAt, valuesAt } from "../../source/path.ts";
import { type Access, sender } from "../../source/request.ts";
import { fill, type Values, windowValues } from "../../source/template.ts";
import { firstPage, type Page, type Paging, pageAfter } from "./paging.ts";

interface Source extends Access {
  readonly url: string;
  readonly method?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly rows?: string;
  readonly columnar?: boolean;
  readonly fields?: Fields;
  readonly time?: string;
  readonly index?: readonly string[];
  readonly paging?: Paging;
  readonly max_pages?: number;
}

interface Config extends Access {
  readonly sources?: Readonly<Record<string, Source>>;
}

const DEFAULT_MAX_PAGES = 10_000;
/** Numbers of as many digits may not fit into a double. */
const LONG_NUMBER = /\d{16}/;

export function register({ pipe, config }: RegisterCall<Config>) {
  const { fields = {}, time, index } = sourceOf(config.sources, pipe.metric);
  return declared(fields, time, index);
}

/** Page by page; a run that was cut off goes on behind the last page that is stored. */
export function* fetch(call: FetchCall<Config, Page>) {
  const { config, pipe, cursor, end } = call;
  const source = sourceOf(config.sources, pipe.metric);
  const { max_pages: maxPages = DEFAULT_MAX_PAGES } = source;
  const send = sender({ ...config, ...source, headers: { ...config.headers, ...source.headers } });
  const values = windowValues(call as FetchCall<never, never>);
  const time = source.time ?? timeOf(source.fields ?? {});
  let dropped = 0;
  for (let page = cursor ?? firstPage(source.paging); ; ) {
    const all = { ...values, ...page.values };
    const request = page.url === undefined ? source : { method: source.method ?? "GET", url: page.url };
    const reply = send(request, all);
    const document = parse(reply.text, reply.url);
    const found = rowsOf(document, source, all);
    const rows = time === undefined ? found : found.filter((row) => inWindow(row[time], call));
    dropped += found.length - rows.length;
    yield rows;
    const next = pageAfter(source.paging, page, { reply, document, rows: found.length });
    if (!next) break;
    if (next.number > maxPages) {
      const fix = "make the window's chunk smaller or max_pages larger";
      throw new PluginError("too_large", `the source has more than ${maxPages} pages; ${fix}`);
    }
    checkpoint(next);
    page = next;
  }
  if (dropped) log.info("rows outside the window were left out", { rows: dropped });
  return { watermark: end };
}

/** JSON with whole numbers of any size kept to the last digit. Errors: `bad_answer`. */
function parse(text: string, url: string): unknown {
  try {
    if (!LONG_NUMBER.test(text)) return JSON.parse(text);
    return JSON.parse(text, function exact(this: unknown, _key: string, value: unknown, context?: { source?: string }) {
      if (typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(context?.source ?? ""))
        return value;
      return BigInt(context?.source as string);
    } as (key: string, value: unknown) => unknown);
  } catch (cause) {
    const shown = text.slice(0, 200);
    throw new PluginError("bad_answer", `${url} did not answer with JSON: ${shown}`, { cause });
  }
}

function rowsOf(document: unknown, source: Source, values: Values): Row[] {
  const { rows: path = "", columnar = false, fields } = source;
  const found = [...valuesAt(parsePath(path), document)];
  const all = columnar ? found.flatMap(columns) : found;
  if (!fields) return all.map(({ value }) => plain(value, path));
  const known = fieldsOf(fields).map((field) => ({
    ...field,
    constant: constantOf(field, values),
    at: parsePath(field.from),
  }));
  return all.map((one) => {
    const row: Record<string, Value> = {};
    for (const field of known) row[field.name] = convert(field.constant ?? valueAt(field.at, one), field);
    return row;
  });
}

const constantOf = ({ value }: Field, values: Values) => (value === undefined ? undefined : fill(value, values));

function plain(value: unknown, path: string): Row {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Row;
  const fix = "name its parts in `fields`, or another path in `rows`";
  throw new PluginError(
    "bad_answer",
    `a row at "${path}" is ${JSON.stringify(value).slice(0, 100)}, not an object; ${fix}`,
  );
}

/** `{"time": [1, 2], "t": [3, 4]}` as rows. Errors: `bad_answer` when the columns differ in length. */
function columns({ value, above }: Found): Found[] {
  const lists = Object.entries(value as object).filter((entry): entry is [string, unknown[]] =>
    Array.isArray(entry[1]),
  );
  const lengths = new Set(lists.map(([, list]) => list.length));
  if (lengths.size > 1)
    throw new PluginError("bad_answer", `the columns ${lists.map(([name]) => name)} differ in length`);
  const [length = 0] = lengths;
  return Array.from({ length }, (_, i) => ({
    value: Object.fromEntries(lists.map(([name, list]) => [name, list[i]])),
    above,
  }));
}
