-- The CSV of each day, which the store reads as it is.
local millrace = require "millrace"

---@param call millrace.SyncCall
local function sync(call)
  for day in call.window:days() do
    local reply = millrace.http.get(call.config.url, { query = { day = day } }):expect_ok()
    millrace.emit_csv(reply.body)
  end
end

return { sync = sync }
