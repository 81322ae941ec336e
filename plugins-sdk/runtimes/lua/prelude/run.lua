-- What a run does beside fetching: log, progress, key-value store, secrets, queries, calls, events, network.
local function log_line(level)
  return function(message, fields)
    host_call("log", { level = level, message = tostring(message), fields = fields })
  end
end
local log = { debug = log_line("debug"), info = log_line("info"), warn = log_line("warn"), error = log_line("error") }

print = function(...)
  if building then return end
  local said = {}
  for i = 1, select("#", ...) do said[i] = tostring((select(i, ...))) end
  log.info(concat(said, "\t"))
end

local function progress(done, total, message)
  host_call("progress", { done = done, total = total, message = message })
end

-- Waits without using the CPU.
local function sleep(seconds) host_call("sleep", { ms = seconds * 1000 }) end

local function operate(op, key, more)
  more = more or {}
  more.op, more.key = op, key
  return host_call("kv", more)
end

local function stored(value)
  if value == nil then return null end
  return value
end

-- The plugin's own store of small values.
local kv = {}
-- The value, or `default` when there is no such key.
function kv.get(key, default)
  local entry = operate("get", key)
  if not entry.revision then return default end
  return entry.value
end
-- The value with its revision, for `update`; nil when there is no such key.
function kv.entry(key)
  local entry = operate("get", key)
  return entry.revision and entry or nil
end
function kv.put(key, value) return operate("put", key, { value = stored(value) }).revision end
-- Errors: `exists` when there is a value: of many racers one succeeds.
function kv.create(key, value) return operate("create", key, { value = stored(value) }).revision end
-- Errors: `conflict` when somebody wrote since `revision`.
function kv.update(key, value, revision)
  return operate("update", key, { value = stored(value), revision = revision }).revision
end
function kv.delete(key, revision) operate("delete", key, { revision = revision }) end
-- All entries whose key begins with `prefix`.
function kv.list(prefix) return operate("list", prefix or "").entries end

-- The value of a secret. Needs `name!` among the permissions.
local function secret(name) return host_call("secret", { name = name }).value end
-- Text for HTTP requests: the host puts the secret in, and the plugin never sees it.
local function placeholder(name) return "{{secret:" .. name .. "}}" end

-- Read-only SQL on granted tables, as tables by the columns' names; null is nil.
local function query(sql, params, max_rows)
  local answer = host_call("query", { sql = sql, params = params or {}, max_rows = max_rows })
  local rows = {}
  for i, values in ipairs(answer.rows) do
    local row = {}
    for column, value in ipairs(values) do
      if value ~= null then row[answer.columns[column].name] = value end
    end
    rows[i] = row
  end
  return rows
end

-- Another instance's function; `timeout` in seconds.
local function call(instance, name, input, timeout)
  local request = { instance = instance, ["function"] = name, input = stored(input) }
  request.timeout_ms = timeout and timeout * 1000
  return host_call("call", request).output
end

-- An event to whoever listens now, below the instance's own subject.
local function publish(subject, body) host_call("publish", { subject = subject, body = stored(body) }) end

local function gauge(value) return { value = value, type = "gauge" } end
local function counter(value) return { value = value, type = "counter" } end

-- A value of the plugin's own, kept when its run is. more: type, time, dimensions.
local function metric(name, value, more)
  local request = { name = name, value = value }
  for key, given in pairs(more or {}) do request[key] = given end
  host_call("metric", request)
end

-- One request and its answer over tcp, tls or udp: the host's fields, with `send` any bytes. `data` is what came back.
local function socket(request)
  local asked = {}
  for name, value in pairs(request) do asked[name] = value end
  if asked.send and not utf8.len(asked.send) then asked.send, asked.send_base64 = nil, to_base64(asked.send) end
  local answer = host_call("socket", asked)
  answer.data = from_base64(answer.data_base64 or "")
  return answer
end

-- Whether something is there: the host's fields (`kind`, `host`, `port` …) and its answer.
local function ping(request) return host_call("ping", request) end
-- Values of a device: the host's fields (`op`, `host`, `oids` …); a list of { oid, type, value }.
local function snmp(request) return host_call("snmp", request).values end
