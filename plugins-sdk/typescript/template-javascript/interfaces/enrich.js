/** What is behind an HTTP endpoint, kept as context of the resource. */
import { http } from "@millrace/typescript";

export function enrich({ resource }) {
  const reply = http.get(resource.endpoint);
  const value = { software: reply.header("server") ?? "", content_type: reply.header("content-type") ?? "" };
  return [{ namespace: "server", key: "http", value }];
}
