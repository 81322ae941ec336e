/** URL and URLSearchParams for what plugins fetch: http, https, ws, wss and ftp in full, other schemes unparsed. */

const DEFAULT_PORTS = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21" };
const ABSOLUTE = /^([a-z][a-z0-9+.-]*:)(.*)$/is;
const HOST = /^(?:\[[0-9a-f:.]+\]|[^\s#%/:<>?@[\\\]^|]+)$/i;

/** Percent-encodes what may not stand there; what is encoded already stays. */
const escaped = (text, forbidden) =>
  text.replace(forbidden, (found) => encodeURIComponent(found.toWellFormed()).replace(/[!'()*]/g, percent));
const percent = (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
const IN_OPAQUE = /\p{Cc}|[^\0-\x7f]+/gu;
const IN_PATH = /[\0-\x20"#<>?^`{}\x7f]|[^\0-\x7f]+/g;
const IN_QUERY = /[\0-\x20"#'<>\x7f]|[^\0-\x7f]+/g;
const IN_HASH = /[\0-\x20"<>`\x7f]|[^\0-\x7f]+/g;
const IN_USER = /[\0-\x20"#/:;<=>?@[\\\]^`{|}\x7f]|[^\0-\x7f]+/g;

class URL {
  #scheme = "";
  #user = "";
  #password = "";
  #host = "";
  #port = "";
  #path = "";
  #query = "";
  #hash = "";
  #params;

  constructor(url, base) {
    const text = String(url)
      .trim()
      .replace(/[\t\n\r]/g, "");
    const absolute = ABSOLUTE.exec(text);
    if (absolute) this.#readAbsolute(absolute[1].toLowerCase(), absolute[2], text);
    else if (base === undefined) throw new TypeError(`Invalid URL: ${text}`);
    else this.#readRelative(text, new URL(base));
    this.#params = new URLSearchParams(this.#query.slice(1));
    this.#params[WATCH] = (query) => {
      this.#query = query && `?${query}`;
    };
  }

  static canParse(url, base) {
    return URL.parse(url, base) !== null;
  }
  static parse(url, base) {
    try {
      return new URL(url, base);
    } catch {
      return null;
    }
  }

  #readAbsolute(scheme, rest, text) {
    this.#scheme = scheme;
    const [, before, query = "", hash = ""] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(rest);
    this.#query = cleanQuery(query);
    this.#hash = cleanHash(hash);
    if (!(scheme in DEFAULT_PORTS)) {
      this.#path = escaped(before, IN_OPAQUE);
      return;
    }
    const [, authority, path] = /^[\\/]*([^\\/]*)(.*)$/s.exec(before);
    const at = authority.lastIndexOf("@");
    if (at >= 0) {
      const [user, ...password] = authority.slice(0, at).split(":");
      this.#user = escaped(user, IN_USER);
      this.#password = escaped(password.join(":"), IN_USER);
    }
    const [, host = "", port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority.slice(at + 1)) ?? [];
    if (!HOST.test(host) || Number(port ?? 0) > 65_535) throw new TypeError(`Invalid URL: ${text}`);
    if (/[^\0-\x7f]/.test(host)) throw new TypeError(`Invalid URL: ${text}: write the host in punycode (xn--…)`);
    this.#host = host.toLowerCase();
    this.#setPort(port ?? "");
    this.#path = cleanPath(path);
  }

  #readRelative(text, base) {
    if (!(base.protocol in DEFAULT_PORTS)) throw new TypeError(`Invalid URL: ${text} with base ${base.href}`);
    if (/^[\\/]{2}/.test(text)) {
      this.#readAbsolute(base.protocol, text, text);
      return;
    }
    this.#scheme = base.#scheme;
    this.#user = base.#user;
    this.#password = base.#password;
    this.#host = base.#host;
    this.#port = base.#port;
    const [, path, query, hash = ""] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(text);
    this.#hash = cleanHash(hash);
    this.#query = query === undefined ? (path ? "" : base.#query) : cleanQuery(query);
    if (!path) this.#path = base.#path;
    else if (/^[\\/]/.test(path)) this.#path = cleanPath(path);
    else this.#path = cleanPath(base.#path.replace(/[^/]*$/, "") + path);
  }

  #setPort(port) {
    const number = port === "" ? "" : String(Number(port));
    this.#port = number === DEFAULT_PORTS[this.#scheme] ? "" : number;
  }

  get href() {
    if (!(this.#scheme in DEFAULT_PORTS)) return this.#scheme + this.#path + this.search + this.hash;
    const secret = this.#password && `:${this.#password}`;
    const user = this.#user || this.#password ? `${this.#user}${secret}@` : "";
    return `${this.#scheme}//${user}${this.host}${this.#path}${this.search}${this.hash}`;
  }
  get origin() {
    return this.#scheme in DEFAULT_PORTS ? `${this.#scheme}//${this.host}` : "null";
  }
  get protocol() {
    return this.#scheme;
  }
  set protocol(value) {
    const scheme = `${String(value).replace(/:.*$/s, "").toLowerCase()}:`;
    if (!(scheme in DEFAULT_PORTS) || !(this.#scheme in DEFAULT_PORTS)) return;
    this.#scheme = scheme;
    this.#setPort(this.#port);
  }
  get username() {
    return this.#user;
  }
  set username(value) {
    this.#user = escaped(String(value), IN_USER);
  }
  get password() {
    return this.#password;
  }
  set password(value) {
    this.#password = escaped(String(value), IN_USER);
  }
  get host() {
    return this.#host + (this.#port && `:${this.#port}`);
  }
  set host(value) {
    const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(String(value)) ?? [];
    if (host && HOST.test(host)) this.#host = host.toLowerCase();
    if (port !== undefined) this.#setPort(port);
  }
  get hostname() {
    return this.#host;
  }
  set hostname(value) {
    if (HOST.test(String(value))) this.#host = String(value).toLowerCase();
  }
  get port() {
    return this.#port;
  }
  set port(value) {
    if (/^\d*$/.test(String(value)) && Number(value) <= 65_535) this.#setPort(String(value));
  }
  get pathname() {
    return this.#path;
  }
  set pathname(value) {
    this.#path = cleanPath(String(value));
  }
  get search() {
    return this.#query === "?" ? "" : this.#query;
  }
  set search(value) {
    const text = String(value).replace(/^\?/, "");
    this.#query = text && cleanQuery(`?${text}`);
    this.#params[RESET](text);
  }
  get searchParams() {
    return this.#params;
  }
  get hash() {
    return this.#hash === "#" ? "" : this.#hash;
  }
  set hash(value) {
    const text = String(value).replace(/^#/, "");
    this.#hash = text && cleanHash(`#${text}`);
  }
  toString() {
    return this.href;
  }
  toJSON() {
    return this.href;
  }
}

const cleanQuery = (query) => query && `?${escaped(query.slice(1), IN_QUERY)}`;
const cleanHash = (hash) => hash && `#${escaped(hash.slice(1), IN_HASH)}`;

function cleanPath(path) {
  const out = [];
  const parts = path.replace(/\\/g, "/").replace(/^\//, "").split("/");
  for (const [i, part] of parts.entries()) {
    const plain = part.replace(/%2e/gi, ".");
    const isLast = i === parts.length - 1;
    if (plain === "..") out.pop();
    if (plain === "." || plain === "..") {
      if (isLast) out.push("");
    } else out.push(escaped(part, IN_PATH));
  }
  return `/${out.join("/")}`;
}

const WATCH = Symbol("watch");
const RESET = Symbol("reset");

const formDecoded = (text) => {
  const spaced = text.replace(/\+/g, " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
};
const formEncoded = (text) =>
  encodeURIComponent(String(text).toWellFormed())
    .replace(/[!'()~]/g, percent)
    .replace(/%20/g, "+");

class URLSearchParams {
  #pairs = [];
  constructor(init = "") {
    if (typeof init === "string") this[RESET](init.replace(/^\?/, ""));
    else {
      const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const [name, value] of pairs) this.#pairs.push([String(name), String(value)]);
    }
  }
  [RESET](text) {
    this.#pairs = text
      .split("&")
      .filter(Boolean)
      .map((pair) => {
        const at = pair.indexOf("=");
        return (at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)]).map(formDecoded);
      });
  }
  #changed() {
    this[WATCH]?.(this.toString());
  }
  get size() {
    return this.#pairs.length;
  }
  get(name) {
    return this.#pairs.find(([n]) => n === String(name))?.[1] ?? null;
  }
  getAll(name) {
    return this.#pairs.filter(([n]) => n === String(name)).map(([, value]) => value);
  }
  has(name, value) {
    return this.#pairs.some(([n, v]) => n === String(name) && (value === undefined || v === String(value)));
  }
  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed();
  }
  set(name, value) {
    const at = this.#pairs.findIndex(([n]) => n === String(name));
    if (at < 0) this.#pairs.push([String(name), String(value)]);
    else {
      this.#pairs[at] = [String(name), String(value)];
      this.#pairs = this.#pairs.filter(([n], i) => i <= at || n !== String(name));
    }
    this.#changed();
  }
  delete(name, value) {
    this.#pairs = this.#pairs.filter(([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)));
    this.#changed();
  }
  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#changed();
  }
  forEach(run, self) {
    for (const [name, value] of this.#pairs) run.call(self, value, name, this);
  }
  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }
  *keys() {
    for (const [name] of this.#pairs) yield name;
  }
  *values() {
    for (const [, value] of this.#pairs) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  toString() {
    return this.#pairs.map(([name, value]) => `${formEncoded(name)}=${formEncoded(value)}`).join("&");
  }
}

globalThis.URL = URL;
globalThis.URLSearchParams = URLSearchParams;
