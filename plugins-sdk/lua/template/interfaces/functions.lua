-- Functions that other plugins may call.
local functions = {}

---@param asked { values: number[] }
function functions.summarize(asked)
  local values, sum = asked.values, 0
  for _, value in ipairs(values) do sum = sum + value end
  return { count = #values, min = math.min(table.unpack(values)), max = math.max(table.unpack(values)),
    mean = sum / #values }
end

return { functions = functions }
