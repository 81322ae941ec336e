/** Real daily weather on loopback, in the answer format of Open-Meteo's archive API: what the demo fetches from. */
import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Running } from "../kit/lifecycle.ts";

/**
 * The data: `weather.csv` of npm's `vega-datasets`, daily observations of Seattle and New York, 2012 to 2015, made from
 * NOAA Climate Data Online (ncdc.noaa.gov). The package's metadata names it a work of the U.S. Government (public
 * domain); the package's own code is BSD-3-Clause. Its weather word is synthesized from several NOAA fields. The
 * metadata says km/h for `wind`; the magnitudes look like NOAA's daily average in m/s. The values are passed on as they
 * are, under Open-Meteo's name and unit for the day's greatest wind: fit for a demo, not for wind statistics.
 */
const DATA_FILE = fileURLToPath(new URL("../data/weather.csv", import.meta.resolve("vega-datasets")));

/** Where the stations of the file are: degrees north and east. */
const STATIONS = [
  { city: "Seattle", latitude: 47.6062, longitude: -122.3321 },
  { city: "New York", latitude: 40.7128, longitude: -74.006 },
] as const;

/** The file's weather words as WMO codes (table 4677), the codes that Open-Meteo answers with. */
const WMO_CODES: Readonly<Record<string, number>> = { sun: 0, fog: 45, drizzle: 51, rain: 61, snow: 71 };

/** Daily variables that are served, with their units. */
const UNITS = {
  temperature_2m_max: "°C",
  temperature_2m_min: "°C",
  precipitation_sum: "mm",
  wind_speed_10m_max: "km/h",
  weather_code: "wmo code",
} as const;

type Variable = keyof typeof UNITS;
type Day = { readonly date: string } & Readonly<Record<Variable, number>>;

const PATH = "/v1/archive";
const DATE = /^\d{4}-\d{2}-\d{2}$/;
/** What a refused caller is told to wait, in seconds. */
const RETRY_AFTER_S = 1;

export interface WeatherSourceOptions {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** So many requests are answered 429 with `Retry-After` before the first good one. For tests. */
  readonly failFirst?: number;
  /** How long every answer takes at least, in milliseconds. For tests and for demos of slow sources. */
  readonly latencyMs?: number;
}

export interface WeatherSource extends Running {
  /** Requests seen so far, refused ones included. */
  readonly requests: number;
}

/** Serves `GET /v1/archive` until disposed. */
export async function startWeatherSource(options: WeatherSourceOptions): Promise<WeatherSource> {
  const data = await readDays();
  const stopping = new AbortController();
  let requests = 0;
  const server = createServer(async (request, response) => {
    requests += 1;
    const refused = requests <= (options.failFirst ?? 0);
    if (options.latencyMs)
      await sleep(options.latencyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    const url = new URL(request.url ?? "/", "http://localhost");
    if (url.pathname !== PATH) return send(response, 404, { error: true, reason: `Not Found; try ${PATH}` });
    if (request.method !== "GET") return send(response, 405, { error: true, reason: "only GET is answered here" });
    if (refused) {
      response.setHeader("retry-after", RETRY_AFTER_S);
      return send(response, 429, {
        error: true,
        reason: "Minutely API request limit exceeded. Please try again later.",
      });
    }
    const answer = archive(data, url.searchParams);
    return send(response, "error" in answer ? 400 : 200, answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(options.port, options.host, resolve);
  });
  const { address, family, port } = server.address() as AddressInfo;
  return {
    address: family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`,
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body));
}

/** The answer to one query, or `{error, reason}` as Open-Meteo words it. Days that the file lacks are left out. */
function archive(data: ReadonlyMap<string, readonly Day[]>, query: URLSearchParams): object {
  const refuse = (reason: string) => ({ error: true, reason });
  const latitude = Number(query.get("latitude") ?? Number.NaN);
  const longitude = Number(query.get("longitude") ?? Number.NaN);
  if (!(Math.abs(latitude) <= 90)) return refuse(`Latitude must be in range of -90 to 90°. Given: ${latitude}.`);
  if (!(Math.abs(longitude) <= 180)) return refuse(`Longitude must be in range of -180 to 180°. Given: ${longitude}.`);
  const first = query.get("start_date") ?? "";
  const last = query.get("end_date") ?? "";
  for (const [name, value] of [
    ["start_date", first],
    ["end_date", last],
  ] as const) {
    if (!isDate(value))
      return refuse(`Invalid date format for '${name}'. Make sure to use 'YYYY-MM-DD'. Given: "${value}"`);
  }
  if (last < first) return refuse("End-date must be larger or equals than start-date");
  const asked = (query.get("daily") ?? "").split(",").filter(Boolean);
  const unknown = asked.find((name) => !(name in UNITS));
  if (unknown !== undefined) return refuse(`Cannot initialize daily variable from invalid String value ${unknown}.`);
  const variables = asked as Variable[];
  const station = nearest(latitude, longitude);
  const days = (data.get(station.city) ?? []).filter((day) => day.date >= first && day.date <= last);
  return {
    latitude: station.latitude,
    longitude: station.longitude,
    utc_offset_seconds: 0,
    timezone: "UTC",
    timezone_abbreviation: "UTC",
    daily_units: { time: "iso8601", ...Object.fromEntries(variables.map((name) => [name, UNITS[name]])) },
    daily: {
      time: days.map((day) => day.date),
      ...Object.fromEntries(variables.map((name) => [name, days.map((day) => day[name])])),
    },
  };
}

function isDate(text: string): boolean {
  const ms = DATE.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

/** By distance in degrees, which is enough to tell two coasts apart. */
function nearest(latitude: number, longitude: number) {
  const distance = (s: (typeof STATIONS)[number]) => Math.hypot(s.latitude - latitude, s.longitude - longitude);
  return STATIONS.reduce((best, station) => (distance(station) < distance(best) ? station : best));
}

async function readDays(): Promise<Map<string, Day[]>> {
  const days = new Map<string, Day[]>();
  const [, ...lines] = (await readFile(DATA_FILE, "utf8")).trim().split(/\r?\n/);
  for (const line of lines) {
    const [city = "", date = "", precipitation, warmest, coldest, wind, word = ""] = line.split(",");
    const day: Day = {
      date,
      temperature_2m_max: Number(warmest),
      temperature_2m_min: Number(coldest),
      precipitation_sum: Number(precipitation),
      wind_speed_10m_max: Number(wind),
      weather_code: WMO_CODES[word] ?? Number.NaN,
    };
    const known = days.get(city);
    if (known) known.push(day);
    else days.set(city, [day]);
  }
  return days;
}
