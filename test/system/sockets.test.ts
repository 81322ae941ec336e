/** Sockets, probes and SNMP by a guest against real servers: grants, answers, limits, and that nothing stays open. */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PING_BINARIES } from "../../services/executor/host/ping.ts";
import { type Asked, type Capable, openCapable } from "../harness/capable.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { AGENT_USER, COUNTER_OID, NAME_OID, startSnmpAgent, TABLE_OID } from "../harness/snmp-agent.ts";
import { startTlsServer } from "../harness/tls-server.ts";
import { until } from "../harness/until.ts";

const HOST = "127.0.0.1";
let stack: AsyncDisposableStack;
let at: Capable;
let tlsPort: number;
let snmpPort: number;
let tcpPort: number;
let udpPort: number;
const open = new Set<Socket>();

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  at = stack.use(await openCapable(results, { privateHosts: ["127.0.0.1", "localhost"] }));
  tlsPort = stack.use(await startTlsServer()).port;
  snmpPort = stack.use(await startSnmpAgent()).port;
  tcpPort = await listening(createServer(talk));
  const udp = createSocket("udp4", (datagram, from) => {
    const text = datagram.toString();
    if (text === "silence") return;
    udp.send(text === "twice" ? "one" : text.toUpperCase(), from.port, from.address);
    if (text === "twice") udp.send("two", from.port, from.address);
  }).bind(0, HOST);
  await once(udp, "listening");
  stack.defer(() => void udp.close());
  udpPort = udp.address().port;
}, 60_000);
afterAll(() => stack.disposeAsync());

