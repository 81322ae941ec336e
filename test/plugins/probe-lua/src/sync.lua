-- Windows that the plugin writes itself, and the hooks around them.
local millrace = require "millrace"

local written = {}

function written.sync(call)
  if call.config.mode then return { status = call.config.mode } end
  for n = (call.cursor or { n = 0 }).n + 1, 3 do
    coroutine.yield { n = n, time = call.begin }
    if n == 2 then millrace.checkpoint({ n = n }) end
  end
end

function written.before_sync(call)
  local closed = call.config.closed
  if closed then return closed .. ": " .. call.pipe.metric .. " from " .. call.begin:sub(1, 10) end
end

function written.after_sync(call)
  millrace.log.info(string.format("%s: %d rows of %s: %s", call.outcome, call.rows, call.run, call.message))
end

return written
