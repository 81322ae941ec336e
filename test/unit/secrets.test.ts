/** Secrets in tables: keys, hosts, permissions, what is scrubbed, and where a value may and may not go. */
import { describe, expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { newSecretKey, parseSecretHost, parseSecretKeys, parseSecretPermission } from "../../proto/secrets.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { NO_SCRUBBER, scrubberOf } from "../../services/executor/scrub.ts";

describe("keys", () => {
  test("one or several of 32 bytes; nothing else", () => {
    const [a, b] = [newSecretKey(), newSecretKey()];
    expect(parseSecretKeys("")).toEqual([]);
    expect(parseSecretKeys(`${a}, ${b}`)?.map(({ bytes }) => bytes.toString("base64"))).toEqual([a, b]);
    for (const bad of ["x", a.slice(4), `${a},x`, "a".repeat(64), "password"])
      expect(parseSecretKeys(bad)).toBeUndefined();
  });
});

describe("hosts of a secret", () => {
  const table: [host: string, url: string, fits: boolean][] = [
    ["api.example.org", "https://api.example.org/x", true],
    ["api.example.org", "https://API.example.org./x", true],
    ["api.example.org", "https://api.example.org:8443/", true],
    ["api.example.org:8443", "https://api.example.org:8443/", true],
    ["api.example.org:443", "https://api.example.org/", true],
    ["api.example.org:443", "https://api.example.org:8443/", false],
    ["api.example.org", "https://api.example.org.evil.com/", false],
    ["api.example.org", "https://xapi.example.org/", false],
    ["api.example.org", "https://api.example.org@evil.com/", false],
    ["*.example.org", "https://a.b.example.org/", true],
    ["*.example.org", "https://example.org/", false],
    ["*.example.org", "https://badexample.org/", false],
    ["127.0.0.1", "http://0x7f.1:1234/", true],
    ["[::1]", "http://[0::1]/", true],
    ["bücher.example", "https://xn--bcher-kva.example/", true],
  ];
  test.each(table)("%s and %s: %s", (host, url, fits) => expect(parseSecretHost(host)?.(new URL(url))).toBe(fits));
  test.each(["", "https://x", "a b", "x/y", "*", "a.*.b", "x:0", "x:99999", "x:", "@x"])("%j is no host", (text) =>
    expect(parseSecretHost(text)).toBeUndefined(),
  );
});

describe("granted secrets", () => {
  const table: [asked: string[], given: string[] | "all", granted: object][] = [
    [["a"], "all", { a: false }],
    [["a!"], "all", { a: true }],
    [["a!", "b"], ["a", "b!"], { a: false, b: false }],
    [["a!"], ["a!"], { a: true }],
    [["a"], ["b"], {}],
    [[], ["a!"], {}],
    [["a"], [], {}],
    [["*", "a b"], "all", {}],
    [["*"], ["a"], { a: false }],
    [["*"], ["a!"], { a: false }],
    [["a!"], ["*"], { a: false }],
    [["*"], ["*"], {}],
  ];
  test.each(table)("%j and %j", (asked, given, granted) => {
    const requested = Permissions.fromPartial({ secrets: asked });
    const grants =
      given === "all"
        ? { allRequested: true, only: undefined }
        : { allRequested: false, only: Permissions.fromPartial({ secrets: given }) };
    expect(Object.fromEntries(effectiveGrants(requested, grants).secrets)).toEqual(granted);
  });
  test("names", () => {
    expect(parseSecretPermission("*")).toEqual({ name: "*", plain: false });
    expect(parseSecretPermission("api-key!")).toEqual({ name: "api-key", plain: true });
    for (const bad of ["", "!", "A", "a_b", "a!!", "a b", "*!", "a*"])
      expect(parseSecretPermission(bad)).toBeUndefined();
  });
});

describe("scrubbing", () => {
  const VALUE = `pa"ss/w&rd<7>+ é\\`;
  const { text, bytes } = scrubberOf([VALUE, "otherSecret1"]);
  const raw = Buffer.from(VALUE);
  const url = encodeURIComponent(VALUE);
  const writings: [what: string, text: string][] = [
    ["plain", VALUE],
    ["JSON", JSON.stringify(VALUE)],
    ["JSON with escaped slashes", JSON.stringify(VALUE).replaceAll("/", "\\/")],
    ["JSON in ASCII", JSON.stringify(VALUE).replace("é", "\\u00e9")],
    ["HTML", "pa&quot;ss/w&amp;rd&lt;7&gt;+ é\\"],
    ["URL", url],
    ["URL in lower case", url.replace(/%../g, (escaped) => escaped.toLowerCase())],
    ["form", new URLSearchParams({ a: VALUE }).toString()],
    ["every byte escaped", raw.toString("hex").replace(/../g, "%$&")],
    ["hex", raw.toString("hex")],
    ["HEX", raw.toString("hex").toUpperCase()],
    ...["", "u", "u:", "user:"].map((before): [string, string] => [
      `base64 behind ${before.length} bytes`,
      Buffer.from(`${before}${VALUE} and more`).toString("base64"),
    ]),
    ["base64url", Buffer.from(`>${VALUE}`).toString("base64url")],
  ];
  test.each(writings)("%s", (_, writing) => {
    const clean = text(`before ${writing} after, otherSecret1!`);
    expect(clean).toMatch(/^before .* after, \(hidden\)!$/);
    for (const part of ["ss/w&rd", "c3Mvdy", "73732f77", "ss%2Fw", "ss%2fw", "ss\\/w"])
      expect(clean).not.toContain(part);
    const decoded = Buffer.from(clean.split(" ")[1] ?? "", "base64").toString();
    expect(decoded).not.toContain("ss/w");
  });
  test("bytes in UTF-16 and Latin-1, and around what is not text", () => {
    const around = (inner: Buffer) => Buffer.concat([Buffer.from([0xff, 0]), inner, Buffer.from([0xfe])]);
    for (const encoding of ["utf8", "utf16le", "latin1"] as const) {
      const clean = Buffer.from(bytes(around(Buffer.from(VALUE, encoding))));
      expect([clean[0], clean[1], clean.at(-1)]).toEqual([0xff, 0, 0xfe]);
      expect(clean.includes(Buffer.from("w&rd", encoding))).toBe(false);
    }
  });
  test("JSON, URLs, hex and base64 stay what they are", () => {
    const json = JSON.stringify({ key: VALUE, list: [VALUE] });
    expect(JSON.parse(text(json))).toEqual({ key: "(hidden)", list: ["(hidden)"] });
    expect(URL.canParse(text(`https://x/?q=${url}`))).toBe(true);
    expect(text(raw.toString("hex"))).toMatch(/^0+$/);
    expect(text(Buffer.from(`u:${VALUE}`).toString("base64"))).toMatch(/^[A-Za-z0-9+/]+=*$/);
  });
  test("what has no secret in it is given back as it is, the very same bytes", () => {
    const given = Buffer.from("nothing to see");
    expect(bytes(given)).toBe(given);
    expect(scrubberOf([])).toBe(NO_SCRUBBER);
    expect(text("lone \ud800")).toBe("lone \ud800");
  });
});
