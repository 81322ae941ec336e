/** What one bus has opened by name: the same name gives the same object, other options are refused. */
import { Fault } from "../kit/fault.ts";

export class Opened<T> {
  readonly #kind: string;
  readonly #open = new Map<string, { readonly options: string; readonly thing: Promise<T> }>();

  constructor(kind: string) {
    this.#kind = kind;
  }

  /** Errors: `conflict` when it is open with other options. A failed opening is forgotten. */
  get(name: string, options: object, make: () => Promise<T>): Promise<T> {
    const asked = JSON.stringify(options);
    const open = this.#open.get(name);
    if (!open) {
      const thing = make();
      this.#open.set(name, { options: asked, thing });
      thing.catch(() => this.#open.delete(name));
      return thing;
    }
    if (open.options === asked) return open.thing;
    throw new Fault("conflict", `${this.#kind} ${name} is open with the options ${open.options}, not ${asked}`);
  }
}
