/** The stacks of a lane for guests that may wait (carrier.wat), used again and again. */
import { CARRIER_BYTES } from "./kernel-bytes.ts";

/** Those over it end when their guest returns. Each holds what its deepest guest touched, of at most 984 KiB. */
const MAX_IDLE = 64;

/** An export of a guest; the only type that the registry lets through. */
export type GuestExport = () => number;

interface Carrier {
  /** Given with the first guest, when the carrier does not wait yet. */
  first: GuestExport | undefined;
  wake: (guest: GuestExport | null) => void;
  resolve: (code: number) => void;
  reject: (thrown: unknown) => void;
}

const NOBODY = () => {};

export class Carriers {
  readonly #carry: (self: Carrier) => Promise<unknown>;
  /** The one that waits since last is called first: the others are idle for longer. */
  readonly #idle: Carrier[] = [];
  #leastIdle = 0;

  constructor() {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(CARRIER_BYTES), {
      lane: {
        next: new WebAssembly.Suspending((self: Carrier) => this.#next(self)),
        returned: (self: Carrier, code: number) => self.resolve(code),
      },
    });
    this.#carry = WebAssembly.promising<[Carrier]>(exports.carry);
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** Runs it on a stack of its own. Rejects with whatever throws the guest out. */
  run(guest: GuestExport): Promise<number> {
    return new Promise((resolve, reject) => {
      const carrier = this.#idle.pop();
      if (!carrier) return this.#start({ first: guest, wake: NOBODY, resolve, reject });
      if (this.#idle.length < this.#leastIdle) this.#leastIdle = this.#idle.length;
      carrier.resolve = resolve;
      carrier.reject = reject;
      const { wake } = carrier;
      carrier.wake = NOBODY;
      wake(guest);
    });
  }

  /** Ends those that nobody needed since it was called last. */
  trim(): void {
    for (const { wake } of this.#idle.splice(0, this.#leastIdle)) wake(null);
    this.#leastIdle = this.#idle.length;
  }

  #start(carrier: Carrier): void {
    this.#carry(carrier).catch((thrown) => carrier.reject(thrown));
  }

  #next(carrier: Carrier): GuestExport | null | Promise<GuestExport | null> {
    const { first } = carrier;
    if (first) {
      carrier.first = undefined;
      return first;
    }
    // What it carried last would stay with it.
    carrier.resolve = NOBODY;
    carrier.reject = NOBODY;
    if (this.#idle.length >= MAX_IDLE) return null;
    this.#idle.push(carrier);
    return new Promise((resolve) => {
      carrier.wake = resolve;
    });
  }
}
