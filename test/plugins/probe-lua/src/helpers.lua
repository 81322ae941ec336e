-- Each helper of the SDK for a host function, tried once.
local millrace = require "millrace"
local context, kv, ping, snmp, socket = millrace.context, millrace.kv, millrace.ping, millrace.snmp, millrace.socket

local function code_of(work, ...)
  local ok, failure = pcall(work, ...)
  return ok and "none" or failure.code
end

local function stored()
  kv.put("n", { n = 1 }, 60)
  local found = kv.entry("n")
  kv.update("n", { n = 2 }, found.revision, 60)
  local stale = code_of(kv.update, "n", { n = 3 }, found.revision)
  local taken = code_of(kv.create, "n", 4)
  local swapped = kv.get("n")
  kv.delete("n")
  return { value = found.value, lives = found.ttl_ms > 0, stale = stale, taken = taken, swapped = swapped,
    gone = kv.get("n", millrace.json.null) }
end

local function paged()
  for n = 1, 3 do kv.put("a:" .. n, n, 60) end
  local keys, entries, after = {}, nil, nil
  repeat
    entries, after = kv.page("a:", 2, after)
    for _, entry in ipairs(entries) do keys[#keys + 1] = entry.key end
  until not after
  return keys
end

return function(at)
  millrace.emit { { id = 1 }, { id = 2 } }
  millrace.checkpoint { page = 2 }
  millrace.log.warn("with fields", { count = 3, where = "Ålesund" })
  local options = { type = "counter", dimensions = { unit = "°C" }, time = "2012-01-01T00:00:00Z" }
  millrace.metric("probe.size", 1.5, options)
  millrace.metric("probe.more", 2)
  millrace.publish("alarm.high", { n = 1 })
  millrace.sleep(0.001)
  millrace.progress(2, 2, "ferdig ☃")
  local host = at.host
  local headers = { authorization = "Bearer " .. millrace.placeholder("token") }
  local keys = {}
  for i, document in ipairs(context.list("port", "eth")) do keys[i] = document.key end
  local below = snmp.walk(host, { at.table }, { port = at.snmp })
  return {
    kv = stored(),
    pages = paged(),
    tcp = socket.tcp(host, at.tcp, "hello\r\n", { expect = "\n" }).data,
    udp = { socket.udp(host, at.udp, "\0\xff", { timeout = 2 }).data:byte(1, -1) },
    tls = socket.tls(host, at.tls, "hi", { expect = 2, verify = false }).data,
    there = ping.tcp(host, at.tcp).reachable,
    closed = ping.tcp(host, at.closed).reason,
    certificate = ping.tls(host, at.tls).certificate.subject,
    snmp = snmp.get(host, at.oid, { port = at.snmp, community = "public" })[1].value,
    below = #below,
    context = context.get("port", "eth0"),
    writer = context.entry("port", "eth0").instance,
    keys = keys,
    nothing = context.get("port", "none") or millrace.json.null,
    denied = code_of(context.get, "secret", "key", "oven-2"),
    call = millrace.call("units", "convert", { from = 2 }, 5),
    http = millrace.http.post(at.url, { headers = headers, body = "hei" }).body,
    plain = millrace.secret("plain"),
    csv = millrace.emit_csv("id,name\n1,å\n2,b\n"),
  }
end
