/** What there is to poll: the sites of the config. */
export function discover({ config }) {
  const { sites = [] } = config;
  return sites.map(({ id, url }) => ({ id, type: "http", endpoint: url }));
}
