/** Each helper of the SDK for a host function, tried once. */
import {
  call,
  checkpoint,
  context,
  emit,
  emitCsv,
  http,
  kv,
  log,
  metric,
  PluginError,
  ping,
  progress,
  publish,
  secret,
  sleep,
  snmp,
  socket,
} from "@millrace/typescript";

export interface Places {
  readonly host: string;
  readonly tcp: number;
  readonly udp: number;
  readonly tls: number;
  readonly snmp: number;
  readonly closed: number;
  readonly oid: string;
  readonly table: string;
  readonly url: string;
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return "none";
  } catch (thrown) {
    if (thrown instanceof PluginError) return thrown.code;
    throw thrown;
  }
};

function stored() {
  kv.put("n", { n: 1 }, { ttlMs: 60_000 });
  const found = kv.entry<{ n: number }>("n");
  const revision = found?.revision ?? 0;
  kv.update("n", { n: 2 }, revision, { ttlMs: 60_000 });
  const stale = codeOf(() => kv.update("n", { n: 3 }, revision));
  const taken = codeOf(() => kv.create("n", 4));
  const swapped = kv.get("n");
  kv.delete("n");
  return { value: found?.value, lives: (found?.ttl_ms ?? 0) > 0, swapped, stale, taken, gone: kv.get("n") ?? null };
}

function paged(): string[] {
  for (const n of [1, 2, 3]) kv.create(`a:${n}`, n, { ttlMs: 60_000 });
  const keys: string[] = [];
  for (let after: string | undefined; ; ) {
    const { entries, next } = kv.page("a:", { limit: 2, after });
    keys.push(...entries.map(({ key }) => key));
    if (next === undefined) return keys;
    after = next;
  }
}

export function helpers(at: Places) {
  emit([{ id: 1 }, { id: 2 }]);
  checkpoint({ page: 2 });
  log.warn("with fields", { count: 3, where: "Ålesund" });
  metric("probe.size", 1.5, { type: "counter", time: "2012-01-01T00:00:00Z", dimensions: { unit: "°C" } });
  metric("probe.more", 2);
  publish("alarm.high", { n: 1 });
  sleep(1);
  progress(2, 2, "ferdig ☃");
  const reply = http.post(at.url, { headers: { authorization: `Bearer ${secret.placeholder("token")}` }, body: "hei" });
  return {
    kv: stored(),
    pages: paged(),
    tcp: socket.tcp(at.host, at.tcp, { send: "hello\r\n", expectUntil: "\n" }).text,
    udp: [...socket.udp(at.host, at.udp, { send: Uint8Array.of(0, 255), timeoutMs: 2_000 }).bytes],
    tls: socket.tls(at.host, at.tls, { send: "hi", expectBytes: 2, verify: false }).text,
    there: ping.tcp(at.host, at.tcp).reachable,
    closed: ping.tcp(at.host, at.closed).reason,
    certificate: ping.tls(at.host, at.tls).certificate?.subject,
    snmp: snmp.get(at.host, at.oid, { port: at.snmp, community: "public" })[0]?.value,
    below: snmp.walk(at.host, [at.table], { port: at.snmp }).values.length,
    context: context.get("port", "eth0"),
    writer: context.entry("port", "eth0")?.instance,
    keys: context.list("port", { prefix: "eth" }).map(({ key }) => key),
    nothing: context.get("port", "none") ?? null,
    denied: codeOf(() => context.get("secret", "key", { resource: "oven-2" })),
    call: call("units", "convert", { from: 2 }, { timeoutMs: 5_000 }),
    http: reply.text,
    plain: secret("plain"),
    csv: emitCsv("id,name\n1,å\n2,b\n"),
  };
}
