-- HTTP through the host.
local RETRYABLE = { [408] = true, [425] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }

-- What a body was: text or base 64 of bytes.
local function body_of(given)
  if given.body_base64 then return from_base64(given.body_base64) end
  return given.body or ""
end

local Reply = { __name = "millrace.reply" }
Reply.__index = Reply

function Reply:ok() return self.status >= 200 and self.status < 300 end

-- A header, by its name in any case; several are joined.
function Reply:header(name)
  local value = self.headers[name:lower()]
  return type(value) == "table" and concat(value, ", ") or value
end

function Reply:json()
  local ok, value = pcall(decode, self.body)
  if not ok then fail("bad_answer", self.url .. " did not answer with JSON: " .. sub(self.body, 1, 200)) end
  return value
end

-- The reply itself, when its status is good. Errors: http_<status>, retryable when the status says so.
function Reply:expect_ok()
  if self:ok() then return self end
  local details = { status = self.status }
  local after = match(self:header("retry-after") or "", "^%d+$")
  if after then details.retry_after_ms = math.tointeger(after) * 1000 end
  local said = format("%s answered %d: %s", self.url, self.status, sub(self.body, 1, 200))
  fail("http_" .. self.status, said, { retryable = RETRYABLE[self.status], details = details })
end

-- Percent-encodes text for a URL.
local function quote(value)
  return (gsub(tostring(value), "[^%w%-._~]", function(char) return format("%%%02X", byte(char)) end))
end

-- JSON when it is text, else base 64.
local function put_body(into, body)
  if utf8.len(body) then into.body = body else into.body_base64 = to_base64(body) end
end

local http = {}

-- options: headers, query (a table), body (a string, any bytes) or json (any value), timeout in seconds, attempts,
-- cache, proxy. Names of the query are sorted, so that the same call asks the same URL.
function http.request(method, url, options)
  options = options or {}
  local names = {}
  for name, value in pairs(options.query or {}) do
    if value ~= null then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local sign = (i > 1 or find(url, "?", 1, true)) and "&" or "?"
    url = url .. sign .. quote(name) .. "=" .. quote(options.query[name])
  end
  local request = { method = method, url = url, headers = {} }
  for name, value in pairs(options.headers or {}) do request.headers[name] = value end
  if options.json ~= nil then
    request.body = encode(options.json)
    local typed = false
    for name in pairs(request.headers) do typed = typed or name:lower() == "content-type" end
    if not typed then request.headers["content-type"] = "application/json" end
  elseif options.body then
    put_body(request, options.body)
  end
  if options.timeout then request.timeout_ms = options.timeout * 1000 end
  if options.attempts then request.retry = { attempts = options.attempts } end
  request.cache, request.proxy = options.cache, options.proxy
  local answer = host_call("http", request)
  answer.body = body_of(answer)
  answer.body_base64 = nil
  answer.headers = answer.headers or {}
  answer.url = answer.url or url
  return setmetatable(answer, Reply)
end

for _, method in ipairs({ "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" }) do
  http[method:lower()] = function(url, options) return http.request(method, url, options) end
end

-- The JSON that a GET answers with.
function http.json(url, options) return http.get(url, options):expect_ok():json() end
