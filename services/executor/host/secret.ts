/** `secret`: a value for the guest itself; and placeholders, by which a guest uses a value that it never sees. */
import { Fault } from "../../kit/fault.ts";
import type { InstanceSecrets } from "../secrets.ts";
import { type Capability, readRequest } from "./functions.ts";

export function secretCapability(secrets: InstanceSecrets, onDenied: () => void): Capability {
  return async (bytes) => {
    const { name } = readRequest("secret", bytes);
    if (typeof name !== "string") throw Fault.invalid("secret", [{ field: "name", problem: "is not text" }]);
    try {
      return { value: secrets.plainValue(name.slice(0, 100)) };
    } catch (thrown) {
      if (Fault.from(thrown).code === "denied") onDenied();
      throw thrown;
    }
  };
}

const PLACEHOLDER = /\{\{secret:([a-z][a-z0-9-]{0,62})\}\}/g;
/** In a URL the braces and the colon may stand escaped. */
const URL_PLACEHOLDER = /(?:\{\{|%7B%7B)secret(?::|%3A)([a-z][a-z0-9-]{0,62})(?:\}\}|%7D%7D)/gi;

export const hasPlaceholder = (text: string) => text.search(PLACEHOLDER) !== -1;
export const hasUrlPlaceholder = (text: string) => text.search(URL_PLACEHOLDER) !== -1;

/** Puts values in, each written as the place asks. Errors: as `valueFor`. */
export function fill(text: string, url: URL, secrets: InstanceSecrets, write: (value: string) => string): string {
  return text.replace(PLACEHOLDER, (_, name: string) => write(secrets.valueFor(name, url)));
}

export function fillQuery(query: string, url: URL, secrets: InstanceSecrets): string {
  return query.replace(URL_PLACEHOLDER, (_, name: string) => encodeURIComponent(secrets.valueFor(name, url)));
}
