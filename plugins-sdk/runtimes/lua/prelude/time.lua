-- Times are seconds since the epoch, integers when they are whole. All of `os` that is left is here, in UTC.
local DAY = 86400

-- Days from the epoch to a date. Years begin in March here: leap days come last.
local function days_before(year, month, day)
  if month < 3 then year, month = year - 1, month + 9 else month = month - 3 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719468
end

-- The date that is so many days after the epoch, by eras of 400 years that begin in March.
local function date_of(days)
  days = days + 719468
  local era, of_era = days // 146097, days % 146097
  local year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year + year // 4 - year // 100)
  local month = (5 * of_year + 2) // 153
  local day = of_year - (153 * month + 2) // 5 + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month < 3 and 1 or 0), month, day
end

-- Seconds of RFC 3339 text; a date alone is its midnight in UTC. Nil and why, when it is none.
local function parse_time(given)
  if type(given) ~= "string" then return nil, "no time: a " .. type(given) end
  local year, month, day, rest = match(given, "^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not year then return nil, "no time: " .. given end
  year, month, day = math.tointeger(year), math.tointeger(month), math.tointeger(day)
  local days = days_before(year, month, day)
  local y, m, d = date_of(days)
  if y ~= year or m ~= month or d ~= day then return nil, "no such day: " .. given end
  if rest == "" then return days * DAY end
  local hour, minute, second, fraction, zone = match(rest, "^[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)(.*)$")
  if not hour or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 60 then
    return nil, "no time: " .. given
  end
  local seconds = days * DAY + hour * 3600 + minute * 60 + second
  local sign, hours, minutes = match(zone, "^([+-])(%d%d):(%d%d)$")
  if sign then
    seconds = seconds - (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60)
  elseif zone ~= "Z" and zone ~= "z" then
    return nil, "no time zone in " .. given
  end
  local past = tonumber("0" .. fraction) or 0
  return past > 0 and seconds + past or math.tointeger(seconds)
end

-- When the day began that was written last, and its date: rows come in the order of their times, most often.
local written, written_date = 0, "1970-01-01T"
local PAIRS = {}
for i = 0, 59 do PAIRS[i] = format("%02d", i) end

-- RFC 3339 in UTC.
local function format_time(seconds)
  local whole, micro = math.floor(seconds), 0
  if whole ~= seconds then
    micro = math.floor((seconds - whole) * 1000000 + 0.5)
    if micro == 1000000 then whole, micro = whole + 1, 0 end
  end
  local left = whole - written
  if left < 0 or left >= DAY then
    left = whole % DAY
    written = whole - left
    written_date = format("%04d-%02d-%02dT", date_of(written // DAY))
  end
  local ending = micro > 0 and format(".%06dZ", micro) or "Z"
  return written_date .. PAIRS[left // 3600] .. ":" .. PAIRS[left // 60 % 60] .. ":" .. PAIRS[left % 60] .. ending
end

local function now() return native(NOW) / 1000 end

local WEEKDAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }
local MONTHS = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December" }

local function date_table(seconds)
  local whole = math.floor(seconds)
  local days, left = whole // DAY, whole % DAY
  local year, month, day = date_of(days)
  return { year = year, month = month, day = day, hour = left // 3600, min = left // 60 % 60, sec = left % 60,
    wday = (days + 4) % 7 + 1, yday = days - days_before(year, 1, 1) + 1, isdst = false }
end

local WRITERS = {
  Y = function(t) return format("%04d", t.year) end, y = function(t) return format("%02d", t.year % 100) end,
  m = function(t) return format("%02d", t.month) end, d = function(t) return format("%02d", t.day) end,
  H = function(t) return format("%02d", t.hour) end, M = function(t) return format("%02d", t.min) end,
  S = function(t) return format("%02d", t.sec) end, j = function(t) return format("%03d", t.yday) end,
  I = function(t) return format("%02d", (t.hour + 11) % 12 + 1) end,
  p = function(t) return t.hour < 12 and "AM" or "PM" end,
  A = function(t) return WEEKDAYS[t.wday] end, a = function(t) return sub(WEEKDAYS[t.wday], 1, 3) end,
  B = function(t) return MONTHS[t.month] end, b = function(t) return sub(MONTHS[t.month], 1, 3) end,
  w = function(t) return t.wday - 1 end, Z = function() return "UTC" end, z = function() return "+0000" end,
  n = function() return "\n" end, t = function() return "\t" end, ["%"] = function() return "%" end,
}
local LONG = { F = "%Y-%m-%d", T = "%H:%M:%S", D = "%m/%d/%y", R = "%H:%M", c = "%a %b %d %H:%M:%S %Y", x = "%m/%d/%y",
  X = "%H:%M:%S" }

os = {
  clock = now,
  difftime = function(a, b) return a - (b or 0) + 0.0 end,
  getenv = function() end,
  -- With a table of fields that may be out of their range, as C's mktime, but in UTC.
  time = function(t)
    if not t then return math.floor(now()) end
    local year, month = math.tointeger(t.year), math.tointeger(t.month)
    if not (year and month and t.day) then error("field 'year', 'month' or 'day' missing in date table", 2) end
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    local seconds = (days_before(year, month, 1) + t.day - 1) * DAY
    return math.tointeger(seconds + (t.hour or 12) * 3600 + (t.min or 0) * 60 + (t.sec or 0))
  end,
  date = function(wanted, seconds)
    wanted = gsub(wanted or "%c", "^!", "")
    local t = date_table(seconds or now())
    if sub(wanted, 1, 2) == "*t" then return t end
    wanted = gsub(wanted, "%%([FTDRcxX])", LONG)
    return (gsub(wanted, "%%(.)", function(letter)
      local writer = WRITERS[letter]
      if not writer then error("bad conversion specifier '%" .. letter .. "'", 3) end
      return writer(t)
    end))
  end,
}

-- A window of a pipe whose axis is an integer column. Begin inclusive, end exclusive. Integers here have 64 bits and a
-- sign: of a greater one `from` or `to` is nil, and `call.begin` and `call["end"]` have all its digits.
local Range = { __name = "millrace.range" }
Range.__index = Range

local function range_of(from, to)
  return setmetatable({ from = math.tointeger(from), to = math.tointeger(to) }, Range)
end

-- Whether an integer lies inside.
function Range:has(position)
  local at = assert(math.tointeger(position), "no integer")
  return at >= self.from and at < self.to
end

-- Begin inclusive, end exclusive. `first_day` and `last_day` are the days that it touches, as "2012-01-31".
local Window = { __name = "millrace.window" }
Window.__index = Window

local function window_of(from, to)
  local window = setmetatable({ from = parse_time(from), to = parse_time(to) }, Window)
  window.first_day = sub(format_time(window.from), 1, 10)
  window.last_day = sub(format_time(window.to - 0.000001), 1, 10)
  return window
end

-- Whether a time lies inside: seconds or RFC 3339.
function Window:has(when)
  local seconds = type(when) == "string" and assert(parse_time(when)) or when
  return seconds >= self.from and seconds < self.to
end

-- Iterates over the days that it touches.
function Window:days()
  local at = self.from - self.from % DAY - DAY
  return function()
    at = at + DAY
    if at < self.to then return sub(format_time(at), 1, 10) end
  end
end
