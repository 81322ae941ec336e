/** What each export of a plugin is given and may return. */

/** A value as JSON has it. Bigints are written with every digit, dates as RFC 3339. */
export type Value = string | number | bigint | boolean | null | Date | readonly unknown[] | object | undefined;
export type Row = Readonly<Record<string, Value>>;
export type Config = Readonly<Record<string, unknown>>;

export interface Pipe<Parameters = Readonly<Record<string, unknown>>> {
  readonly name: string;
  readonly connector: string;
  readonly metric: string;
  /** "" when the pipe has none. */
  readonly location: string;
  readonly parameters: Parameters;
}

/** Begin inclusive, end exclusive. */
export interface Window {
  readonly begin: Date;
  readonly end: Date;
  /** Milliseconds since the epoch. */
  readonly beginMs: number;
  readonly endMs: number;
  /** The UTC day that the window begins in, as `2012-01-31`. */
  readonly firstDay: string;
  /** The last UTC day that the window touches: for sources that want an inclusive end. */
  readonly lastDay: string;
  /** Whether a time lies inside: milliseconds, a Date or RFC 3339. Drop what a source gives beyond the window. */
  has(time: number | Date | string): boolean;
  /** Every UTC day that the window touches, as `2012-01-31`. */
  days(): Iterable<string>;
}

/** A window of a pipe whose axis is an integer column: exact at any size. Begin inclusive, end exclusive. */
export interface IntegerRange {
  readonly begin: bigint;
  readonly end: bigint;
  /** Whether an integer lies inside; text is read with every digit. Drop what a source gives beyond the window. */
  has(position: bigint | number | string): boolean;
}

export interface FetchCall<C = Config, Cursor = unknown> {
  readonly pipe: Pipe;
  readonly config: C;
  /** RFC 3339, inclusive; on an axis of integers a decimal number. */
  readonly begin: string;
  /** RFC 3339, exclusive; on an axis of integers a decimal number. */
  readonly end: string;
  /** Throws on an axis of integers. */
  readonly window: Window;
  /** Throws on an axis of time. */
  readonly range: IntegerRange;
  /** What the last checkpoint of this run saved, or the `next` of the call before; null at the start. */
  readonly cursor: Cursor | null;
  /** 1 on the first try. For information only. */
  readonly attempt: number;
}

export type FetchStatus = "ok" | "no_data" | "not_modified" | "partial";

export interface FetchAnswer {
  /** An array; or text of the `content_type`. */
  readonly rows?: readonly Row[] | string;
  /**
   * Of `rows` as text: `text/csv` with a header, `application/x-ndjson`, or `application/vnd.apache.arrow.stream` as
   * base64.
   */
  readonly content_type?: string;
  /** There is more in this window: called again with this as `cursor`. */
  readonly next?: unknown;
  /**
   * How far the source is known to be complete: RFC 3339, or the integer behind its last one. On an axis of integers
   * the platform asks for all windows before it at once; without it, for one after another until one is empty.
   */
  readonly watermark?: string | bigint | number;
  readonly status?: FetchStatus;
}

type Later<T> = T | Promise<T>;

/** Rows, an answer, or a generator that yields rows or arrays of rows and may return an answer. */
export type FetchResult =
  // biome-ignore lint/suspicious/noConfusingVoidType: a fetch that emitted all its rows returns nothing
  | Later<readonly Row[] | FetchAnswer | void>
  // biome-ignore lint/suspicious/noConfusingVoidType: a generator that ends without a word returns nothing
  | Generator<Row | readonly Row[], FetchAnswer | void>
  // biome-ignore lint/suspicious/noConfusingVoidType: a generator that ends without a word returns nothing
  | AsyncGenerator<Row | readonly Row[], FetchAnswer | void>;

/** As FetchCall: what a `sync` is asked for. Its rows go by `yield`, `emit` or `emitCsv`. */
export type SyncCall<C = Config, Cursor = unknown> = FetchCall<C, Cursor>;

// biome-ignore lint/suspicious/noConfusingVoidType: a sync that emitted all its rows returns nothing
export type SyncAnswer = { readonly status?: FetchStatus } | void;

