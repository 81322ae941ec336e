/** The JSON behind the page: three read-only views of what the weather and uptime plugins stored. */
import { Json, Query, QueryReply, RouteCall } from "@millrace/assemblyscript";

const MAX_DAYS = 3_660;
const MAX_HOURS = 168;
const MAX_CITY_LENGTH = 100;
/** Points of an uptime chart: the page is not wider. */
const BUCKETS = 120;

const CITIES = `
  SELECT city, count() AS days, toString(toDate(min(time))) AS first_day, toString(toDate(max(time))) AS last_day,
    round(avg((temp_max + temp_min) / 2), 1) AS mean, max(temp_max) AS warmest, min(temp_min) AS coldest
  FROM weather_daily GROUP BY city ORDER BY city LIMIT 100`;

const ENDPOINTS = `
  SELECT resource, if(max(dimensions['endpoint']) = '', resource, max(dimensions['endpoint'])) AS endpoint,
    argMaxIf(value, time, name = 'up') AS up, argMaxIf(value, time, name = 'status_code') AS status_code,
    argMaxIf(value, time, name = 'latency_ms') AS latency_ms, countIf(name = 'tls_days_left') AS tls_checks,
    argMaxIf(value, time, name = 'tls_days_left') AS tls_days_left, countIf(name = 'up') AS checks,
    round(avgIf(value, name = 'up'), 4) AS availability, toUnixTimestamp(max(time)) AS last_s
  FROM metrics WHERE \`group\` = 'http' AND time >= now() - toIntervalDay(1)
  GROUP BY resource ORDER BY resource LIMIT 200`;

const WEATHER = `
  SELECT toString(toDate(time)) AS day, temp_max, temp_min, precipitation, wind_max, weather_code
  FROM weather_daily
  WHERE city = {city:String}
    AND time > (SELECT max(time) FROM weather_daily WHERE city = {city:String}) - toIntervalDay({days:UInt32})
  ORDER BY time`;

const UPTIME = `
  SELECT resource, toUnixTimestamp(toStartOfInterval(time, toIntervalSecond({step:UInt32}))) AS at_s,
    avgIf(value, name = 'up') AS up, round(avgIf(value, name = 'latency_ms'), 1) AS latency_ms
  FROM metrics WHERE \`group\` = 'http' AND time >= now() - toIntervalHour({hours:UInt32})
  GROUP BY resource, at_s ORDER BY resource, at_s`;

export function route(): i32 {
  const run = RouteCall.read();
  if (run.path == "/api/summary") return summary(run);
  if (run.path == "/api/weather") return weather(run);
  if (run.path == "/api/uptime") return uptime(run);
  return run.sendError(404, "not_found", `nothing at ${run.path}`);
}

function summary(run: RouteCall): i32 {
  const cities = new Query(CITIES).run();
  if (cities.failed && !isEmpty(cities)) return unavailable(run, cities);
  const endpoints = new Query(ENDPOINTS).run();
  if (endpoints.failed && !isEmpty(endpoints)) return unavailable(run, endpoints);
  return run.sendJson(Json.object().set("cities", cities.objects).set("endpoints", endpoints.objects));
}

function weather(run: RouteCall): i32 {
  const city = run.ask("city");
  if (!city.length) return run.sendError(400, "invalid", "city is missing; /api/summary lists the cities");
  if (city.length > MAX_CITY_LENGTH) {
    return run.sendError(400, "invalid", `city has ${city.length} characters; at most ${MAX_CITY_LENGTH} are allowed`);
  }
  const days = wholeWithin(run.ask("days", "365"), MAX_DAYS);
  if (days < 0) return run.sendError(400, "invalid", notWithin("days", run.ask("days"), MAX_DAYS));
  const query = new Query(WEATHER).text("city", city).integer("days", days);
  query.maxRows = MAX_DAYS;
  const reply = query.run();
  if (reply.failed && !isEmpty(reply)) return unavailable(run, reply);
  return run.sendJson(Json.object().set("city", Json.text(city)).set("days", reply.objects));
}

function uptime(run: RouteCall): i32 {
  const hours = wholeWithin(run.ask("hours", "1"), MAX_HOURS);
  if (hours < 0) return run.sendError(400, "invalid", notWithin("hours", run.ask("hours"), MAX_HOURS));
  const stepS = (hours * 3600) / BUCKETS;
  const query = new Query(UPTIME).integer("hours", hours).integer("step", stepS);
  query.maxRows = 100 * (BUCKETS + 1);
  const reply = query.run();
  if (reply.failed && !isEmpty(reply)) return unavailable(run, reply);
  const answer = Json.object().set("hours", Json.integer(hours)).set("step_s", Json.integer(stepS));
  return run.sendJson(answer.set("points", reply.objects));
}

/** A table that nothing was written to yet is an empty board, not an error. */
function isEmpty(reply: QueryReply): bool {
  return reply.fault.code == "not_found";
}

function unavailable(run: RouteCall, reply: QueryReply): i32 {
  return run.sendError(reply.fault.retryable ? 503 : 502, reply.fault.code, reply.fault.message);
}

/** A whole number from 1 to `high`, or -1. */
function wholeWithin(text: string, high: i64): i64 {
  const value = Json.literal(text).asInteger(-1);
  return text.length && value >= 1 && value <= high ? value : -1;
}

function notWithin(name: string, value: string, high: i64): string {
  return `${name} "${value}" is not a whole number from 1 to ${high}`;
}
