-- The host's side of everything: calls with their errors, rows on their way out, randomness and the clock.
local native = __m
__m = nil
local INPUT, OUTPUT, ERROR, CALL, NOW, RANDOM = 0, 1, 2, 3, 4, 5
-- Rows are sent when this many bytes of them are waiting.
local BATCH_BYTES = 256 * 1024
local building = true

-- What host calls raise: a table with code, message, retryable and details, as authors may raise themselves.
local Failure = { __name = "millrace.error" }
Failure.__index = Failure
Failure.__tostring = function(self) return self.code .. ": " .. self.message end

local function failure(code, message, more)
  more = more or {}
  local made = { code = code, message = message, retryable = more.retryable == true, details = more.details }
  return setmetatable(made, Failure)
end

local function fail(code, message, more) error(failure(code, message, more), 0) end

local function host_call(name, request)
  if building then
    fail("build", "the host function " .. name .. " is not available at build time; move it into an exported function: "
      .. "code at the top level runs once, when the plugin is built")
  end
  local answer = decode(native(CALL, name, type(request) == "string" and request or encode(request or {})))
  local refused = answer.error
  if refused then fail(refused.code or "internal", refused.message or "the host failed", refused) end
  return answer.ok
end

local waiting, waiting_count, waiting_bytes = {}, 0, 0

local function forget()
  waiting, waiting_count, waiting_bytes = {}, 0, 0
end

local function flush()
  if waiting_count == 0 then return end
  waiting[waiting_count + 1] = ""
  local batch = concat(waiting, "\n")
  forget()
  host_call("emit", batch)
end

local function emit_row(row)
  if type(row) ~= "table" then fail("invalid", "a row is a table, not a " .. type(row)) end
  local line = encode(row)
  waiting_count = waiting_count + 1
  waiting[waiting_count] = line
  waiting_bytes = waiting_bytes + #line + 1
  if waiting_bytes >= BATCH_BYTES then flush() end
end

-- Sends a row or a list of rows to the platform, in batches.
local function emit(rows)
  if type(rows) == "table" and (rows[1] ~= nil or next(rows) == nil) then
    for i = 1, #rows do emit_row(rows[i]) end
  else
    emit_row(rows)
  end
end

-- Rows as CSV with a header, read by the store as they are: some MiB at a time. Gives their count once durable.
local function emit_csv(text)
  flush()
  return host_call("emit:csv", text).rows
end

-- The same with an Arrow stream: the IPC streaming format, schema first, uncompressed.
local function emit_arrow(stream)
  flush()
  return host_call("emit:arrow", stream).rows
end

-- All rows emitted so far are kept, and a next attempt gets `cursor`.
local function checkpoint(cursor)
  flush()
  host_call("checkpoint", '{"cursor":' .. encode(cursor) .. "}")
end

local function random_bytes(count)
  if building then fail("build", "randomness that must be secret is not available at build time") end
  return native(RANDOM, count)
end

-- Lua seeded its generator when the plugin was built: each call seeds it anew, when it is first used.
local seeded = false
local random, randomseed = math.random, math.randomseed
math.random = function(...)
  if not seeded and not building then
    seeded = true
    randomseed(string.unpack("<i8i8", native(RANDOM, 16)))
  end
  return random(...)
end
math.randomseed = function(...)
  seeded = true
  return randomseed(...)
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local SIGNS, VALUES = {}, {}
for i = 1, 64 do
  SIGNS[i - 1] = sub(ALPHABET, i, i)
  VALUES[byte(ALPHABET, i)] = i - 1
end

local function to_base64(data)
  local out = {}
  for at = 1, #data, 3 do
    local a, b, c = byte(data, at, at + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    out[#out + 1] = SIGNS[bits >> 18] .. SIGNS[bits >> 12 & 63] .. (b and SIGNS[bits >> 6 & 63] or "=")
      .. (c and SIGNS[bits & 63] or "=")
  end
  return concat(out)
end

-- Errors: a string when it is not base 64.
local function from_base64(encoded)
  local out, bits, count = {}, 0, 0
  for at = 1, #encoded do
    local value = VALUES[byte(encoded, at)]
    if value then
      bits, count = (bits << 6 | value) & 0xFFFFFF, count + 6
      if count >= 8 then
        count = count - 8
        out[#out + 1] = string.char(bits >> count & 255)
      end
    elseif not find(encoded, "^[=%s]*$", at) then
      error("not base 64 at byte " .. at, 2)
    end
  end
  return concat(out)
end
