/** Functions that other plugins may call. */
#include <algorithm>
#include <limits>
#include <millrace.hpp>

using namespace millrace;

MR_FUNCTION(summarize) {
  Json values = Json::input()["values"];
  double sum = 0, min = std::numeric_limits<double>::infinity(), max = -min;
  for (Json value : values) {
    sum += value.number();
    min = std::min(min, value.number());
    max = std::max(max, value.number());
  }
  Text out;
  out.object()
      .set("count", (int64_t)values.size())
      .set("min", min)
      .set("max", max)
      .set("mean", sum / (double)values.size());
  return out.answer();
}
