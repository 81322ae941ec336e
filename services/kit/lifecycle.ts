/** Start, drain, stop in reverse: the life of a process, and loops that end when told. */
import { Fault } from "./fault.ts";

/** A running thing: an address to reach it by, and an orderly end. */
export interface Running extends AsyncDisposable {
  /** `host:port`, with the real port when 0 was asked for. */
  readonly address: string;
}

/**
 * Runs until SIGINT or SIGTERM, then closes what `start` put on the stack, newest first.
 * A second signal ends the process at once with exit code 130. `graceMs` bounds the orderly end.
 */
export async function runUntilSignal(
  start: (stack: AsyncDisposableStack, signal: AbortSignal) => Promise<void>,
  graceMs = 30_000,
): Promise<void> {
  const stopping = new AbortController();
  let signals = 0;
  const onSignal = (name: NodeJS.Signals) => {
    signals += 1;
    if (signals > 1) process.exit(130);
    stopping.abort(new Fault("cancelled", `stopped by ${name}`));
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const stack = new AsyncDisposableStack();
  try {
    await start(stack, stopping.signal).catch((thrown) => {
      if (!stopping.signal.aborted) throw thrown;
    });
    if (!stopping.signal.aborted) await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve));
  } finally {
    const late = setTimeout(() => {
      process.stderr.write(`did not stop within ${graceMs} ms; leaving\n`);
      process.exit(1);
    }, graceMs);
    late.unref();
    await stack.disposeAsync();
    clearTimeout(late);
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** Waits; resolves early, without an error, when the signal aborts. Returns whether the whole time passed. */
export function pause(ms: number, signal?: AbortSignal): Promise<boolean> {
  if (signal?.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const done = (whole: boolean) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      resolve(whole);
    };
    const aborted = () => done(false);
    const timer = setTimeout(() => done(true), ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/**
 * Resolves with the promise, or rejects with `deadline` after `ms`. The work itself goes on unless it watches a signal.
 */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Fault("deadline", `${what} did not finish within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A loop in the background. Disposing it aborts its signal and waits for it to end. */
export function background(loop: (signal: AbortSignal) => Promise<void>, onError: (fault: Fault) => void) {
  const stopping = new AbortController();
  const ended = loop(stopping.signal).catch((thrown) => {
    if (!stopping.signal.aborted) onError(Fault.from(thrown));
  });
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await ended;
    },
  };
}

/** At most `limit` at once; others wait their turn in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];
  constructor(limit: number) {
    this.#free = limit;
  }
  get free(): number {
    return this.#free;
  }
  async acquire(): Promise<Disposable> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let released = false;
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free += 1;
      },
    };
  }
}
