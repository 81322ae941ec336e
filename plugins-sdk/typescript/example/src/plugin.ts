/** Earthquakes from the USGS catalogue: pages of GeoJSON in, rows out. */
import { checkpoint, type FetchCall, http, log, query, type RouteCall } from "@millrace/typescript";
import { type Feature, rowOf } from "./feature.ts";

interface Config {
  readonly endpoint?: string;
  readonly min_magnitude?: number;
  readonly page?: number;
}

interface Cursor {
  /** How many events of this window are stored already. */
  readonly done: number;
}

/** Page by page, oldest first; a run that is interrupted goes on behind its last whole page. */
export function* fetch({ config, window, cursor, end }: FetchCall<Config, Cursor>) {
  const { endpoint = "https://earthquake.usgs.gov/fdsnws/event/1/query", min_magnitude = 4.5, page = 2000 } = config;
  for (let done = cursor?.done ?? 0; ; ) {
    const { features } = http.json<{ features: Feature[] }>(endpoint, {
      query: {
        format: "geojson",
        orderby: "time-asc",
        starttime: window.begin.toISOString(),
        endtime: window.end.toISOString(),
        minmagnitude: min_magnitude,
        limit: page,
        offset: done + 1,
      },
    });
    // The catalogue counts the end in; our windows do not.
    yield features.map(rowOf).filter((row) => window.has(row.time));
    done += features.length;
    log.debug("page stored", { events: features.length, done });
    if (features.length < page) return { watermark: end };
    checkpoint({ done });
  }
}

/** `GET /strongest?limit=10`: the strongest that are stored. */
export function route({ query: asked }: RouteCall) {
  const limit = Math.min(100, Math.max(1, Number(asked.limit) || 10));
  const sql = "SELECT time, magnitude, place FROM earthquakes_world ORDER BY magnitude DESC, time LIMIT {limit:UInt32}";
  return { strongest: query(sql, { params: { limit } }) };
}
