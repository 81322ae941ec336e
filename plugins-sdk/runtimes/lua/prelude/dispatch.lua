-- Runs one export: input to a call, coroutines to rows, what is raised to a structured error.
local PREFIX = "^[a-z]+:"
local MAX_FRAMES = 20
local names, callables = {}, {}
-- The author's own files: frames of others are of no use in an error.
local own_paths = {}

local Call = {}
Call.__index = Call
-- The body of a route's request.
function Call:text() return body_of(self) end
function Call:json() return decode(body_of(self)) end

-- The author's frames of a thread, innermost first: `rows (src/plugin.lua:12)`.
local function frames_of(thread, level)
  local frames = {}
  while #frames < MAX_FRAMES do
    local info
    if thread then info = debug.getinfo(thread, level, "Snl") else info = debug.getinfo(level, "Snl") end
    if not info then break end
    local path = sub(info.source, 2)
    if own_paths[path] and info.currentline > 0 then
      local where = path .. ":" .. info.currentline
      frames[#frames + 1] = info.name and format("%s (%s)", info.name, where) or where
    end
    level = level + 1
  end
  return frames
end

local function failure_of(thrown, frames)
  local at = frames[1] and match(frames[1], "([^%s(]+:%d+)%)?$")
  local details
  local made = { code = "exception", retryable = false }
  if type(thrown) == "table" and type(thrown.code) == "string" then
    made.code, made.message = thrown.code, tostring(thrown.message or thrown.code)
    made.retryable = thrown.retryable == true
    details = type(thrown.details) == "table" and thrown.details or nil
  else
    local said
    if type(thrown) == "table" and not (getmetatable(thrown) or Array).__tostring then
      local ok, shown = pcall(encode, thrown)
      said = ok and shown or tostring(thrown)
    else
      said = tostring(thrown)
    end
    local path, line, rest = match(said, "^([^:\n]+):(%d+): (.*)$")
    if path and own_paths[path] then
      said, at = rest, at or path .. ":" .. line
    end
    made.message = at and format("%s (at %s)", said, at) or said
  end
  if at then
    local more = { at = at, stack = array(frames[1] and frames or { at }) }
    for name, value in pairs(details or {}) do more[name] = more[name] or value end
    details = more
  end
  made.details = details
  return made
end

local function utf8_or_nothing(value)
  return (gsub(value, "[\128-\255]+", function(run) return utf8.len(run) and run or "\u{FFFD}" end))
end

local function tell(failed)
  local ok, said = pcall(encode, failed)
  if not ok then
    said = encode({ code = failed.code, message = utf8_or_nothing(failed.message), retryable = failed.retryable })
  end
  native(ERROR, said)
end

local function drained(export, asked)
  local rows = coroutine.create(export)
  local ok, value = coroutine.resume(rows, asked)
  while ok and coroutine.status(rows) ~= "dead" do
    emit(value)
    ok, value = coroutine.resume(rows)
  end
  if ok then return value end
  error({ thrown = value, frames = frames_of(rows, 0) }, 0)
end

local function listed(value, name)
  if value == nil then return { [name] = array({}) } end
  if value[1] ~= nil or getmetatable(value) == Array or next(value) == nil then return { [name] = array(value) } end
  if type(value[name]) == "table" then array(value[name]) end
  return value
end

local function response(status, value, headers)
  if type(status) ~= "number" then status, value, headers = nil, status, nil end
  if status == nil and type(value) == "table" and math.type(value.status) == "integer" then
    status, headers, value = value.status, value.headers, value.body
  end
  local answer = { status = status or 200, headers = {} }
  local typed = false
  for name, header in pairs(headers or {}) do
    answer.headers[name] = header
    typed = typed or name:lower() == "content-type"
  end
  if value == nil then return answer end
  local kind
  if type(value) == "string" then
    put_body(answer, value)
    kind = answer.body and "text/plain; charset=utf-8" or "application/octet-stream"
  else
    answer.body = encode(value)
    kind = "application/json; charset=utf-8"
  end
  if not typed then answer.headers["content-type"] = kind end
  return answer
end

local SHAPES = {
  fetch = function(value)
    if value == nil then return {} end
    if value[1] ~= nil or getmetatable(value) == Array or next(value) == nil then return { rows = array(value) } end
    if type(value.rows) == "table" then array(value.rows) end
    return value
  end,
  poll = function(value) return listed(value, "metrics") end,
  enrich = function(value) return listed(value, "documents") end,
  discover = function(value)
    local answer = listed(value, "resources")
    if answer ~= value then answer.complete = true end
    return answer
  end,
  register = function(value) return value or {} end,
  sync = function(value) return value or {} end,
  before_sync = function(value) return type(value) == "string" and { veto = value } or value or {} end,
  after_sync = function(value) return value or {} end,
}

-- On an axis of time a call has a `window`, on one of integers a `range`.
local function place(asked)
  local from, to = asked.begin, asked["end"]
  if find(from, "^%-?%d+$") and find(to, "^%-?%d+$") then asked.range = range_of(from, to)
  else asked.window = window_of(from, to) end
end

local function run(index)
  local name = names[index]
  local ok, asked = pcall(decode, native(INPUT))
  if not ok then fail("refused", "the input is " .. asked) end
  if not find(name, PREFIX) and type(asked) == "table" then
    setmetatable(asked, Call)
    if asked.begin and asked["end"] then place(asked) end
    asked.config, asked.context = asked.config or {}, asked.context or {}
  end
  local value
  if name == "fetch" or name == "sync" then
    value = SHAPES[name](drained(callables[index], asked))
  elseif name == "route" then
    value = response(callables[index](asked))
  else
    value = callables[index](asked)
    local shape = SHAPES[name]
    if shape then value = shape(value) end
  end
  flush()
  native(OUTPUT, encode(value))
end

local function caught(thrown)
  if type(thrown) == "table" and thrown.frames then return thrown end
  return { thrown = thrown, frames = frames_of(nil, 3) }
end

function __dispatch(index)
  forget()
  seeded = false
  local ok, failed = xpcall(run, caught, index + 1)
  if ok then return 0 end
  tell(failure_of(failed.thrown, failed.frames))
  return 1
end
