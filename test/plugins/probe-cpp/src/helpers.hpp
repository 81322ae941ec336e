/** Each helper of the SDK for a host function, tried once; documents about a resource. */
#pragma once

#include <millrace.hpp>

using namespace millrace;

namespace {

string_view code_of(const Result<Json> &reply) { return reply ? "none" : reply.fault().code; }
Json value_of(const Result<Json> &reply) { return reply ? (*reply)["value"] : Json(); }

Text counted(int64_t n) {
  Text text;
  text.object().set("n", n);
  return text;
}

void stored(Object out) {
  kv::put("n", counted(1), 1min);
  auto found = kv::entry("n");
  if (!found) return;
  Json revision = (*found)["revision"];
  kv::update("n", counted(2), revision, 1min);
  out.set("value", value_of(found)).set("lives", (*found)["ttl_ms"].number() > 0);
  out.set("stale", code_of(kv::update("n", Text::of(3), revision))).set("taken", code_of(kv::create("n", Text::of(4))));
  out.set("swapped", value_of(kv::entry("n")));
  kv::remove("n");
  out.set("gone", value_of(kv::entry("n")));
}

void paged(Array out) {
  for (int n = 1; n <= 3; n++) kv::create(mr_format("a:%d", n), Text::of(n), 1min);
  string_view after = "";
  do {
    auto page = kv::page("a:", 2, after);
    if (!page) return;
    for (Json one : (*page)["entries"]) out.add(one["key"]);
    after = (*page)["next"].text();
  } while (!after.empty());
}

void reached(Object &out, Json at) {
  string_view host = at["host"].text();
  auto port = [&](const char *name) { return (int32_t)at[name].integer(); };
  if (auto line = Socket::tcp(host, port("tcp")).send("hello\r\n").until("\n").exchange()) out.set("tcp", line->data);
  if (auto echo = Socket::udp(host, port("udp")).send({"\0\xff", 2}).timeout(2s).exchange()) {
    Array bytes = out.array("udp");
    for (char byte : echo->data) bytes.add((uint8_t)byte);
  }
  if (auto sealed = Socket::tls(host, port("tls")).send("hi").length(2).any_certificate().exchange()) {
    out.set("tls", sealed->data);
  }
  if (auto there = ping("tcp", host, port("tcp"))) out.set("there", (*there)["reachable"]);
  if (auto closed = ping("tcp", host, port("closed"), 1s)) out.set("closed", (*closed)["reason"]);
  if (auto shown = ping("tls", host, port("tls"))) out.set("certificate", (*shown)["certificate"]["subject"]);
  Snmp device(host, port("snmp"));
  device.community("public");
  if (auto got = device.get({at["oid"].text()})) out.set("snmp", (*got)["values"][0]["value"]);
  if (auto walked = device.max_values(100).walk({at["table"].text()})) out.set("below", (*walked)["values"].size());
}

void known(Object &out) {
  auto found = context::get("port", "eth0");
  out.set("context", value_of(found));
  if (found) out.set("writer", (*found)["instance"]);
  if (auto listed = context::list("port", "eth")) {
    Array keys = out.array("keys");
    for (Json one : (*listed)["documents"]) keys.add(one["key"]);
  }
  out.set("nothing", value_of(context::get("port", "none")));
  out.set("denied", code_of(context::get("secret", "key", "oven-2")));
}

}  // namespace

MR_FUNCTION(helpers) {
  Json at = Json::input();
  Text fields, from;
  fields.object().set("count", 3).set("where", "Ålesund");
  from.object().set("from", 2);
  log("warn", "with fields", fields);
  const auto time = Time::parse("2012-01-01");
  const Result<Json> told[] = {
      metric("probe.size", 1.5, {.type = "counter", .dimensions = {{"unit", "°C"}}, .time = time}),
      metric("probe.more", 2),
      publish("alarm.high", counted(1)),
      sleep(1ms),
      progress(2, 2, "ferdig ☃"),
  };
  for (const auto &reply : told) {
    if (!reply) return reply.fail();
  }
  auto called = call("units", "convert", from, 5s);
  if (!called) return called.fail();
  auto reply = Request("POST", at["url"].text())
                   .header("authorization", mr_format("Bearer %s", zero_ended(placeholder("token"))))
                   .body("hei")
                   .send();
  if (!reply) return reply.fail();
  auto plain = secret("plain");
  if (!plain) return plain.fail();
  auto rows = emit_csv("id,name\n1,å\n2,b\n");
  if (!rows) return rows.fail();
  Text text;
  {
    Object out = text.object();
    stored(out.object("kv"));
    paged(out.array("pages"));
    reached(out, at);
    known(out);
    out.set("call", (*called)["output"]).set("http", reply->body).set("plain", *plain).set("csv", *rows);
  }
  return text.answer();
}

MR_EXPORT(enrich) {
  Enrich run;
  Text speed;
  speed.object().set("speed", run.config()["speed"]).set("of", run.id());
  run.document("port", "ø", speed);
  run.document("note", "1", Text::of("naboen ☃"), {.about = "oven-2", .ttl = "5m"});
  return run.ok();
}
