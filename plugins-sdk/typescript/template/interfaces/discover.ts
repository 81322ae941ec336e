/** What there is to poll: the sites of the config. */
import type { DiscoverCall } from "@millrace/typescript";

interface Site {
  readonly id: string;
  readonly url: string;
}

export function discover({ config }: DiscoverCall<{ sites?: readonly Site[] }>) {
  const { sites = [] } = config;
  return sites.map(({ id, url }) => ({ id, type: "http", endpoint: url }));
}
