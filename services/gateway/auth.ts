/** Who may call: the bearer token, the Host header, and requests that another web site makes a browser send. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isLoopback, splitAddress } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";

export interface Gate {
  /** Whether a token is asked for at all. */
  readonly closed: boolean;
  /** Whether this Authorization header opens the gate; always true when none is asked for. */
  opens(authorization: string | undefined): boolean;
  /** Errors: `unauthenticated`. */
  check(authorization: string | undefined): void;
}

/** The token is compared by digest in constant time: neither its length nor a common beginning can be measured. */
export function gate(token: string): Gate {
  const wanted = digest(token);
  const opens = (authorization: string | undefined) => {
    if (token === "") return true;
    const given = /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1] ?? "";
    return timingSafeEqual(digest(given), wanted);
  };
  return {
    closed: token !== "",
    opens,
    check(authorization) {
      if (opens(authorization)) return;
      const what = authorization ? "the token is not the right one" : "a token is needed";
      throw new Fault("unauthenticated", `${what}; send "Authorization: Bearer <token>"`);
    },
  };
}

const digest = (text: string) => createHash("sha256").update(text).digest();

/** Errors: `precondition` when others can reach a door and no token keeps them out. */
export function requireToken(token: string, doors: Readonly<Record<string, string>>): void {
  if (token !== "") return;
  for (const [setting, listen] of Object.entries(doors)) {
    if (isLoopback(splitAddress(listen)?.host ?? "")) continue;
    throw new Fault(
      "precondition",
      `${setting}=${listen} is reachable from other machines and MILLRACE_TOKEN is not set; ` +
        "set it to a long random text, or listen on 127.0.0.1",
    );
  }
}

/**
 * On loopback only names of this machine are answered: a web site whose name is made to point at 127.0.0.1 must not
 * speak to us through a browser. Elsewhere every name is answered unless some are configured. Errors: `denied`.
 */
export function hostCheck(listenHost: string, names: readonly string[]): (host: string | undefined) => void {
  const known = new Set(names.map((name) => name.toLowerCase()));
  if (!isLoopback(listenHost) && known.size === 0) return () => {};
  return (header) => {
    const host = (header ?? "").toLowerCase().replace(/:\d{1,5}$/, "");
    const bare = host.replace(/^\[(.*)\]$/, "$1");
    if (known.has(host) || (isLoopback(listenHost) && isLoopback(bare))) return;
    throw new Fault(
      "denied",
      `"${header ?? ""}" is not a name of this gateway; add it to GATEWAY_HOSTS if it should be`,
    );
  };
}

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/** Refuses what a page of another site makes a browser send; other clients send neither header. Errors: `denied`. */
export function refuseCrossSite(method: string, headers: IncomingHttpHeaders): void {
  if (SAFE.has(method)) return;
  const site = headers["sec-fetch-site"];
  const foreign = site !== undefined && site !== "same-origin" && site !== "none";
  const origin = headers.origin;
  if (foreign || (origin !== undefined && hostOf(origin) !== headers.host)) {
    throw new Fault("denied", `a page of ${origin ?? "another site"} may not call this`);
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