async function listening(server: Server): Promise<number> {
  server.listen(0, HOST);
  await once(server, "listening");
  stack.defer(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Does what the first line says. */
function talk(socket: Socket): void {
  open.add(socket);
  socket.on("error", () => {}).on("close", () => open.delete(socket));
  socket.on("data", (data) => {
    const [word] = data.toString().split("\n");
    if (word === "hello") socket.write("HELLO\r\nmore");
    if (word === "bye") socket.end("BYE");
    if (word === "drip") {
      const text = "drop by drop.";
      for (const [i, letter] of [...text].entries()) setTimeout(() => socket.write(letter), i);
    }
    if (word === "flood") {
      const pour = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
        if (!socket.destroyed) socket.once("drain", pour);
      };
      pour();
    }
  });
}

const textOf = ({ ok, error }: Asked) =>
  error ? error.code : Buffer.from(String(ok?.data_base64), "base64").toString();
const socket = (request: object, instance = "capable") => at.ask("socket", { host: HOST, ...request }, { instance });

describe("socket", () => {
  const tcp = (send: string, more: object = {}) => socket({ proto: "tcp", port: tcpPort, send, ...more });
  const udp = (send: string, more: object = {}) => socket({ proto: "udp", port: udpPort, send, ...more });

  test("TCP: until the other side closes, until a text, or so many bytes", async () => {
    const bye = await tcp("bye\n");
    expect([textOf(bye), bye.ok?.closed, bye.ok?.bytes]).toEqual(["BYE", true, 3]);
    expect(textOf(await tcp("hello\n", { expect: { until: "\r\n" } }))).toBe("HELLO\r\n");
    expect(textOf(await tcp("hello\n", { expect: { bytes: 4 } }))).toBe("HELL");
    expect(textOf(await tcp("drip\n", { expect: { until: "op." } }))).toBe("drop by drop.");
    expect(textOf(await tcp("hello\n", { expect: { bytes: 0 } }))).toBe("");
  });
  test("UDP: one datagram, or several until it is enough; bytes as they are", async () => {
    expect(textOf(await udp("abc"))).toBe("ABC");
    expect(textOf(await udp("twice", { expect: { bytes: 6 } }))).toBe("onetwo");
    expect(textOf(await udp("silence", { expect: { bytes: 0 } }))).toBe("");
    const bytes = Buffer.from([0x41, 0x00, 0x7f]).toString("base64");
    expect(textOf(await socket({ proto: "udp", port: udpPort, send_base64: bytes }))).toBe("A\0\x7f");
  });
  test("TLS: the certificate must be good, unless it is not asked for", async () => {
    const ask = { proto: "tls", host: "localhost", port: tlsPort, send: "abc" };
    expect((await socket(ask)).error).toMatchObject({ code: "unavailable", message: expect.stringMatching(/self/) });
    expect(textOf(await socket({ ...ask, verify: false }))).toBe("ABC");
  });
  test("what goes wrong is a clear error", async () => {
    const closed = await freePort();
    expect(textOf(await tcp("wait\n", { timeout_ms: 100 }))).toBe("deadline");
    expect(textOf(await udp("silence", { timeout_ms: 100 }))).toBe("deadline");
    expect(textOf(await tcp("bye\n", { expect: { bytes: 10 } }))).toBe("unavailable");
    expect(textOf(await socket({ proto: "tcp", port: closed, send: "x" }))).toBe("unavailable");
    expect(textOf(await socket({ proto: "udp", port: closed, send: "x" }))).toBe("unavailable");
    expect(textOf(await tcp("flood\n"))).toBe("too_large");
    expect(textOf(await tcp("flood\n", { expect: { until: "never" } }))).toBe("too_large");
  });
  test("every mistake of a request is named", async () => {
    const { error } = await at.ask("socket", { proto: "icmp", host: "a b", port: 0, expect: { bytes: -1, until: "" } });
    expect(error?.code).toBe("invalid");
    for (const field of ["proto", "expect.bytes", "expect.until"]) expect(error?.message).toContain(field);
    const target = await at.ask("socket", { proto: "tcp", host: "a b", port: 0, timeout_ms: 0 });
    for (const field of ["host", "port", "timeout_ms"]) expect(target.error?.message).toContain(field);
  });
  test("only what is granted and open to guests, and each refusal is counted", async () => {
    await at.instance("narrow", { sockets: [`tcp://${HOST}:${tcpPort}`, "udp://10.0.0.0/8:*"] });
    const of = async (request: object) => textOf(await socket(request, "narrow"));
    expect(await of({ proto: "tcp", port: tcpPort, send: "bye\n" })).toBe("BYE");
    expect(await of({ proto: "tls", port: tcpPort })).toBe("denied");
    expect(await of({ proto: "tcp", port: udpPort })).toBe("denied");
    expect(await of({ proto: "tcp", host: "localhost", port: tcpPort })).toBe("denied");
    // The operator allows it, the manifest does not ask for it.
    expect(await of({ proto: "udp", host: "10.0.0.1", port: 161 })).toBe("denied");
    await at.instance("none", {});
    expect(textOf(await socket({ proto: "tcp", port: tcpPort }, "none"))).toBe("denied");
  });
  test("a guest that is gone leaves no connection", async () => {
    const before = open.size;
    const stop = new AbortController();
    const request = { proto: "tcp", host: HOST, port: tcpPort, send: "wait\n", timeout_ms: 60_000 };
    const going = fetch(`${at.url}/v1/instances/capable/functions/ask:call`, {
      ...{ method: "POST", headers: { "content-type": "application/json" }, signal: stop.signal },
      body: JSON.stringify({ name: "socket", request }),
    }).catch(() => {});
    await until("it is connected", () => open.size === before + 1);
    stop.abort();
    await going;
    await until("it is closed", () => open.size === before);
  });
});

describe("address screen", () => {
  test("a private address that the operator did not open is refused, whatever it is called", async () => {
    const results = await openTestResults(stack.use(await startTestClickHouse()));
    await using _results = results;
    await using closed = await openCapable(results, { privateHosts: [] });
    for (const host of [HOST, "0x7f.1", "2130706433", "localhost"]) {
      const { error } = await closed.ask("socket", { proto: "tls", host, port: tcpPort });
      expect([host, error?.code]).toEqual([host, "denied"]);
      const probe = await closed.ask("ping", { kind: "tls", host, port: tcpPort });
      expect([host, probe.error?.code]).toEqual([host, "denied"]);
    }
    expect((await closed.ask("snmp", { host: HOST, oids: [`${NAME_OID}.0`] })).error?.code).toBe("denied");
  }, 60_000);
});

describe("ping", () => {
  const ping = (request: object) => at.ask("ping", { host: HOST, ...request });
  test("TCP: there or not", async () => {
    expect((await ping({ port: tcpPort })).ok).toMatchObject({ reachable: true, address: HOST });
    expect((await ping({ port: await freePort() })).ok).toMatchObject({ reachable: false, reason: "unavailable" });
  });
  test("TLS: what the certificate says, trusted or not", async () => {
    const { ok } = await ping({ kind: "tls", host: "localhost", port: tlsPort });
    expect(ok).toMatchObject({ reachable: true, protocol: "TLSv1.3" });
    expect(ok?.certificate).toMatchObject({
      ...{ trusted: false, problem: "DEPTH_ZERO_SELF_SIGNED_CERT", subject: "localhost" },
      ...{ names: ["DNS:localhost", "IP Address:127.0.0.1"], days_left: expect.any(Number) },
    });
    const silent = await ping({ kind: "tls", port: tcpPort, timeout_ms: 200 });
    expect(silent.ok).toMatchObject({ reachable: false, reason: "timeout" });
  });
  const systemPing = PING_BINARIES.find((path) => existsSync(path));
  test.skipIf(!systemPing)("ICMP by the system's ping (skipped where there is none)", async () => {
    const { ok, error } = await ping({ kind: "icmp", timeout_ms: 3_000 });
    // A container may have it, and no right to send.
    if (error) expect(error).toMatchObject({ code: "unimplemented", message: expect.stringContaining("net_raw") });
    else expect(ok).toMatchObject({ reachable: true, sent: 1, received: 1, address: HOST });
  });
  test.skipIf(systemPing)("ICMP without a ping of the system is refused, with what to do", async () => {
    const { error } = await ping({ kind: "icmp", timeout_ms: 3_000 });
    expect(error).toMatchObject({ code: "unimplemented", message: expect.stringContaining("ask with kind tcp") });
  });
  test("not granted is an error, not an answer", async () => {
    expect((await ping({ host: "example.org", port: 80 })).error?.code).toBe("denied");
    expect((await ping({ kind: "arp" })).error?.code).toBe("invalid");
  });
});

describe("snmp", () => {
  const ask = (request: object) => at.ask("snmp", { host: HOST, port: snmpPort, timeout_ms: 2_000, ...request });
  const user = { ...AGENT_USER, auth_protocol: "sha256", priv_protocol: "aes" };
  test("v2c: values with their types, nothing lost", async () => {
    const { ok } = await ask({ oids: [`${NAME_OID}.0`, `${COUNTER_OID}.0`, "1.3.6.1.2.1.99.0"] });
    expect(ok?.values).toEqual([
      { oid: `${NAME_OID}.0`, type: "OctetString", value: "oven ☃" },
      { oid: `${COUNTER_OID}.0`, type: "Counter64", value: "9007199254740993" },
      { oid: "1.3.6.1.2.1.99.0", type: expect.stringMatching(/NoSuch/), value: null },
    ]);
  });
  test("a bulk walk gives a whole subtree, or as much as was asked for", async () => {
    const { ok } = await ask({ op: "walk", oids: [TABLE_OID], max_repetitions: 3 });
    const values = ok?.values as { oid: string; value: unknown }[];
    expect(values.length).toBe(8);
    expect(values.at(-1)).toMatchObject({ oid: `${TABLE_OID}.2.4`, value: "row 4" });
    expect((await ask({ op: "walk", oids: [TABLE_OID], max_values: 5 })).ok).toMatchObject({ truncated: true });
  });
  test("v3 with authentication and encryption; a wrong key is refused", async () => {
    const oids = [`${NAME_OID}.0`];
    const { ok } = await ask({ version: "3", user, oids });
    expect(ok?.values).toMatchObject([{ value: "oven ☃" }]);
    const wrong = await ask({ version: "3", user: { ...user, auth_key: "another-key" }, oids, timeout_ms: 500 });
    expect(["deadline", "unavailable"]).toContain(wrong.error?.code);
  });
  test("a community that is not known is silence, and silence is a deadline", async () => {
    const { error } = await ask({ community: "private", oids: [`${NAME_OID}.0`], timeout_ms: 300 });
    expect(error?.code).toBe("deadline");
  });
  test("what answers no SNMP does not harm", async () => {
    const { error } = await ask({ port: udpPort, oids: [`${NAME_OID}.0`], timeout_ms: 500 });
    expect(["deadline", "unavailable"]).toContain(error?.code);
  });
  test("every mistake is named", async () => {
    const { error } = await ask({ op: "set", version: "1", oids: ["x"], retries: 99 });
    for (const field of ["op", "version", "oids[0]", "retries"]) expect(error?.message).toContain(field);
    const v3 = await ask({ version: 3, oids: ["1.3"], user: { name: "x", priv_key: "short" } });
    for (const field of ["user.priv_key", "user.auth_key"]) expect(v3.error?.message).toContain(field);
  });
});

test("the SDK's typed helpers say the same", async () => {
  const { body } = await at.call("typed", { tcp: tcpPort, udp: udpPort, snmp: snmpPort, oid: `${NAME_OID}.0` });
  expect(body.output).toEqual({ udp: "ABC", tcp: "HELLO\r\n", reachable: true, name: "oven ☃", echo: 7 });
});

test("no descriptor stays open, however the calls ended", async () => {
  const requests: [string, object][] = [
    ["socket", { proto: "tcp", host: HOST, port: tcpPort, send: "bye\n" }],
    ["socket", { proto: "tcp", host: HOST, port: tcpPort, send: "wait\n", timeout_ms: 20 }],
    ["socket", { proto: "udp", host: HOST, port: udpPort, send: "silence", timeout_ms: 20 }],
    ["socket", { proto: "tls", host: HOST, port: tlsPort, send: "x" }],
    ["ping", { kind: "tls", host: HOST, port: tlsPort }],
    ["snmp", { host: HOST, port: udpPort, oids: ["1.3.6.1"], timeout_ms: 20 }],
  ];
  const round = async () => {
    for (const [name, request] of requests) await at.ask(name, request);
  };
  await round();
  const descriptors = () => readdirSync("/proc/self/fd").length;
  await until("the server's ends are closed", () => open.size === 0);
  const before = descriptors();
  for (let i = 0; i < 10; i += 1) await round();
  await until("as many as before", () => descriptors() <= before + 2);
}, 30_000);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
