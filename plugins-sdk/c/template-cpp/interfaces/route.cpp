/** Answers over HTTP: `GET /greet/{name}?with=hei`. */
#include <millrace.hpp>
#include <string>

using namespace millrace;

MR_EXPORT(route) {
  Route call;
  auto greeting = std::string(call.ask("with", "hello")).append(", ").append(call.param("name"));
  Text out;
  out.object().set("greeting", string_view(greeting));
  return call.send(200, out);
}
