-- The probe in Lua: what every SDK must be able to do, told by its config.
local millrace = require "millrace"
local helpers = require "helpers"
local rows = require "rows"
local written = require "sync"

local json, kv = millrace.json, millrace.kv

-- Rows in batches, each followed by a checkpoint that a later attempt starts after.
local function emitted(call, count)
  local batches = call.config.batches or 1
  for batch = (call.cursor or { batches = 0 }).batches, batches - 1 do
    coroutine.yield(rows.some(call, batch * count // batches, (batch + 1) * count // batches - 1, count))
    millrace.checkpoint({ batches = batch + 1 })
    millrace.progress(batch + 1, batches, "halvveis ☃")
  end
end

local function hosted()
  millrace.log.warn("logged: é☃")
  print("printed: é☃")
  local replies = {
    kv.put("größe", { n = json.number("18446744073709551615") }),
    kv.entry("größe"),
    millrace.host_call("query", { sql = "SELECT {city:String}", params = { city = "Tromsø" }, max_rows = 10 }),
    { value = millrace.secret("token") },
    millrace.host_call("call", { instance = "units", ["function"] = "convert", input = { from = 1 } }),
  }
  millrace.publish("alarm.high", { ["°C"] = 41.5 })
  local list = {}
  for i = 1, 5 do list[i] = { ok = replies[i] } end
  local random = millrace.to_base64(millrace.random_bytes(16))
  list[#list + 1] = { now = millrace.now() * 1000, clock = os.time(), random = random }
  return list
end

local function downloaded(call)
  local options = { headers = { ["x-probe"] = "é" }, body = "hei", timeout = 1.5 }
  local reply = millrace.http.post(call.config.url, options)
  return { { status = reply.status, body = reply.body, type = reply:header("Content-Type") } }
end

local function fetch(call)
  local mode, count = call.config.mode or "rows", call.config.rows or 10
  if mode == "emit" then return emitted(call, count) end
  if mode == "host" then return hosted() end
  if mode == "http" then return downloaded(call) end
  if mode == "empty" then return { status = "no_data" } end
  if mode == "fail" then error({ code = "asked_to", message = "failed as asked: é☃" }) end
  if mode == "retry" then
    millrace.fail("busy", "later", { retryable = true, details = { retry_after_ms = 50 } })
  end
  if mode == "crash" then return call.cursor.no.such end
  if mode == "page" then
    local page = call.cursor or 0
    return { rows = { rows.one(call, page, 3) }, next = page < 2 and page + 1 or nil }
  end
  if mode == "integers" then
    local from, to = call.range.from, call.range.to
    local told = { begin = tostring(from), ["end"] = tostring(to), has = { call.range:has(from), call.range:has(to) } }
    return { rows = { told }, watermark = tostring(to + 1) }
  end
  return { status = "ok", rows = rows.some(call, 0, count - 1, count) }
end

local function register()
  return { columns = { time = "timestamp", id = "int64" }, index = { "time", "id" }, datetime = "time" }
end

local function poll(call)
  local polls = (call.previous or { polls = 0 }).polls + 1
  local gauge, counter = millrace.gauge, millrace.counter
  local oven = {
    group = "oven",
    dimensions = { resource = call.resource.id, unit = (call.context.unit or {}).temperature or "°C" },
    values = { temperature = gauge(21.5), polls = counter(polls) },
  }
  local door = { group = "door", time = "2012-01-01T00:00:00Z", dimensions = {}, values = { open = gauge(1) } }
  return { metrics = { oven, door }, status = "ok" }
end

local function enrich(call)
  local speed = { speed = call.config.speed, of = call.resource.id }
  return {
    { namespace = "port", key = "ø", value = speed },
    { namespace = "note", key = "1", value = "naboen ☃", resource = "oven-2", ttl = "5m" },
  }
end

local function discover(call)
  local function oven(i)
    return { id = "oven-" .. i, type = "oven", endpoint = "http://127.0.0.1/", site = call.site,
      labels = { shelf = "øverst" } }
  end
  return { oven(0), oven(1) }
end

local function route(call)
  if call.path == "/binary" then return call:text() end
  if call.path ~= "/echo/å" then return 404, { error = { code = "not_found", message = call.path } } end
  local q = call.query.q or "none"
  local said = { name = call.params.name, q = type(q) == "table" and q[1] or q, r = call.query.r or "none" }
  said.body = call:text()
  return { status = 201, headers = { ["x-probe"] = "yes" }, body = said }
end

local function rewritten(value)
  if type(value) ~= "string" then return value end
  local seconds = millrace.parse_time(value)
  return seconds and millrace.format_time(seconds) or json.null
end

local functions = { helpers = helpers }

function functions.roundtrip(value) return value end

function functions.rewrite(values)
  local out = {}
  for i, value in ipairs(values) do out[i] = rewritten(value) end
  return out
end

-- Integers of 64 bits are exact in arithmetic too; longer ones keep their digits.
function functions.numbers(asked)
  return { sum = asked.big + 1, longer = asked.longer, kind = math.type(asked.big), half = asked.big // 2 }
end

function functions.arrow() return millrace.emit_arrow("ARROW\0\255") end

function functions.dice() return { math.random(), math.random(1 << 29) } end

function functions.recurse(n) return functions.recurse(n) + 1 end

function functions.clock()
  local at = os.time({ year = 2024, month = 2, day = 30, hour = 6 })
  return { now = os.time(), at = at, said = os.date("!%Y-%m-%dT%H:%M:%SZ, %a %b %j", at), parts = os.date("*t", 86399) }
end

return { fetch = fetch, register = register, poll = poll, enrich = enrich, discover = discover, route = route,
  sync = written.sync, before_sync = written.before_sync, after_sync = written.after_sync, functions = functions }
