-- JSON: text to tables and back. First part of the prelude, which is one program in several files: it runs before the
-- author's code and becomes part of the snapshot. Integers of 64 bits keep every digit; those that are longer become
-- numbers of their text. A null member of an object is nil; in an array it is json.null: the array keeps its length.
local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local match, sub = string.match, string.sub
local concat, next, pairs, type = table.concat, next, pairs, type
local mtype = math.type
local MAX_DEPTH = 1000

local null = setmetatable({}, { __tostring = function() return "null" end, __name = "json.null" })
-- An array, also when it is empty: {} alone is an object.
local Array = { __name = "json.array" }
-- A number that Lua has no type for: its digits.
local Digits = { __name = "json.number", __tostring = function(self) return self.digits end }
Digits.__eq = function(a, b) return a.digits == b.digits end

local function array(list) return setmetatable(list or {}, Array) end

local function number(digits)
  if not find(digits, "^-?%d+$") and not find(digits, "^-?%d+%.?%d*[eE]?[+-]?%d*$") then
    error("no number: " .. digits, 2)
  end
  return setmetatable({ digits = digits }, Digits)
end

local SHORT = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local text

local function broken(at, what)
  error({ json = format("%s at byte %d", what, at) }, 0)
end

-- The two halves of a character beyond U+FFFF are one; half of one is U+FFFD.
local function escaped(at)
  local digits = match(text, "^%x%x%x%x", at)
  if not digits then broken(at, "a bad escape") end
  local code = tonumber(digits, 16)
  if code < 0xD800 or code > 0xDFFF then return utf8.char(code), at + 4 end
  local low = code < 0xDC00 and match(text, "^\\u([dD][c-fC-F]%x%x)", at + 4)
  if not low then return "\u{FFFD}", at + 4 end
  return utf8.char(0x10000 + ((code - 0xD800) << 10) + tonumber(low, 16) - 0xDC00), at + 10
end

local function long_text(at)
  local parts, count = {}, 0
  local from = at + 1
  while true do
    local stop = find(text, '["\\%c]', from)
    if not stop then broken(at, "a text without an end") end
    count = count + 1
    parts[count] = sub(text, from, stop - 1)
    local found = byte(text, stop)
    if found == 34 then return concat(parts), stop + 1 end
    count = count + 1
    if found == 127 then
      parts[count], from = "\127", stop + 1
    elseif found ~= 92 then
      broken(stop, "a control character in a text")
    elseif byte(text, stop + 1) == 117 then
      parts[count], from = escaped(stop + 2)
    else
      local short = SHORT[sub(text, stop + 1, stop + 1)]
      if not short then broken(stop, "a bad escape") end
      parts[count], from = short, stop + 2
    end
  end
end

local function read_text(at)
  local _, stop, plain = find(text, '^([^"\\%c]*)"', at + 1)
  if plain then return plain, stop + 1 end
  return long_text(at)
end

local function read_number(at)
  local _, stop = find(text, "^-?%d+", at)
  if not stop or find(text, "^-?0%d", at) then broken(at, "no value") end
  local after = byte(text, stop + 1)
  if after ~= 46 and after ~= 101 and after ~= 69 then
    local digits = sub(text, at, stop)
    local value = tonumber(digits)
    if mtype(value) == "integer" then return digits == "-0" and -0.0 or value, stop + 1 end
    return setmetatable({ digits = digits }, Digits), stop + 1
  end
  if after == 46 then
    _, stop = find(text, "^%.%d+", stop + 1)
    if not stop then broken(at, "a number that ends with its point") end
  end
  local _, power = find(text, "^[eE][+-]?%d+", stop + 1)
  stop = power or stop
  return tonumber(sub(text, at, stop)) + 0.0, stop + 1
end

local read

local function skip(at)
  local _, stop = find(text, "^[ \n\r\t]*", at)
  return stop + 1
end

local function read_array(at, depth)
  local list, count = setmetatable({}, Array), 0
  at = skip(at + 1)
  if byte(text, at) == 93 then return list, at + 1 end
  while true do
    local value
    value, at = read(at, depth + 1)
    if value == nil then value = null end
    count = count + 1
    list[count] = value
    local found = byte(text, at)
    if found ~= 44 and found ~= 93 then
      at = skip(at)
      found = byte(text, at)
    end
    if found == 93 then return list, at + 1 end
    if found ~= 44 then broken(at, "neither , nor ] in an array") end
    at = at + 1
  end
end

