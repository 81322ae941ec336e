/**
 * Who belongs to whom: the facts of a collection by which others look for it, in memory, so that a change costs what it
 * touches and not what there is. Follows the bus; a look is never behind what was stored before it, whoever wrote it.
 */
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { within } from "../kit/lifecycle.ts";
import { type RetryPolicy, retry } from "../kit/retry.ts";

const ASKING: RetryPolicy = { attempts: 3, firstDelayMs: 50, maxDelayMs: 500 };
/** For the first complete copy. */
const COPY_MS = 30_000;
/** For the news of what is stored already. A copy that does not get it is made anew. */
const NEWS_MS = 2_000;

/** What is known of one entity. */
export interface Facts {
  /** What it may be looked up by: `instance instances/a`. */
  readonly links: readonly string[];
}

/** A look at a directory. Holds until the next wait. */
export interface Look<F> {
  get(name: string): F | undefined;
  /** Names of those with this link, sorted. */
  having(link: string): readonly string[];
  names(): Iterable<string>;
}

export interface Directory<F extends Facts> extends Disposable {
  /** Errors: those of the bus; `unavailable` when it does not bring what it has. */
  look(): Promise<Look<F>>;
}

/** `nameOf` is of a key, `factsOf` of a value. Nothing is read before the first look. */
export function openDirectory<F extends Facts>(
  kv: Kv,
  nameOf: (key: string) => string,
  factsOf: (value: Uint8Array) => F,
): Directory<F> {
  const closing = new AbortController();
  let copy: Copy<F> | undefined;
  const begin = () => {
    const begun = new Copy<F>();
    const stop = new AbortController();
    const follow = async () => {
      for await (const change of kv.watch("", AbortSignal.any([stop.signal, closing.signal]))) {
        if (change.type === "put") begun.put(nameOf(change.key), factsOf(change.value));
        else if (change.type === "delete") begun.remove(nameOf(change.key));
        else begun.synced = true;
        begun.reach(change.revision);
      }
      throw new Fault("unavailable", "the bus ended the watch");
    };
    begun.stop = (fault) => {
      stop.abort();
      if (copy === begun) copy = undefined;
      begun.fail(fault);
    };
    follow().catch((thrown) => begun.stop(Fault.from(thrown)));
    return begun;
  };
  return {
    async look() {
      const had = copy?.revision ?? 0n;
      const newest = await retry(ASKING, () => kv.revision());
      // A bus that has lost its last writes never takes them back from whoever saw them.
      if (newest < had) copy?.stop(new Fault("unavailable", "the bus has lost what it had"));
      for (let attempt = 1; ; attempt += 1) {
        copy ??= begin();
        const asked = copy;
        try {
          const limitMs = asked.synced ? NEWS_MS : COPY_MS;
          await within(limitMs, "the copy of what the registry keeps", asked.reached(newest));
          return asked;
        } catch (thrown) {
          const fault = new Fault("unavailable", Fault.from(thrown).message, { cause: thrown });
          asked.stop(fault);
          if (attempt === ASKING.attempts || closing.signal.aborted) throw fault;
        }
      }
    },
    [Symbol.dispose]: () => closing.abort(),
  };
}

interface Waiter {
  readonly revision: bigint;
  readonly resolve: () => void;
  readonly reject: (fault: Fault) => void;
}

class Copy<F extends Facts> implements Look<F> {
  revision = 0n;
  synced = false;
  stop: (fault: Fault) => void = () => {};
  readonly #facts = new Map<string, F>();
  /** Most links have one name only, which needs no set. */
  readonly #byLink = new Map<string, string | Set<string>>();
  readonly #waiters = new Set<Waiter>();

  get(name: string): F | undefined {
    return this.#facts.get(name);
  }

  having(link: string): readonly string[] {
    const names = this.#byLink.get(link) ?? [];
    return typeof names === "string" ? [names] : [...names].sort();
  }

  names(): Iterable<string> {
    return this.#facts.keys();
  }

  put(name: string, facts: F): void {
    this.remove(name);
    this.#facts.set(name, facts);
    for (const link of facts.links) {
      const names = this.#byLink.get(link);
      if (names === undefined) this.#byLink.set(link, name);
      else if (typeof names !== "string") names.add(name);
      else if (names !== name) this.#byLink.set(link, new Set([names, name]));
    }
  }

  remove(name: string): void {
    for (const link of this.#facts.get(name)?.links ?? []) {
      const names = this.#byLink.get(link);
      if (typeof names === "object") names.delete(name);
      if (names === name || (typeof names === "object" && names.size === 0)) this.#byLink.delete(link);
    }
    this.#facts.delete(name);
  }

  reach(revision: bigint): void {
    if (revision > this.revision) this.revision = revision;
    for (const waiter of this.#waiters) {
      if (!this.synced || waiter.revision > this.revision) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  fail(fault: Fault): void {
    for (const { reject } of this.#waiters) reject(fault);
    this.#waiters.clear();
  }

  async reached(revision: bigint): Promise<void> {
    if (this.synced && revision <= this.revision) return;
    await new Promise<void>((resolve, reject) => this.#waiters.add({ revision, resolve, reject }));
  }
}
