/** Waits on a fact instead of on time. */

/**
 * Asks `look` until it returns something other than undefined or false; fails with what was last seen after
 * `timeoutMs`.
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = seen;
    } catch (thrown) {
      last = thrown;
    }
    if (performance.now() > end)
      throw new Error(`${what}: not true within ${timeoutMs} ms; last seen: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
