/** Daily weather by city: one request for each city and window, rows streamed, a checkpoint after each city. */
import {
  checkpoint, Emitter, fail, FetchCall, formatTime, httpGet, HttpReply, Json, NO_TIME, parseTime, progress,
  RegisterCall,
} from "@millrace/assemblyscript";

const OPEN_METEO = "https://archive-api.open-meteo.com";
const DEFAULT_CITIES = `[
  {"name": "Seattle", "latitude": 47.6062, "longitude": -122.3321},
  {"name": "New York", "latitude": 40.7128, "longitude": -74.006}
]`;
const DAILY = "temperature_2m_max,temperature_2m_min,precipitation_sum,wind_speed_10m_max,weather_code";
const REQUEST_TIMEOUT_MS = 20_000;

export function register(): i32 {
  return RegisterCall.read()
    .column("time", "timestamp")
    .column("city", "string")
    .column("temp_max", "float64")
    .column("temp_min", "float64")
    .column("precipitation", "float64")
    .column("wind_max", "float64")
    .column("weather_code", "int64")
    .datetime("time")
    .index("time")
    .index("city")
    .ok();
}

export function fetch(): i32 {
  const run = FetchCall.read();
  const base = baseUrl(run.config);
  if (!base.length) return fail("bad_config", "base_url is not set; the demo source needs its http://127.0.0.1:<port>");
  const cities = citiesOf(run.config);
  const rows = new Emitter();
  // An attempt that starts after a checkpoint keeps the cities that were saved, and their rows count.
  const before = run.cursor.get("rows").asInteger(0);
  for (let i = <i32>run.cursor.get("cities").asInteger(0); i < cities.length; i++) {
    if (city(run, base, cities.at(i), rows) != 0) return 1;
    if (rows.flush().failed) return rows.fail();
    const cursor = Json.object().set("cities", Json.integer(i + 1)).set("rows", Json.integer(before + rows.count));
    const saved = checkpoint(cursor);
    if (saved.failed) return saved.fail();
    progress(i + 1, cities.length, cities.at(i).get("name").asText());
  }
  return before + rows.count > 0 ? run.ok() : run.noData();
}

/** The rows of one city. 0, or 1 after `fail`. */
function city(run: FetchCall, base: string, city: Json, rows: Emitter): i32 {
  const name = city.get("name").asText();
  const url =
    `${base}/v1/archive?latitude=${city.get("latitude").raw}&longitude=${city.get("longitude").raw}` +
    `&start_date=${run.window.firstDay}&end_date=${run.window.lastDay}&daily=${DAILY}&timezone=UTC`;
  const reply = httpGet(url, REQUEST_TIMEOUT_MS);
  if (reply.failed) return reply.fail();
  if (!reply.isSuccess) return refused(reply, name);
  const answer = Json.parse(reply.text);
  if (answer == null) return fail("bad_answer", `the weather of ${name} is not JSON: ${Json.problem}`);
  const daily = answer.get("daily");
  const days = daily.get("time");
  if (!days.isArray) return fail("bad_answer", `the weather of ${name} has no daily.time`);
  for (let d = 0; d < days.length; d++) {
    const midnight = parseTime(days.at(d).asText());
    if (midnight == NO_TIME) return fail("bad_answer", `the weather of ${name} has no date at daily.time[${d}]`);
    // The source answers whole days; each belongs to the one window that holds its midnight.
    if (!run.window.has(midnight)) continue;
    rows.begin();
    rows
      .setText("time", formatTime(midnight))
      .setText("city", name)
      .setJson("temp_max", daily.get("temperature_2m_max").at(d))
      .setJson("temp_min", daily.get("temperature_2m_min").at(d))
      .setJson("precipitation", daily.get("precipitation_sum").at(d))
      .setJson("wind_max", daily.get("wind_speed_10m_max").at(d))
      .setJson("weather_code", daily.get("weather_code").at(d));
    rows.end();
  }
  return 0;
}

/** 429 and 5xx pass with time, and the source may say how much; anything else will be refused again. */
function refused(reply: HttpReply, city: string): i32 {
  const status = reply.status;
  const answer = Json.parse(reply.text);
  const reason = answer == null ? "" : answer.get("reason").asText();
  const details = Json.object().set("status", Json.integer(status));
  if (reply.retryAfterMs > 0) details.set("retry_after_ms", Json.integer(reply.retryAfterMs));
  const message = `the source answered ${status} for ${city}${reason.length ? ": " + reason : ""}`;
  if (status == 429) return fail("rate_limited", message, true, details);
  return fail("source_refused", message, status >= 500, details);
}

function baseUrl(config: Json): string {
  const url = config.get("base_url").asText();
  return url.length || config.get("source").asText() != "open-meteo" ? url : OPEN_METEO;
}

function citiesOf(config: Json): Json {
  const cities = config.get("cities");
  return cities.isArray ? cities : Json.parse(DEFAULT_CITIES)!;
}
