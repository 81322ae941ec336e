-- Rows of one window: begin inclusive, end exclusive. What is yielded is stored.
local millrace = require "millrace"

local MINUTE = 60

---@param call millrace.FetchCall
local function fetch(call)
  local greeting = call.config.greeting or "hello"
  for at = call.window.from, call.window.to - 1, MINUTE do
    coroutine.yield { time = millrace.format_time(at), greeting = greeting, minute = at % 3600 // MINUTE }
  end
end

return { fetch = fetch }
