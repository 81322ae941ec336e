/** Everything the TypeScript SDK offers, an export for each thing that tests look at. */
import {
  call as callFunction,
  checkpoint,
  counter,
  type DiscoverCall,
  emit,
  type FetchCall,
  type Functions,
  gauge,
  http,
  kv,
  log,
  PluginError,
  type PollCall,
  publish,
  query,
  type RegisterCall,
  type RouteCall,
  secret,
} from "@millrace/typescript";
import { fail } from "./deep.ts";

const startedAt = new Date();
const builtWith = Math.random();

export function* fetch(call: FetchCall<{ count?: number }>) {
  const count = call.config.count ?? 3;
  for (let n = Number(call.cursor ?? 0); n < count; n++) {
    yield { time: new Date(call.window.beginMs + n * 1000), n, tag: "é☃𝄞", big: 9_007_199_254_740_993n };
    if (n % 10 === 9) checkpoint(n + 1);
  }
  return { watermark: call.end };
}

export const register = ({ pipe }: RegisterCall) => ({ columns: { time: "timestamp" }, metric: pipe.metric });

export async function poll({ resource, previous }: PollCall) {
  const reply = await http.get(resource.endpoint);
  return [
    { group: "reply", dimensions: { id: resource.id }, values: { ms: gauge(reply.elapsedMs), n: counter(1) }, previous },
  ];
}

export const discover = ({ site }: DiscoverCall) => [{ id: "a", type: "web", endpoint: "http://a/", site }];

export function route(call: RouteCall) {
  if (call.params.name === "bytes") return { status: 201, body: call.bytes() };
  if (call.params.name === "text") return "é☃";
  return { status: 200, headers: { "x-a": "b" }, body: { path: call.path, said: call.text() } };
}

export const functions: Functions = { double: (input: { n: number }) => ({ n: input.n * 2 }) };

export const roundtrip = (value: unknown) => value;

export function rows({ count }: { count: number }) {
  const made = [];
  for (let n = 0; n < count; n++) made.push({ time: "2012-01-01T00:00:00Z", city: "Zürich", n, value: n * 1.5 });
  return { rows: made };
}

export function emitting({ count }: { count: number }) {
  for (let n = 0; n < count; n++) emit({ time: "2012-01-01T00:00:00Z", city: "Zürich", n, value: n * 1.5 });
  return {};
}

export const frozen = () => ({
  startedAt,
  now: Date.now(),
  fresh: new Date(),
  random: Math.random(),
  builtWith,
  uuid: crypto.randomUUID(),
});

export function hosts() {
  log.info("hello", { n: 1 });
  console.warn("é", { a: [1, 2n, new Map([[1, 2]])] }, null, new Date(0));
  const revision = kv.put("k", { a: 1 });
  publish("done.now", { n: 1 });
  return {
    revision,
    kv: kv.get("missing") ?? "none",
    secret: secret("token"),
    placeholder: secret.placeholder("token"),
    rows: query("SELECT 1", { params: { a: "b" }, maxRows: 5 }),
    called: callFunction("other", "double", { n: 2 }),
  };
}

export async function web({ url }: { url: string }) {
  const answer = await globalThis.fetch(url, { method: "POST", body: new URLSearchParams({ a: "é b" }), headers: { A: "b" } });
  return { ok: answer.ok, status: answer.status, type: answer.headers.get("Content-Type"), json: await answer.json() };
}

export function platform() {
  const url = new URL("../x y?a=1&b=%20#h", "HTTPS://User:pw@Example.ORG:443/a/b/c?q");
  url.searchParams.append("ü", "1&2");
  const bytes = new TextEncoder().encode("é☃𝄞\ud800");
  const original = { a: [1, new Date(0), new Map([["k", new Set([1])]])], self: null as unknown };
  original.self = original;
  const copy = structuredClone(original);
  return {
    href: url.href,
    parts: [url.origin, url.hostname, url.port, url.pathname, url.search, url.hash, url.username],
    bytes: [...bytes],
    text: new TextDecoder().decode(bytes),
    cloned: copy.self === copy && copy.a[2] instanceof Map && copy !== original,
    base64: btoa("abc") + atob("YWJj"),
    grouped: Object.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")),
    named: "2012-01".match(/(?<year>\d+)/)?.groups?.year,
  };
}

export const throwing = () => fail("é");
export async function rejecting() {
  await null;
  throw new PluginError("busy", "later", { retryable: true, details: { retry_after_ms: 5 } });
}
export const denied = () => http.get("http://nowhere.example/");
export const never = () => new Promise(() => {});
export const thrownText = () => {
  throw "text";
};
export const recursing = (): number => recursing() + 1;
export function* endless() {
  yield 1;
}

export async function timers() {
  const order: string[] = [];
  await new Promise<void>((done) => {
    setTimeout(() => order.push("second"), 20);
    setTimeout(() => order.push("first"), 5);
    setTimeout(done, 30);
    queueMicrotask(() => order.push("micro"));
  });
  return order;
}
export { after_sync, before_sync, sync } from "./window.ts";