local function read_object(at, depth)
  local object = {}
  at = skip(at + 1)
  if byte(text, at) == 125 then return object, at + 1 end
  while true do
    local key
    if byte(text, at) ~= 34 then
      at = skip(at)
      if byte(text, at) ~= 34 then broken(at, "no name of a member") end
    end
    key, at = read_text(at)
    if byte(text, at) ~= 58 then
      at = skip(at)
      if byte(text, at) ~= 58 then broken(at, "no : behind the name of a member") end
    end
    object[key], at = read(at + 1, depth + 1)
    local found = byte(text, at)
    if found ~= 44 and found ~= 125 then
      at = skip(at)
      found = byte(text, at)
    end
    if found == 125 then return object, at + 1 end
    if found ~= 44 then broken(at, "neither , nor } in an object") end
    at = at + 1
  end
end

local WORDS = { [116] = { "true", true }, [102] = { "false", false }, [110] = { "null", nil } }

function read(at, depth)
  local first = byte(text, at)
  if first == 32 or first == 10 or first == 13 or first == 9 then
    at = skip(at)
    first = byte(text, at)
  end
  if first == 34 then return read_text(at) end
  if first == 123 or first == 91 then
    if depth >= MAX_DEPTH then broken(at, "more than 1000 levels") end
    if first == 123 then return read_object(at, depth) end
    return read_array(at, depth)
  end
  local word = WORDS[first]
  if not word then return read_number(at) end
  local stop = at + #word[1]
  if sub(text, at, stop - 1) ~= word[1] then broken(at, "no value") end
  return word[2], stop
end

-- What a JSON text means. Errors: a string that says where the text is broken.
local function decode(given)
  local before = text
  text = given
  local ok, value, at = pcall(function()
    local value, at = read(1, 0)
    at = skip(at)
    if at <= #text then broken(at, "more behind the value") end
    return value, at
  end)
  text = before
  if ok then return value end
  error(type(value) == "table" and value.json and "not JSON: " .. value.json or value, 2)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local function escape(char) return ESCAPES[char] or format("\\u%04x", byte(char)) end

local function write_text(value)
  if not find(value, '["\\\0-\31\128-\255]') then return '"' .. value .. '"' end
  if not utf8.len(value) then
    error(format("this text is not UTF-8, write it with to_base64: %q", sub(value, 1, 40)), 0)
  end
  return '"' .. gsub(value, '["\\\0-\31]', escape) .. '"'
end

-- The shortest digits that mean the same; what is no number is null.
local function write_float(value)
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  local digits = format("%.14g", value)
  if tonumber(digits) == value then return digits end
  for precision = 15, 17 do
    digits = format("%." .. precision .. "g", value)
    if tonumber(digits) == value then return digits end
  end
  return digits
end

-- `"name":` of each name that was written once.
local heads = setmetatable({}, {
  __index = function(known, name)
    local kind = type(name)
    if kind ~= "string" and kind ~= "number" then error("the name of a member is a string, not " .. kind, 0) end
    local head = write_text(tostring(name)) .. ":"
    known[name] = head
    return head
  end,
})

local write

local function write_table(value, parts, count, depth)
  if depth > MAX_DEPTH then error("more than 1000 levels of tables, or one inside itself", 0) end
  local meta = getmetatable(value)
  if value == null then
    parts[count + 1] = "null"
    return count + 1
  elseif meta == Digits then
    parts[count + 1] = value.digits
    return count + 1
  elseif meta == Array or value[1] ~= nil then
    parts[count + 1] = "["
    count = count + 1
    for i = 1, #value do
      if i > 1 then
        count = count + 1
        parts[count] = ","
      end
      count = write(value[i], parts, count, depth + 1)
    end
    parts[count + 1] = "]"
    return count + 1
  end
  count = count + 1
  local opened = count
  parts[count] = "{"
  for name, member in next, value do
    local kind = type(member)
    if count > opened then
      count = count + 1
      parts[count] = ","
    end
    parts[count + 1] = heads[name]
    if kind == "string" then
      count = count + 2
      parts[count] = write_text(member)
    elseif mtype(member) == "integer" then
      count = count + 2
      parts[count] = member
    else
      count = write(member, parts, count + 1, depth + 1)
    end
  end
  parts[count + 1] = "}"
  return count + 1
end

function write(value, parts, count, depth)
  local kind = type(value)
  if kind == "table" then return write_table(value, parts, count, depth) end
  count = count + 1
  if kind == "string" then
    parts[count] = write_text(value)
  elseif kind == "number" then
    parts[count] = mtype(value) == "integer" and value or write_float(value)
  elseif kind == "boolean" then
    parts[count] = value and "true" or "false"
  elseif kind == "nil" then
    parts[count] = "null"
  else
    error("a " .. kind .. " cannot be written as JSON", 0)
  end
  return count
end

-- JSON of a value. Errors: a string when something in it has no JSON.
local function encode(value)
  local parts = {}
  local count = write(value, parts, 0, 1)
  return concat(parts, "", 1, count)
end

local json = { array = array, decode = decode, encode = encode, null = null, number = number }
