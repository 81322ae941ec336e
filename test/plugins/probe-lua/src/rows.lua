-- Rows of the probe, spread evenly over the window.
local millrace = require "millrace"

local BIG = 9007199254740993
local rows = {}

function rows.one(call, i, count)
  local from, to = call.window.from, call.window.to
  return {
    time = millrace.format_time(from + (to - from) / count * i),
    id = BIG + i,
    name = ('rød grød ☃ 𝄞 "%d"\n'):format(i),
    value = i / 4,
    flag = i % 2 == 1,
  }
end

function rows.some(call, first, last, count)
  local list = {}
  for i = first, last do list[#list + 1] = rows.one(call, i, count) end
  return list
end

return rows
