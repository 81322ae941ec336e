/** Which network addresses a guest may be connected to: public ones, and private ones that the operator names. */
import { BlockList, isIP } from "node:net";
import { Fault, type Mistake } from "../../kit/fault.ts";

/** Everything that is not plainly the public internet (IANA special-purpose registries). */
const CLOSED_V4 = [
  "0.0.0.0/8", // this network
  "10.0.0.0/8",
  "100.64.0.0/10", // carrier-grade NAT; also a cloud's metadata at 100.100.100.200
  "127.0.0.0/8",
  "169.254.0.0/16", // link-local; metadata of most clouds
  "172.16.0.0/12",
  "192.0.0.0/24", // protocol assignments; metadata at 192.0.0.192
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved and broadcast
  "168.63.129.16/32", // a cloud's host agent
];
/** Of IPv6 only 2000::/3 is public; inside it these are not. */
const PUBLIC_V6 = "2000::/3";
const CLOSED_V6 = [
  "2001::/23", // Teredo and protocol assignments
  "2001:db8::/32",
  "2002::/16", // 6to4: may wrap a private IPv4 address
  "3fff::/20",
];
/** NAT64: the last 32 bits are the IPv4 address that is reached. */
const NAT64_PREFIX = "64:ff9b::";

const closed = new BlockList();
for (const cidr of CLOSED_V4) add(closed, cidr);
const closedV6 = new BlockList();
for (const cidr of CLOSED_V6) add(closedV6, cidr);
const publicV6 = new BlockList();
add(publicV6, PUBLIC_V6);

/** Why a guest may not be connected to this address; undefined when it may. */
export function closedReason(address: string): string | undefined {
  const plain = embeddedV4(address) ?? address.replace(/%.*$/, "");
  const family = isIP(plain);
  if (family === 4) return closed.check(plain, "ipv4") ? `${address} is not a public address` : undefined;
  if (family !== 6) return `${JSON.stringify(address)} is not an address`;
  const open = publicV6.check(plain, "ipv6") && !closedV6.check(plain, "ipv6");
  return open ? undefined : `${address} is not a public address`;
}

/** The IPv4 address inside `::ffff:1.2.3.4`, `::1.2.3.4` and `64:ff9b::1.2.3.4`, in whatever writing. */
function embeddedV4(address: string): string | undefined {
  const bare = address.replace(/%.*$/, "");
  if (isIP(bare) !== 6) return undefined;
  // The URL parser writes every IPv6 address in its one short hex form.
  const short = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
  const prefix = ["::ffff:", NAT64_PREFIX, "::"].find((p) => short.startsWith(p));
  if (prefix === undefined) return undefined;
  const match = /^(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/.exec(short.slice(prefix.length));
  if (!match || short === "::1") return undefined;
  const high = Number.parseInt(match[1] ?? "0", 16);
  const low = Number.parseInt(match[2] ?? "0", 16);
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The operator's exceptions. */
export interface PrivateHosts {
  /** Whether the host was named, so that whatever it resolves to is fine. */
  hasName(hostname: string, port: number): boolean;
  hasAddress(address: string, port: number): boolean;
}

/** Entries: `host`, `host:port`, `[v6]:port`, an address, or a CIDR range. Errors: `invalid`, naming every bad one. */
export function parsePrivateHosts(entries: readonly string[], field: string): PrivateHosts {
  const names = new Set<string>();
  const ranges = new BlockList();
  const mistakes: Mistake[] = [];
  for (const entry of entries) {
    if (entry.includes("/")) {
      if (add(ranges, entry)) continue;
    } else if (isIP(entry)) {
      ranges.addAddress(entry, isIP(entry) === 6 ? "ipv6" : "ipv4");
      continue;
    } else {
      const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]@?#]+)(?::(\d{1,5}))?$/.exec(entry);
      const url = match && URL.canParse(`http://${match[1]}/`) ? new URL(`http://${match[1]}/`) : undefined;
      if (match && url && Number(match[2] ?? 0) <= 65_535) {
        names.add(match[2] === undefined ? url.hostname : `${url.hostname}:${match[2]}`);
        continue;
      }
    }
    const problem = `${JSON.stringify(entry)} is neither host, host:port nor CIDR range`;
    mistakes.push({ field, problem, fix: "write localhost, 127.0.0.1:8080 or 10.1.0.0/16" });
  }
  if (mistakes.length) throw Fault.invalid("private hosts", mistakes);
  const named = (host: string, port: number) => names.has(host) || names.has(`${host}:${port}`);
  return {
    hasName: named,
    hasAddress(address, port) {
      const plain = embeddedV4(address) ?? address.replace(/%.*$/, "");
      const family = isIP(plain) === 6 ? "ipv6" : "ipv4";
      return named(family === "ipv6" ? `[${plain}]` : plain, port) || ranges.check(plain, family);
    },
  };
}

/** Whether it was a range. */
function add(list: BlockList, cidr: string): boolean {
  const [network = "", bits = ""] = cidr.split("/");
  const family = isIP(network);
  if (!family || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 6 ? 128 : 32)) return false;
  list.addSubnet(network, Number(bits), family === 6 ? "ipv6" : "ipv4");
  return true;
}
