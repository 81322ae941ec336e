/** What a hostile or broken guest does: the sandbox must end each of these and nothing else. */

let ticks: i32 = 0;

/** A loop that never ends and that the compiler cannot remove. */
export function spin(): void {
  while (ticks >= 0) ticks = (ticks + 1) & 0xffff;
}

/** Never ends inside bulk memory instructions, which some engines do not interrupt. */
export function fillForEver(): void {
  const bytes = new ArrayBuffer(16 << 20);
  while (ticks >= 0) {
    memory.fill(changetype<usize>(bytes), <u8>ticks, bytes.byteLength);
    ticks = (ticks + 1) & 0xff;
  }
}

export function trap(): void {
  unreachable();
}

/** Takes memory until there is none: by the instruction itself, then through the allocator, which traps. */
export function hog(): void {
  while (memory.grow(16) >= 0) ticks++;
  const all: ArrayBuffer[] = [];
  while (ticks >= 0) all.push(new ArrayBuffer(1 << 20));
}
