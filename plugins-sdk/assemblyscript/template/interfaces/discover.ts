// What there is to poll: the sites of the config.
import { DiscoverCall } from "@millrace/assemblyscript";

export function discover(): i32 {
  const run = DiscoverCall.read();
  const sites = run.config.get("sites");
  for (let i = 0; i < sites.length; i++) {
    run.resource(sites.at(i).get("id").asText(), "http", sites.at(i).get("url").asText());
  }
  return run.complete();
}
