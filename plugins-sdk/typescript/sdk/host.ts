/** The engine's door to the host, which the prelude put there before any code of the plugin ran. */

export interface PluginErrorOptions {
  /** Whether trying again later may help. Default: false. */
  readonly retryable?: boolean;
  /** `retry_after_ms` tells the platform how long to wait at least. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A failure with a code that the platform and other plugins understand. Host calls throw it with the host's code. */
export interface PluginError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
  readonly timeoutMs?: number | undefined;
  readonly attempts?: number | undefined;
  readonly cache?: boolean | undefined;
  readonly proxy?: boolean | undefined;
}

interface Door {
  call(name: string, request: unknown): unknown;
  callBytes(name: string, request: Uint8Array): unknown;
  emit(rows: unknown): void;
  flush(): void;
  checkpoint(cursor: unknown): void;
  exchange(request: Exchange): HttpAnswer;
  now(): number;
  random(count: number): Uint8Array;
  readonly PluginError: new (code: string, message: string, options?: PluginErrorOptions) => PluginError;
}

/** What the host's `http` answers. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  readonly body_base64?: string;
  readonly url: string;
  readonly elapsed_ms: number;
  readonly tls?: { readonly valid_until?: string };
}

export const host = (globalThis as unknown as Record<symbol, Door>)[Symbol.for("millrace")] as Door;

export const PluginError = host.PluginError;

/**
 * Any host function by its name, for those that have no helper here. The request goes out as JSON.
 * Errors: PluginError with the host's code.
 */
export function hostCall(name: string, request: unknown = {}): unknown {
  return host.call(name, request);
}
