/** What is polled over HTTP: targets of a config as resources, and the request that tells whether one is up. */
import { type HttpAnswer, HttpReply, hostCall, PluginError } from "@millrace/typescript";
import { type Auth, headersOf } from "./request.ts";

export interface Target {
  readonly name: string;
  readonly url: string;
  readonly site?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What an endpoint that is down looks like from here; every other failure is our own. */
const DOWN = ["unavailable", "deadline", "too_large"];

export function resourcesOf(targets: readonly Target[] = [], type: string) {
  return targets.map(({ name, url, site, labels }) => ({
    id: name,
    type,
    endpoint: url,
    ...(site !== undefined && { site }),
    ...(labels && { labels }),
  }));
}

export interface Question {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly auth: Auth | undefined;
  readonly timeoutMs: number;
}

/** The answer, whatever its status; or why there is none. Errors: what is not the endpoint's doing. */
export function askOnce({ method, url, headers, body, auth, timeoutMs }: Question): HttpReply | string {
  try {
    const request = { method, ...headersOf(url, headers, auth), body, timeout_ms: timeoutMs };
    return new HttpReply(hostCall("http", request) as HttpAnswer);
  } catch (thrown) {
    if (thrown instanceof PluginError && DOWN.includes(thrown.code)) return thrown.message;
    throw thrown;
  }
}

/** A regular expression of the config. Errors: `invalid`, with the setting's name. */
export function expression(setting: string, pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch (cause) {
    throw new PluginError("invalid", `${setting}: ${pattern} is not a regular expression: ${cause}`);
  }
}
