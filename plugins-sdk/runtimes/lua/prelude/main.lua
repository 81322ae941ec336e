-- The module `millrace`, how modules are found, and what the builder runs. Last part of the prelude.
local millrace = {
  call = call, checkpoint = checkpoint, context = context, counter = counter, emit = emit,
  emit_arrow = emit_arrow, emit_csv = emit_csv, fail = fail,
  format_time = format_time, from_base64 = from_base64, gauge = gauge, host_call = host_call, http = http, json = json,
  kv = kv, log = log, metric = metric, now = now, parse_time = parse_time, ping = ping, placeholder = placeholder,
  progress = progress,
  publish = publish, query = query, quote = quote, random_bytes = random_bytes, secret = secret, sleep = sleep,
  snmp = snmp, socket = socket, to_base64 = to_base64,
}

local loaded = { millrace = millrace, json = json, string = string, table = table, math = math, utf8 = utf8,
  coroutine = coroutine, os = os, debug = debug, _G = _G }
local sources = {}

-- A plugin's own files by their names, `a.b` for a/b.lua beside plugin.lua; each is run once.
function require(name)
  if loaded[name] ~= nil then return loaded[name] end
  local source = sources[name]
  if not source then error("no module '" .. name .. "' beside plugin.lua; the SDK is 'millrace'", 2) end
  sources[name] = nil
  local chunk, problem = load(source.code, "@" .. source.path, "t")
  if not chunk then error(problem, 0) end
  loaded[name] = true
  local value = chunk(name)
  if value ~= nil then loaded[name] = value end
  return loaded[name]
end

-- There are no files and no processes.
io, package, dofile, loadfile = nil, nil, nil, nil

local function export(name, value)
  names[#names + 1] = name
  callables[#names] = value
end

-- The names in a fixed order, so that the same sources give the same bytes.
local function sorted(map)
  local keys = {}
  for key in pairs(map) do
    if type(key) == "string" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return ipairs(keys)
end

-- Runs the author's code; tells the names of its exports, or what went wrong.
function __build(entry, files)
  for _, file in ipairs(decode(files)) do
    sources[file[1]] = { path = file[2], code = file[3] }
    own_paths[file[2]] = true
  end
  local entry_path = sources[entry].path
  local ok, failed = xpcall(function()
    local plugin = require(entry)
    if type(plugin) ~= "table" then
      error(entry_path .. " must end with the exports, return { fetch = fetch }; it returned a " .. type(plugin), 0)
    end
    for _, name in sorted(plugin) do
      if type(plugin[name]) == "function" then export(name, plugin[name]) end
    end
    for _, kind in ipairs({ "function", "procedure" }) do
      local table_of = plugin[kind .. "s"] or {}
      for _, name in sorted(table_of) do export(kind .. ":" .. name, table_of[name]) end
    end
  end, caught)
  sources = {}
  building = false
  -- What lives now lives as long as the plugin: there is little to collect until much more has come.
  collectgarbage("incremental", 400, 400)
  if ok then
    native(OUTPUT, encode({ exports = array(names) }))
  else
    native(OUTPUT, encode({ failure = failure_of(failed.thrown, failed.frames) }))
  end
end
