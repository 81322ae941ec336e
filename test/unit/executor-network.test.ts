/** What SNMP and ping answers mean; secrets in what a socket sends. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect, test } from "vitest";
import { parsePrivateHosts } from "../../services/executor/host/address.ts";
import { cannotSend, readEcho } from "../../services/executor/host/ping.ts";
import { openNetwork } from "../../services/executor/host/reach.ts";
import { compareOids } from "../../services/executor/host/snmp.ts";
import { socketCapability } from "../../services/executor/host/socket.ts";
import { HttpBudget } from "../../services/executor/limits.ts";
import { scrubberOf } from "../../services/executor/scrub.ts";
import { Fault } from "../../services/kit/fault.ts";

const IPUTILS = `PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.
64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.031 ms

--- 127.0.0.1 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 1001ms
rtt min/avg/max/mdev = 0.031/0.040/0.049/0.009 ms
`;
const BUSYBOX = `--- 10.0.0.1 ping statistics ---
3 packets transmitted, 2 packets received, 33% packet loss
round-trip min/avg/max = 0.5/0.75/1.0 ms
`;
const SILENCE = `--- 10.0.0.1 ping statistics ---
2 packets transmitted, 0 received, 100% packet loss, time 1009ms
`;

test.each([
  ["iputils", IPUTILS, { reachable: true, sent: 2, received: 2, min_ms: 0.031, avg_ms: 0.04, max_ms: 0.049 }],
  ["BusyBox", BUSYBOX, { reachable: true, sent: 3, received: 2, min_ms: 0.5, avg_ms: 0.75, max_ms: 1 }],
  ["silence", SILENCE, { reachable: false, sent: 2, received: 0, reason: "timeout" }],
])("what ping of %s prints", (_, said, expected) => expect(readEcho(said)).toEqual(expected));

test("a ping that may not send is refused with its own words and what to do", () => {
  expect(cannotSend("ping: socktype: SOCK_RAW\nping: socket: Operation not permitted\n")).toMatchObject({
    ...{ code: "unimplemented", message: expect.stringMatching(/\(ping: socktype: SOCK_RAW\): .*net_raw/) },
  });
});

test.each([
  ["1.3.6", "1.3.6.1", -1],
  ["1.3.6.2", "1.3.6.10", -1],
  ["1.3.6.10", "1.3.6.2", 1],
  ["1.3.6", "1.3.6", 0],
])("%s before %s: %i", (a, b, sign) => expect(Math.sign(compareOids(a, b))).toBe(sign));

test("a secret goes out in the place of its name, only where it may, and does not come back", async () => {
  const heard: string[] = [];
  const server = createSocket("udp4", (datagram, from) => {
    heard.push(datagram.toString());
    server.send(datagram, from.port, from.address);
  }).bind(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  let denials = 0;
  const valueFor = (name: string, url: URL) => {
    if (name === "token" && url.host === `127.0.0.1:${port}`) return "very-secret-value";
    throw new Fault("denied", `${name} may not be sent to ${url.host}`);
  };
  const network = openNetwork(parsePrivateHosts(["127.0.0.1"], "hosts"));
  const socket = socketCapability(
    network.of({
      instance: "a",
      grants: { socket: () => true },
      secrets: { valueFor, plainValue: () => "", scrubber: scrubberOf(["very-secret-value"]) },
      onDenied: () => {
        denials += 1;
      },
    }),
  );
  const http = new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 });
  const scope = { signal: new AbortController().signal, remainingMs: () => 5_000, http };
  const say = (send: string) =>
    socket(Buffer.from(JSON.stringify({ proto: "udp", host: "127.0.0.1", port, send })), scope) as Promise<{
      data_base64: string;
    }>;
  const answer = await say("key={{secret:token}}");
  expect(heard).toEqual(["key=very-secret-value"]);
  expect(Buffer.from(answer.data_base64, "base64").toString()).toBe("key=(hidden)");
  await expect(say("{{secret:other}}")).rejects.toMatchObject({ code: "denied" });
  expect([denials, heard.length]).toEqual([1, 1]);
  server.close();
});
