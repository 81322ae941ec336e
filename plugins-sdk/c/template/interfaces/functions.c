/** Functions that other plugins may call. */
#include <math.h>
#include <millrace.h>

MR_FUNCTION(summarize) {
  const mr_json *values = mr_get(mr_read_call(), "values");
  double sum = 0, min = INFINITY, max = -INFINITY;
  for (const mr_json *one = values->first; one; one = one->next) {
    double value = mr_number(one, 0);
    sum += value;
    min = fmin(min, value);
    max = fmax(max, value);
  }
  mr_writer out = {};
  mr_open_object(&out);
  mr_set_integer(&out, "count", (int64_t)values->count);
  mr_set_number(&out, "min", min);
  mr_set_number(&out, "max", max);
  mr_set_number(&out, "mean", sum / (double)values->count);
  mr_close(&out);
  return mr_answer(&out);
}
