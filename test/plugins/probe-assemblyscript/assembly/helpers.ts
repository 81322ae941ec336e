/** Each helper of the SDK for a host function, tried once. */
import {
  callFunction, contextGet, contextList, emitCsv, FunctionCall, HttpRequest, Json, kvCreate, kvDelete, kvGet, kvList,
  kvPut, kvUpdate, log, metric, ping, progress, publish, Reply, secretValue, sleep, Snmp, SocketRequest,
} from "@millrace/assemblyscript";

const MINUTE_MS: i64 = 60000;

function codeOf(reply: Reply): Json {
  return Json.text(reply.failed ? reply.fault.code : "none");
}

function counted(n: i64): Json {
  return Json.object().set("n", Json.integer(n));
}

function stored(): Json {
  kvPut("n", counted(1), MINUTE_MS);
  const found = kvGet("n").ok;
  const revision = found.get("revision");
  kvUpdate("n", counted(2), revision, MINUTE_MS);
  const stale = codeOf(kvUpdate("n", Json.integer(3), revision));
  const taken = codeOf(kvCreate("n", Json.integer(4)));
  const swapped = kvGet("n").ok.get("value");
  kvDelete("n");
  const out = Json.object().set("value", found.get("value")).set("swapped", swapped).set("stale", stale);
  out.set("lives", Json.bool(found.get("ttl_ms").asNumber() > 0)).set("taken", taken);
  return out.set("gone", kvGet("n").ok.get("value"));
}

function paged(): Json {
  for (let n: i64 = 1; n <= 3; n++) kvCreate(`a:${n}`, Json.integer(n), MINUTE_MS);
  const keys = Json.array();
  let after = "";
  do {
    const page = kvList("a:", 2, after).ok;
    const entries = page.get("entries");
    for (let i = 0; i < entries.length; i++) keys.add(entries.at(i).get("key"));
    after = page.get("next").asText();
  } while (after.length);
  return keys;
}

export function function_helpers(): i32 {
  const run = FunctionCall.read();
  const at = run.input;
  const host = at.get("host").asText();
  log("warn", "with fields", Json.object().set("count", Json.integer(3)).set("where", Json.text("Ålesund")));
  const unit = Json.object().set("unit", Json.text("°C"));
  const told = [
    metric("probe.size", 1.5, "counter", unit, "2012-01-01T00:00:00Z"),
    metric("probe.more", 2),
    publish("alarm.high", counted(1)),
    sleep(1),
    progress(2, 2, "ferdig ☃"),
  ];
  for (let i = 0; i < told.length; i++) if (told[i].failed) return told[i].fail();

  const tcp = <i32>at.get("tcp").asInteger();
  const tls = <i32>at.get("tls").asInteger();
  const line = new SocketRequest("tcp", host, tcp).text("hello\r\n").expectUntil("\n").send();
  const bytes = new Uint8Array(2);
  bytes[1] = 255;
  const datagram = new SocketRequest("udp", host, <i32>at.get("udp").asInteger()).bytes(bytes.buffer).timeout(2000);
  const echo = Uint8Array.wrap(datagram.send().bytes);
  const numbers = Json.array();
  for (let i = 0; i < echo.length; i++) numbers.add(Json.integer(echo[i]));
  const sealed = new SocketRequest("tls", host, tls).text("hi").expectBytes(2).anyCertificate().send();
  const port = <i32>at.get("snmp").asInteger();
  const device = new Snmp(host, port).community("public").oid(at.get("oid").asText()).get();
  const table = new Snmp(host, port).set("max_values", 100).oid(at.get("table").asText()).walk();
  const found = contextGet("port", "eth0").ok;
  const documents = contextList("port", "eth").ok.get("documents");
  const keys = Json.array();
  for (let i = 0; i < documents.length; i++) keys.add(documents.at(i).get("key"));
  const request = new HttpRequest(at.get("url").asText());
  request.header("authorization", `Bearer ${HttpRequest.secret("token")}`);
  request.method = "POST";
  request.body = "hei";
  const reply = request.send();
  if (reply.failed) return reply.fail();
  const from = Json.object().set("from", Json.integer(2));
  const out = Json.object().set("kv", stored()).set("pages", paged());
  out.set("tcp", Json.text(line.text)).set("udp", numbers).set("tls", Json.text(sealed.text));
  out.set("there", ping("tcp", host, tcp).ok.get("reachable"));
  out.set("closed", ping("tcp", host, <i32>at.get("closed").asInteger(), 1000).ok.get("reason"));
  out.set("certificate", ping("tls", host, tls).ok.get("certificate").get("subject"));
  out.set("snmp", device.ok.get("values").at(0).get("value"));
  out.set("below", Json.integer(table.ok.get("values").length));
  out.set("context", found.get("value")).set("writer", found.get("instance")).set("keys", keys);
  out.set("nothing", contextGet("port", "none").ok.get("value"));
  out.set("denied", codeOf(contextGet("secret", "key", "oven-2")));
  out.set("call", callFunction("units", "convert", from, 5000).ok.get("output"));
  out.set("csv", emitCsv("id,name\n1,å\n2,b\n").ok.get("rows"));
  return run.ok(out.set("http", Json.text(reply.text)).set("plain", secretValue("plain").ok.get("value")));
}
