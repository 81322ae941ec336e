/** What SNMP and ping answers mean: pure tables. */
import { expect, test } from "vitest";
import { readEcho } from "../../services/executor/host/ping.ts";
import { compareOids } from "../../services/executor/host/snmp.ts";

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

test.each([
  ["1.3.6", "1.3.6.1", -1],
  ["1.3.6.2", "1.3.6.10", -1],
  ["1.3.6.10", "1.3.6.2", 1],
  ["1.3.6", "1.3.6", 0],
])("%s before %s: %i", (a, b, sign) => expect(Math.sign(compareOids(a, b))).toBe(sign));
