/** A guest's randomness: drawn from one seed, so that a run can be played back with nothing but its seed. */
import { createHash, randomUUID } from "node:crypto";

/** 122 random bits, from a pool that Node keeps: this is on the path of every call. */
export const newSeed = (): string => randomUUID();

/** The same seed and sizes give the same bytes. Who does not know the seed cannot foretell them (SHAKE-256). */
export class Randomness {
  readonly #seed: string;
  #drawn = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  draw(bytes: number): Uint8Array {
    this.#drawn += 1;
    if (bytes === 0) return new Uint8Array(0);
    return createHash("shake256", { outputLength: bytes }).update(`${this.#seed}/${this.#drawn}`).digest();
  }
}
