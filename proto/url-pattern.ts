/** Which URLs a permission means: `scheme://host[:port]/path-glob`, matched on the URL as the parser normalises it. */

export interface UrlPattern {
  /** As it was written. */
  readonly text: string;
  readonly methods: readonly string[];
  matches(url: URL, method: string): boolean;
}

const PATTERN =
  /^(https?):\/\/(\[[0-9a-fA-F:.]+\]|\*(?:\.[^/:*?#@\s]+)?|[^/:*?#@\s[\]]+)(?::(\*|\d{1,5}))?(\/[^?#\s]*)?$/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };
const DEFAULT_METHODS: readonly string[] = ["GET", "HEAD"];
/** A slash that only some servers see: `/v1/..%2fadmin` would leave `/v1/*`. */
const HIDDEN_SLASH = /%2f|%5c/i;

/** Undefined when it is not a pattern. A host `*` is any host, `*.x.org` any below x.org; no path means only `/`. */
export function parseUrlPattern(text: string, methods: readonly string[]): UrlPattern | undefined {
  const match = PATTERN.exec(text);
  if (!match) return undefined;
  const [, scheme = "", host = "", port = DEFAULT_PORTS[scheme], path = "/"] = match;
  const fitsHost = hostTest(scheme, host);
  if (!fitsHost) return undefined;
  const allowed = methods.length ? methods.map((method) => method.toUpperCase()) : DEFAULT_METHODS;
  const fitsPath = pathTest(path);
  return {
    text,
    methods: allowed,
    matches(url, method) {
      if (url.protocol !== `${scheme}:` || url.username !== "" || url.password !== "") return false;
      if (port !== "*" && (url.port || DEFAULT_PORTS[scheme]) !== port) return false;
      return allowed.includes(method) && fitsHost(bareHost(url.hostname)) && fitsPath(url.pathname);
    },
  };
}

/** A final dot names the same host. */
const bareHost = (hostname: string) => hostname.replace(/\.$/, "");

function hostTest(scheme: string, host: string): ((hostname: string) => boolean) | undefined {
  if (host === "*") return () => true;
  const suffix = host.startsWith("*.") ? host.slice(2) : undefined;
  const probe = `${scheme}://${suffix ?? host}/`;
  // The parser writes names in lower case and punycode, and addresses in one form: 0x7f.1 is 127.0.0.1.
  if (!URL.canParse(probe)) return undefined;
  const wanted = bareHost(new URL(probe).hostname);
  return suffix === undefined ? (hostname) => hostname === wanted : (hostname) => hostname.endsWith(`.${wanted}`);
}

/** `*` stands for any text, slashes too. The query of the URL is not looked at. */
function pathTest(glob: string): (pathname: string) => boolean {
  if (glob === "/*") return () => true;
  const quoted = glob.split("*").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  const pattern = new RegExp(`^${quoted.join(".*")}$`, "s");
  return (pathname) => pattern.test(pathname) && !HIDDEN_SLASH.test(pathname);
}
