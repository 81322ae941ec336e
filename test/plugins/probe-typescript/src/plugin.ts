/** The probe in TypeScript: what every SDK must be able to do, told by its config. */
import {
  checkpoint,
  counter,
  type DiscoverCall,
  type EnrichCall,
  type EnrichResult,
  type FetchCall,
  gauge,
  hostCall,
  http,
  kv,
  log,
  PluginError,
  type PollCall,
  progress,
  publish,
  type RouteCall,
  secret,
} from "@millrace/typescript";
import { helpers } from "./host-functions.ts";

interface Config {
  readonly mode?: string;
  readonly rows?: number;
  readonly batches?: number;
  readonly url?: string;
}

const BIG = 9_007_199_254_740_993n;

/** Row `i` of `count`, spread evenly over the window. */
function row({ window: { beginMs, endMs } }: FetchCall<Config>, i: number, count: number) {
  const time = new Date(beginMs + ((endMs - beginMs) / count) * i).toISOString().replace(".000", "");
  return { time, id: BIG + BigInt(i), name: `rød grød ☃ 𝄞 "${i}"\n`, value: i / 4, flag: i % 2 === 1 };
}

/** Rows in batches, each followed by a checkpoint that a later attempt starts after. */
function* emitted(run: FetchCall<Config>, count: number) {
  const batches = run.config.batches ?? 1;
  for (let batch = (run.cursor as { batches: number } | null)?.batches ?? 0; batch < batches; batch++) {
    for (let i = (batch * count) / batches; i < ((batch + 1) * count) / batches; i++) yield row(run, i, count);
    checkpoint({ batches: batch + 1 });
    progress(batch + 1, batches, "halvveis ☃");
  }
}

function hosted() {
  const random = crypto.getRandomValues(new Uint8Array(16)).toBase64();
  log.warn("logged: é☃");
  console.log("printed: é☃");
  const put = kv.put("größe", { n: 18_446_744_073_709_551_615n });
  const replies = [
    put,
    kv.entry("größe"),
    hostCall("query", { sql: "SELECT {city:String}", params: { city: "Tromsø" }, max_rows: 10 }),
    { value: secret("token") },
    hostCall("call", { instance: "units", function: "convert", input: { from: 1 } }),
    publish("alarm.high", { "°C": 41.5 }),
  ];
  const last = { now: Date.now(), clock: new Date().getTime() / 1000, random };
  return [...replies.map((ok) => ({ ok })), last];
}

function downloaded({ config }: FetchCall<Config>) {
  const reply = http.post(config.url ?? "", { headers: { "x-probe": "é" }, body: "hei", timeoutMs: 1_500 });
  return [{ status: reply.status, body: reply.text, type: reply.header("Content-Type") }];
}

export function fetch(run: FetchCall<Config>) {
  const { mode = "rows", rows: count = 10 } = run.config;
  switch (mode) {
    case "emit":
      return emitted(run, count);
    case "host":
      return hosted();
    case "http":
      return downloaded(run);
    case "empty":
      return { status: "no_data" };
    case "fail":
      throw new PluginError("asked_to", "failed as asked: é☃");
    case "retry":
      throw new PluginError("busy", "later", { retryable: true, details: { retry_after_ms: 50 } });
    case "crash":
      return (run.cursor as unknown as { no: { such: [] } }).no.such;
    case "page": {
      const page = Number(run.cursor ?? 0);
      return { rows: [row(run, page, 3)], ...(page < 2 && { next: page + 1 }) };
    }
    case "integers": {
      const { begin, end } = run.range;
      const rows = [{ begin: String(begin), end: String(end), has: [begin, end].map((at) => run.range.has(at)) }];
      return { rows, watermark: end + 1n };
    }
    default:
      return { status: "ok", rows: Array.from({ length: count }, (_, i) => row(run, i, count)) };
  }
}

export const register = () => ({
  columns: { time: "timestamp", id: "int64" },
  index: ["time", "id"],
  datetime: "time",
});

export const poll = async ({ resource, previous, context }: PollCall) => ({
  metrics: [
    {
      group: "oven",
      dimensions: { resource: resource.id, unit: (context?.unit?.temperature as string | undefined) ?? "°C" },
      values: { temperature: gauge(21.5), polls: counter(((previous as { polls?: number })?.polls ?? 0) + 1) },
    },
    { group: "door", time: "2012-01-01T00:00:00Z", dimensions: {}, values: { open: gauge(1) } },
  ],
  status: "ok",
});

export function discover({ site }: DiscoverCall) {
  const oven = { type: "oven", endpoint: "http://127.0.0.1/", site, labels: { shelf: "øverst" } };
  return [0, 1].map((i) => ({ id: `oven-${i}`, ...oven }));
}

export async function route(call: RouteCall) {
  if (call.path === "/binary") return { status: 200, body: call.bytes() };
  if (call.path !== "/echo/å") return { status: 404, body: { error: { code: "not_found", message: call.path } } };
  const { q = "none", r = "none" } = call.query;
  const body = { name: call.params.name, q: Array.isArray(q) ? q[0] : q, r, body: call.text() };
  return { status: 201, headers: { "x-probe": "yes" }, body };
}

export const enrich = ({ resource, config }: EnrichCall<{ speed: number }>): EnrichResult => [
  { namespace: "port", key: "ø", value: { speed: config.speed, of: resource.id } },
  { namespace: "note", key: "1", value: "naboen ☃", resource: "oven-2", ttl: "5m" },
];

export const functions = {
  helpers,
  roundtrip: (value: unknown) => value,
  rewrite: (values: readonly (number | string)[]) =>
    values.map((value) => (typeof value === "number" ? value : (rewritten(value) ?? null))),
};

/** JavaScript rolls a 30th of February over; ours refuses it. */
function rewritten(text: string): string | undefined {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return undefined;
  if (!text.includes("T") && !time.toISOString().startsWith(text)) return undefined;
  return time.toISOString().replace(/\.(\d{3})Z$/, (_, ms) => (ms === "000" ? "Z" : `.${ms}000Z`));
}

export { after_sync, before_sync, sync } from "./sync.ts";
