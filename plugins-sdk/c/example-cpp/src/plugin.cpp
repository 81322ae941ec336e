/** The daily mean of carbon dioxide, from a file that has all days. */
#include <millrace.hpp>

#include "lines.hpp"

using namespace millrace;

namespace {

constexpr string_view source = "https://gml.noaa.gov/webdata/ccgg/trends/co2/co2_daily_mlo.csv";

struct Day {
  Time time;
  double ppm;
};

/** Nothing when a line is a comment, a heading or no measurement. */
std::optional<Day> day_of(string_view line) {
  if (line.starts_with('#')) return {};
  auto found = fields<5>(line);
  if (!found) return {};
  auto &[year, month, day, decimal, ppm] = *found;
  auto time = Time::parse(mr_format("%s-%02d-%02d", zero_ended(year), atoi(zero_ended(month)), atoi(zero_ended(day))));
  double value = strtod(zero_ended(ppm), nullptr);
  return time && value > 0 ? std::optional(Day{*time, value}) : std::nullopt;
}

}  // namespace

MR_EXPORT(fetch) {
  Fetch run;
  auto reply = Request("GET", run.config["url"].text(source)).attempts(3).cache().send();
  if (!reply) return reply.fail();
  if (!reply->ok()) return fail_retryable("bad_status", mr_format("the source answered %d", reply->status));
  Emitter rows;
  size_t measured = 0;
  for (string_view line : Split(reply->body, '\n')) {
    auto day = day_of(line);
    if (!day) continue;
    measured++;
    if (run.has(day->time)) rows.row().set("time", day->time.day()).set("ppm", day->ppm);
  }
  // An answer without any measurement is no file of theirs: better to fail than to say that there is nothing.
  if (!measured) return fail("bad_answer", "the source has no line of a measurement");
  return rows.count() ? run.ok(rows) : run.no_data();
}
