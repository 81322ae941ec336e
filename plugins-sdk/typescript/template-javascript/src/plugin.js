/** Rows of one window: begin inclusive, end exclusive. */
const MINUTE_MS = 60_000;

export function* fetch({ window, config }) {
  const { greeting = "hello" } = config;
  for (let ms = window.beginMs; ms < window.endMs; ms += MINUTE_MS) {
    const time = new Date(ms);
    yield { time, greeting, minute: time.getUTCMinutes() };
  }
}
