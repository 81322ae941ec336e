-- Whether an HTTP endpoint answers, with what status and how fast.
local millrace = require "millrace"

local TIMEOUT = 5

---@param call millrace.PollCall
local function poll(call)
  local gauge, url, values = millrace.gauge, call.resource.endpoint, nil
  local ok, reply = pcall(millrace.http.get, url, { timeout = TIMEOUT })
  if ok then
    values = { up = gauge(reply:ok() and 1 or 0), status = gauge(reply.status), latency_ms = gauge(reply.elapsed_ms) }
  elseif reply.code == "unavailable" or reply.code == "deadline" then
    -- An endpoint that is down is what we came to measure; anything else is our own trouble.
    values = { up = gauge(0) }
  else
    error(reply, 0)
  end
  return { { group = "http", dimensions = { url = url }, values = values } }
end

return { poll = poll }
