-- Reference rates of the European Central Bank, month by month.
local millrace = require "millrace"
local months = require "months"

local ENDPOINT = "https://api.frankfurter.dev/v1"

---@param first string
---@param last string
local function rates_between(first, last, config)
  local url = ("%s/%s..%s"):format(config.endpoint or ENDPOINT, first, last)
  local symbols = config.currencies and table.concat(config.currencies, ",")
  local reply = millrace.http.get(url, { query = { base = config.base or "EUR", symbols = symbols } })
  -- Before the first working day of a period there is nothing, and that is no mistake.
  if reply.status == 404 then return {} end
  local answer = reply:expect_ok():json()
  if type(answer.rates) ~= "table" then
    millrace.fail("bad_answer", ("no rates for %s to %s"):format(first, last))
  end
  return answer.rates
end

--- A run that is interrupted goes on with the first month that is not stored yet.
---@param call millrace.FetchCall
local function fetch(call)
  local base = call.config.base or "EUR"
  local done = call.cursor and call.cursor.months or 0
  for number, first, last in months(call.window, done) do
    local rows = {}
    for day, rates in pairs(rates_between(first, last, call.config)) do
      -- The source answers with the last working day before a holiday: that one is in another window.
      if call.window:has(day) then
        for currency, rate in pairs(rates) do
          rows[#rows + 1] = { time = day, base = base, currency = currency, rate = rate }
        end
      end
    end
    coroutine.yield(rows)
    millrace.checkpoint { months = number }
  end
  return { watermark = call["end"] }
end

local functions = {}

--- Hundredths in, hundredths out, rounded half to even. `{ "cents": 1999, "rate": 1.0956 }`
function functions.convert(asked)
  if math.type(asked.cents) ~= "integer" or type(asked.rate) ~= "number" then
    error { code = "invalid", message = "cents is an integer and rate a number" }
  end
  local exact = asked.cents * asked.rate
  local whole = math.floor(exact)
  local past = exact - whole
  if past > 0.5 or (past == 0.5 and whole % 2 == 1) then whole = whole + 1 end
  return { cents = math.tointeger(whole) }
end

return { fetch = fetch, functions = functions }
