-- The months of a window, as pairs of their first and last day, cut to the window.
local function first_of_next(at)
  local day = os.date("*t", at)
  return os.time { year = day.year, month = day.month + 1, day = 1, hour = 0 }
end

--- An iterator: number, first day, last day. `skip` months are left out.
---@param window millrace.Window
---@param skip integer
return function(window, skip)
  local from, number = window.from, 0
  return function()
    while from < window.to do
      local first, after = from, math.min(first_of_next(from), window.to)
      from, number = after, number + 1
      if number > skip then
        return number, os.date("!%Y-%m-%d", first), os.date("!%Y-%m-%d", after - 1)
      end
    end
  end
end