export type SyncResult =
  | Later<SyncAnswer>
  | Generator<Row | readonly Row[], SyncAnswer>
  | AsyncGenerator<Row | readonly Row[], SyncAnswer>;

export type BeforeSyncCall<C = Config> = Omit<FetchCall<C>, "cursor">;

/** A text says no, with the reason; nothing lets the window go ahead. */
// biome-ignore lint/suspicious/noConfusingVoidType: most hooks say nothing
export type BeforeSyncResult = Later<string | { readonly veto?: string } | void>;

export interface AfterSyncCall<C = Config> extends BeforeSyncCall<C> {
  /** `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed. */
  readonly outcome: string;
  /** Rows of the window that are seen now. */
  readonly rows: number;
  /** Why it failed, or "". */
  readonly message: string;
  /** Id of the run. */
  readonly run: string;
}

export interface RegisterCall<C = Config> {
  readonly pipe: Pipe;
  readonly config: C;
}

/** Defaults of the pipe: column types are string int64 uint64 float64 bool timestamp date decimal(p,s) uuid json. */
export interface RegisterAnswer {
  readonly columns?: Readonly<Record<string, string>>;
  readonly index?: readonly string[];
  readonly datetime?: string;
  readonly [setting: string]: unknown;
}

export interface Resource {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  /** Where it is: a URL, an address. */
  readonly endpoint: string;
  readonly site?: string;
  readonly class?: string;
  readonly subclass?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface PollCall<C = Config> {
  readonly resource: Resource;
  readonly config: C;
  /** What the poll before answered with. */
  readonly previous: unknown;
  /** Documents about the resource, by namespace and key: of the namespaces that plugin.json lists for `poll`. */
  readonly context: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly attempt: number;
}

/** Values that were measured together. */
export interface MetricGroup {
  readonly group: string;
  /** RFC 3339. Default: the time of the poll. */
  readonly time?: string;
  readonly dimensions?: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, { readonly value: number; readonly type: "gauge" | "counter" }>>;
}

export type PollResult = Later<
  readonly MetricGroup[] | { readonly metrics: readonly MetricGroup[]; readonly status?: "ok" | "partial" }
>;

export interface DiscoverCall<C = Config> {
  readonly config: C;
  readonly site?: string;
}

export interface Discovered extends Omit<Resource, "name"> {
  /** After which a resource that is not seen again is removed: `30d`. */
  readonly ttl?: string;
}

/** An array means that these are all there are. */
export type DiscoverResult = Later<
  readonly Discovered[] | { readonly resources: readonly Discovered[]; readonly complete: boolean }
>;

export interface EnrichCall<C = Config> {
  readonly resource: Resource;
  readonly config: C;
  readonly attempt: number;
}

/** What was found out about a resource. The namespace is declared in plugin.json, with the JSON Schema of `value`. */
export interface ContextDocument {
  readonly namespace: string;
  readonly key: string;
  readonly value: Value;
  /** At most, and by default, the namespace's: `10m`. */
  readonly ttl?: string;
  /** Another resource than that of the call: its name, or its id when the same discovery found it. */
  readonly resource?: string;
}

/** Documents that are not among them stay until their time is over. */
export type EnrichResult = Later<
  readonly ContextDocument[] | { readonly documents: readonly ContextDocument[]; readonly status?: "ok" | "partial" }
>;

export interface RouteCall {
  readonly method: string;
  readonly path: string;
  /** The declared route's `{name}` parts. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string | readonly string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly body_base64?: string;
  text(): string;
  json(): unknown;
  bytes(): Uint8Array;
}

export interface RouteAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text, bytes, or anything else as JSON. */
  readonly body?: unknown;
}

/** Text is sent as text; anything that is no answer is sent as JSON with status 200. */
export type RouteResult = Later<RouteAnswer | string | object>;

/** Functions that other plugins call: `export const functions: Functions = { … }`. */
export type Functions = Readonly<Record<string, (input: never) => unknown>>;

/** A value that goes up and down. */
export const gauge = (value: number) => ({ value, type: "gauge" }) as const;
/** A value that only grows, save for restarts: rates are made of it. */
export const counter = (value: number) => ({ value, type: "counter" }) as const;
