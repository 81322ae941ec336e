/** How this gateway answers over HTTP: one shape for every error, and the headers that every answer carries. */
import type { FastifyReply } from "fastify";
import { Fault } from "../kit/fault.ts";

const MS_PER_S = 1_000;

/** Statuses that HTTP has a word for and the list of codes has not. */
export interface ErrorOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly status: number;
    readonly message: string;
    readonly mistakes: Fault["mistakes"];
  };
}

export function errorBody(fault: Fault, status = fault.httpStatus): ErrorBody {
  return { error: { code: fault.code, status, message: fault.message, mistakes: fault.mistakes } };
}

/** A Fault that is to be answered with a status or headers of its own. */
export class Refusal extends Fault {
  readonly options: ErrorOptions;
  constructor(fault: Fault, options: ErrorOptions) {
    super(fault.code, fault.message, {
      mistakes: fault.mistakes,
      ...(fault.retryAfterMs !== undefined && { retryAfterMs: fault.retryAfterMs }),
    });
    this.options = options;
  }
}

export function sendFault(reply: FastifyReply, thrown: unknown): FastifyReply {
  const fault = Fault.from(thrown);
  const options = fault instanceof Refusal ? fault.options : {};
  if (fault.retryAfterMs !== undefined) {
    reply.header("retry-after", String(Math.max(1, Math.ceil(fault.retryAfterMs / MS_PER_S))));
  }
  if (fault.code === "unauthenticated") reply.header("www-authenticate", 'Bearer realm="millrace"');
  reply.headers({ ...options.headers });
  reply.removeHeader("etag");
  const status = options.status ?? fault.httpStatus;
  return reply
    .code(status)
    .header("cache-control", "no-store")
    .type("application/json; charset=utf-8")
    .send(JSON.stringify(errorBody(fault, status)));
}

/**
 * On every answer. `sandbox` makes a document out of an answer of ours powerless: a plugin's page shares our origin and
 * could otherwise open one and act through it; COOP cuts the handle that it would get.
 */
export const ownHeaders: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
};

/** For pages of ours: only their own files; `connect` says whether scripts may call the API. */
export const pagePolicy = (connect: "'self'" | "'none'") =>
  `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src ${connect}; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** For what plugins answer: scripts reach their own instance only, although the API has the same origin. */
export function pluginPolicy(host: string, instance: string): string {
  // A Host that is none could carry directives of its own into the policy.
  const own = /^[a-z0-9.:[\]-]+$/i.test(host) ? `${host}/plugins/${instance}/` : "'none'";
  return (
    `default-src 'none'; script-src ${own} 'unsafe-inline' 'unsafe-eval'; style-src ${own} 'unsafe-inline'; ` +
    `img-src ${own} data: blob:; media-src ${own} data: blob:; font-src ${own} data:; connect-src ${own}; ` +
    `worker-src ${own} blob:; manifest-src ${own}; form-action ${own}; frame-src ${own}; base-uri 'none'; ` +
    `frame-ancestors ${own}`
  );
}
