-- What is behind an HTTP endpoint, kept as context of the resource.
local millrace = require "millrace"

---@param call millrace.EnrichCall
local function enrich(call)
  local reply = millrace.http.get(call.resource.endpoint)
  local value = { software = reply:header("server") or "", content_type = reply:header("content-type") or "" }
  return { { namespace = "server", key = "http", value = value } }
end

return { enrich = enrich }
