// Answers over HTTP: `GET /greet/{name}?with=hei`.
import { Json, RouteCall } from "@millrace/assemblyscript";

export function route(): i32 {
  const call = RouteCall.read();
  const greeting = `${call.ask("with", "hello")}, ${call.param("name")}`;
  return call.sendJson(Json.object().set("greeting", Json.text(greeting)));
}
