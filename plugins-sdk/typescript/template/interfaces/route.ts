/** Answers over HTTP: `GET /greet/{name}?with=hei`. */
import type { RouteCall } from "@millrace/typescript";

export function route({ params, query }: RouteCall) {
  const { with: greeting = "hello" } = query;
  return { greeting: `${greeting}, ${params.name}` };
}
