/** The probe in C++: what every SDK must be able to do, told by its config. */
#include <millrace.hpp>

// Parts of this source: each source of its own costs ten seconds.
#include "helpers.hpp"
#include "sync.hpp"

using namespace millrace;

namespace {

constexpr int64_t big = 9007199254740993;

/** Row `i` of `count`, spread evenly over the window. */
void put(Rows &rows, const Fetch &run, int64_t i, int64_t count) {
  rows.row()
      .set("time", run.begin + (run.end - run.begin) / count * i)
      .set("id", big + i)
      .set("name", mr_format("rød grød ☃ 𝄞 \"%lld\"\n", (long long)i))
      .set("value", (double)i / 4)
      .set("flag", i % 2 == 1);
}

/** Rows in batches, each followed by a checkpoint that a later attempt starts after. */
int32_t emitted(Fetch &run, int64_t count) {
  int64_t batches = run.config["batches"].integer(1);
  Emitter rows;
  for (int64_t batch = run.cursor["batches"].integer(0); batch < batches; batch++) {
    for (int64_t i = batch * count / batches; i < (batch + 1) * count / batches; i++) put(rows, run, i, count);
    Text cursor;
    cursor.object().set("batches", batch + 1);
    if (auto saved = rows.checkpoint(cursor); !saved) return saved.fail();
    progress((double)batch + 1, (double)batches, "halvveis ☃");
  }
  return run.ok(rows);
}

int32_t hosted(Fetch &run) {
  char random[16];
  mr_random(random, sizeof random);
  log("warn", "logged: é☃");
  printf("printed: é☃\n");
  Text city, from, alarm;
  city.object().set("city", "Tromsø");
  from.object().set("from", 1);
  alarm.object().set("°C", 41.5);
  Rows rows;
  const Result<Json> replies[] = {
      kv::put("größe", Text::of(*Json::parse("{\"n\":18446744073709551615}"))),
      kv::entry("größe"),
      query("SELECT {city:String}", city, 10),
  };
  for (const auto &reply : replies) {
    if (!reply) return reply.fail();
    rows.row().set("ok", *reply);
  }
  auto token = secret("token");
  if (!token) return token.fail();
  {
    Object row = rows.row();
    row.object("ok").set("value", *token);
  }
  auto called = call("units", "convert", from);
  if (!called) return called.fail();
  rows.row().set("ok", *called);
  if (auto said = publish("alarm.high", alarm); !said) return said.fail();
  Time now = Time::now();
  rows.row()
      .set("now", (double)now.us / 1000)
      .set("clock", now.us / 1'000'000)
      .set("random", mr_encode_base64(random, sizeof random));
  return run.ok(rows);
}

int32_t downloaded(Fetch &run) {
  auto reply = Request("POST", run.config["url"].text()).header("x-probe", "é").body("hei").timeout(1500ms).send();
  if (!reply) return reply.fail();
  Rows rows;
  rows.row().set("status", reply->status).set("body", reply->body).set("type", reply->header("content-type"));
  return run.ok(rows);
}

}  // namespace

MR_EXPORT(fetch) {
  Fetch run;
  string_view mode = run.config["mode"].text("rows");
  int64_t count = run.config["rows"].integer(10);
  Rows rows;
  if (mode == "emit") return emitted(run, count);
  if (mode == "host") return hosted(run);
  if (mode == "http") return downloaded(run);
  if (mode == "empty") return run.no_data();
  if (mode == "fail") return fail("asked_to", "failed as asked: é☃");
  if (mode == "retry") return fail_retryable("busy", "later", 50ms);
  if (mode == "crash") __builtin_trap();
  if (mode == "page") {
    int64_t page = run.cursor.integer(0);
    put(rows, run, page, 3);
    if (page < 2) run.next(Text::of(page + 1));
    return run.ok(rows);
  }
  for (int64_t i = 0; i < count; i++) put(rows, run, i, count);
  return run.ok(rows);
}

MR_EXPORT(register) {
  Register run;
  run.column("time", "timestamp").column("id", "int64").index("time").index("id").datetime("time");
  return run.ok();
}

MR_EXPORT(poll) {
  Poll run;
  run.group("oven")
      .dimension("resource", run.id())
      .dimension("unit", run.context()["unit"]["temperature"].text("°C"))
      .gauge("temperature", 21.5)
      .counter("polls", run.previous()["polls"].number() + 1);
  run.group("door", Time::parse("2012-01-01")).gauge("open", 1);
  return run.ok();
}

MR_EXPORT(discover) {
  Discover run;
  for (int i = 0; i < 2; i++) {
    mr_writer *oven = run.resource(mr_format("oven-%d", i), "oven", "http://127.0.0.1/");
    mr_set_text(oven, "site", zero_ended(run.site()));
    mr_set_raw(oven, "labels", "{\"shelf\":\"øverst\"}");
  }
  return run.complete();
}

MR_EXPORT(route) {
  Route call;
  if (call.path() == "/binary") return call.send_bytes(200, "image/x", call.body());
  if (call.path() != "/echo/å") return call.send_error(404, "not_found", call.path());
  Text said;
  said.object()
      .set("name", call.param("name"))
      .set("q", call.ask("q", "none"))
      .set("r", call.ask("r", "none"))
      .set("body", call.body());
  return call.header("x-probe", "yes").send(201, said);
}

MR_FUNCTION(roundtrip) {
  mr_bytes input = mr_input();
  auto json = Json::parse({input.at, input.length});
  return json ? Text::of(*json).answer() : fail("refused", "the input is not JSON");
}

/** Numbers as doubles, text and times made anew, so that the writer's own forms are seen. */
MR_FUNCTION(rewrite) {
  Text text;
  {
    Array out = text.array();
    for (Json one : Json::input()) {
      if (one.kind() == MR_NUMBER) out.add(one.number());
      else out.add(one.time());
    }
  }
  return text.answer();
}
