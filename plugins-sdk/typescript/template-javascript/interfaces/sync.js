/** The CSV of each day, which the store reads as it is. */
import { emitCsv, http } from "@millrace/typescript";

export function sync({ window, config }) {
  for (const day of window.days()) {
    const reply = http.get(config.url, { query: { day } }).expectOk();
    emitCsv(reply.text);
  }
}
