/** Looks at many things at once, each by its name: those that come while one is under way go together in the next. */

/** A query names each of them in its URL. */
const MAX_NAMES = 500;

interface Next<T> {
  readonly names: Set<string>;
  readonly found: Promise<ReadonlyMap<string, T>>;
}

export class Looks<T> {
  readonly #look: (names: readonly string[]) => Promise<ReadonlyMap<string, T>>;
  #next: Next<T> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(look: (names: readonly string[]) => Promise<ReadonlyMap<string, T>>) {
    this.#look = look;
  }

  /** What is there by a look that begins after the call; undefined for what is not. Errors: those of the look. */
  async at(name: string): Promise<T | undefined> {
    const { names, found } = this.#next && this.#next.names.size < MAX_NAMES ? this.#next : this.#begin();
    names.add(name);
    return (await found).get(name);
  }

  #begin(): Next<T> {
    const names = new Set<string>();
    const before = this.#last;
    const found = (async () => {
      await before.catch(() => {});
      if (this.#next?.names === names) this.#next = undefined;
      return this.#look([...names]);
    })();
    this.#last = found;
    this.#next = { names, found };
    return this.#next;
  }
}
