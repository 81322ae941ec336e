-- What there is to poll: the sites of the config.
local millrace = require "millrace"

---@param call millrace.DiscoverCall
local function discover(call)
  local resources = millrace.json.array()
  for i, site in ipairs(call.config.sites or {}) do
    resources[i] = { id = site.id, type = "http", endpoint = site.url }
  end
  return resources
end

return { discover = discover }
