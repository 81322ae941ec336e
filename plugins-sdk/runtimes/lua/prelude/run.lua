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

-- A value as a host function takes it: nil is null.
local function stored(value)
  if value == nil then return null end
  return value
end

-- Options of the host in its own words: `ttl` and `timeout` are seconds here.
local function with(request, options)
  for name, value in pairs(options or {}) do
    if name == "ttl" or name == "timeout" then
      request[name .. "_ms"] = math.floor(value * 1000 + 0.5)
    else
      request[name] = value
    end
  end
  return request
end

-- The plugin's own store of small values. `ttl` is in seconds; without it an entry stays.
local kv = {}
local function operate(op, key, more, ttl)
  return host_call("kv", with(with({ op = op, key = key }, more), { ttl = ttl }))
end
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
function kv.put(key, value, ttl) return operate("put", key, { value = stored(value) }, ttl).revision end
-- Errors: `exists` when there is a value: of many racers one succeeds.
function kv.create(key, value, ttl) return operate("create", key, { value = stored(value) }, ttl).revision end
-- Errors: `conflict` when somebody wrote since `revision`.
function kv.update(key, value, revision, ttl)
  return operate("update", key, { value = stored(value), revision = revision }, ttl).revision
end
function kv.delete(key, revision) operate("delete", key, { revision = revision }) end
-- All entries whose key begins with `prefix`.
function kv.list(prefix) return operate("list", prefix or "").entries end
-- So many of them, and what to give as `after` for the next page; nil behind the last.
function kv.page(prefix, limit, after)
  local answer = operate("list", prefix, { limit = limit, after = after })
  return answer.entries, answer.next
end

-- Documents that enrichments wrote, about the resource of the call or the one of this name.
local context = {}
local function documents(op, namespace, key, resource, more)
  local request = { op = op, namespace = namespace, key = key, resource = resource }
  return host_call("context", with(request, more))
end
function context.get(namespace, key, resource) return documents("get", namespace, key, resource).value end
-- The value with `instance`, `written` and `ttl_ms`; nil when there is none.
function context.entry(namespace, key, resource)
  local entry = documents("get", namespace, key, resource)
  return next(entry) ~= nil and entry or nil
end
function context.list(namespace, prefix, resource)
  return documents("list", namespace, prefix or "", resource).documents
end
function context.page(namespace, prefix, limit, after, resource)
  local answer = documents("list", namespace, prefix or "", resource, { limit = limit, after = after })
  return answer.documents, answer.next
end

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

-- A value of the plugin's own in the dataset `metrics`, kept if its run is. options: type, time (RFC 3339), dimensions.
local function metric(name, value, options) host_call("metric", with({ name = name, value = value }, options)) end

-- JSON when it is text, else base 64.
local function put_bytes(into, name, bytes)
  if bytes and utf8.len(bytes) then into[name] = bytes else into[name .. "_base64"] = bytes and to_base64(bytes) end
end

-- One request and its answer; `send` and `expect` (a text to wait for, or a count of bytes) may be any bytes.
local function exchange(proto)
  return function(host, port, send, options)
    options = options or {}
    local expect = options.expect
    local request = { proto = proto, host = host, port = port, timeout = options.timeout, verify = options.verify }
    request = with({ expect = {} }, request)
    if type(expect) == "number" then request.expect.bytes = expect else put_bytes(request.expect, "until", expect) end
    put_bytes(request, "send", send)
    local answer = host_call("socket", request)
    answer.data, answer.data_base64 = from_base64(answer.data_base64 or ""), nil
    return answer
  end
end
local socket = { tcp = exchange("tcp"), tls = exchange("tls"), udp = exchange("udp") }

-- Whether something is there: a table with `reachable`. That it is not, is an answer. options: timeout, count.
local function probe(kind)
  return function(host, port, options)
    return host_call("ping", with({ kind = kind, host = host, port = port }, options))
  end
end
local ping = { tcp = probe("tcp"), tls = probe("tls") }
function ping.icmp(host, options) return probe("icmp")(host, nil, options) end

-- Values of a device. options: port, community or user, retries, max_repetitions, max_values, timeout.
local function device(op)
  return function(host, oids, options)
    local request = with({ op = op, host = host, oids = type(oids) == "table" and oids or { oids } }, options)
    if request.user then request.version = "3" end
    local answer = host_call("snmp", request)
    return answer.values, answer.truncated
  end
end
local snmp = { get = device("get"), walk = device("walk") }
