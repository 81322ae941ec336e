/** Secrets between the registry that seals them and the executors that open them; and how a permission names one. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import type { SealedSecret } from "./gen/millrace/registry/v1/secret.ts";
import { plainHost } from "./patterns.ts";

export const SECRET_KEY_ENV = "MILLRACE_SECRET_KEY";
export const SECRET_KEY_DOC =
  "32 bytes in base64 that secrets are sealed with; the same for registry and executors. " +
  "Several with commas: the first seals, all open";
export const SECRET_KEY_FIX = "32 bytes in base64, as `openssl rand -base64 32` prints them";

/** Shorter values could not be told from ordinary text when they are scrubbed. */
export const MIN_SECRET_BYTES = 6;
export const MAX_SECRET_BYTES = 16 * 1_024;

export interface SecretKey {
  /** The first 8 bytes of its SHA-256, in hex. */
  readonly id: string;
  readonly bytes: Buffer;
}

/** The keys, the sealing one first; undefined when any of them is not one. An empty text is no key. */
export function parseSecretKeys(text: string): readonly SecretKey[] | undefined {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  const keys = parts.map((part) => {
    const bytes = Buffer.from(part, "base64");
    return { id: createHash("sha256").update(bytes).digest("hex").slice(0, 16), bytes };
  });
  return keys.every(({ bytes }) => bytes.byteLength === KEY_BYTES) ? keys : undefined;
}

export const newSecretKey = (): string => randomBytes(KEY_BYTES).toString("base64");

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

type Bound = Pick<SealedSecret, "name" | "hosts">;

/** What cannot be changed without breaking the seal: whose value it is, and where it may go. */
const boundData = ({ name, hosts }: Bound) => Buffer.from(JSON.stringify([name, hosts]));

export function seal(key: SecretKey, of: Bound, value: string): Pick<SealedSecret, "keyId" | "sealed"> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key.bytes, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundData(of));
  const text = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
  return { keyId: key.id, sealed: Buffer.concat([nonce, cipher.getAuthTag(), text]) };
}

/** Undefined when none of the keys sealed it, or when it is not as it was sealed. */
export function unseal(keys: readonly SecretKey[], secret: SealedSecret): string | undefined {
  const key = keys.find(({ id }) => id === secret.keyId);
  const { sealed } = secret;
  if (!key || sealed.byteLength < NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv(CIPHER, key.bytes, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(boundData(secret)).setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  try {
    const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString("utf8");
  } catch {
    return undefined;
  }
}

/** Any secret that the other side names: for plugins whose config says which. */
export const ANY_SECRET = "*";
const PERMISSION = /^(?:([a-z][a-z0-9-]{0,62})(!?)|\*)$/;
export const SECRET_FIX =
  'write a secret\'s name, "name!" to let the guest read the value itself, or "*" for those that the operator names';

/** `name`, `name!` or `*`; undefined when it is none of them. */
export function parseSecretPermission(text: string): { readonly name: string; readonly plain: boolean } | undefined {
  const [whole, name = ANY_SECRET, mark] = PERMISSION.exec(text) ?? [];
  return whole === undefined ? undefined : { name, plain: mark === "!" };
}

export const HOST_FIX = 'write "api.example.org", "*.example.org" or "api.example.org:8443"';

/** Whether a URL's host is one that a secret may be sent to. Undefined when `text` names no host. */
export function parseSecretHost(text: string): ((url: URL) => boolean) | undefined {
  const [, host = "", port] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === "" || Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) return undefined;
  const below = host.startsWith("*.");
  const wanted = plainHost(below ? host.slice(2) : host.replace(/^\[|\]$/g, ""));
  if (wanted === undefined) return undefined;
  return (url) => {
    const asked = plainHost(url.hostname.replace(/^\[|\]$/g, ""));
    if (asked === undefined) return false;
    const fits = below ? asked.endsWith(`.${wanted}`) : asked === wanted;
    return fits && (port === undefined || (url.port || (url.protocol === "https:" ? "443" : "80")) === port);
  };
}
