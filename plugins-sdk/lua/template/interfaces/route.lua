-- Answers over HTTP: `GET /greet/{name}?with=hei`.

---@param call millrace.RouteCall
local function route(call)
  local greeting = call.query["with"] or "hello"
  return { greeting = greeting .. ", " .. call.params.name }
end

return { route = route }
