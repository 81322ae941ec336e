/** Answers over HTTP: `GET /greet/{name}?with=hei`. */
#include <millrace.h>

MR_EXPORT(route) {
  mr_route call = mr_route_read();
  mr_writer out = {};
  mr_open_object(&out);
  mr_set_text(&out, "greeting", mr_format("%s, %s", mr_ask(&call, "with", "hello"), mr_param(&call, "name")));
  mr_close(&out);
  return mr_send_json(&call, 200, &out);
}
