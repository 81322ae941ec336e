/** What there is to poll: the sites of the config. */
#include <millrace.h>

MR_EXPORT(discover) {
  mr_discover run = mr_discover_read();
  for (const mr_json *site = mr_get(run.config, "sites")->first; site; site = site->next) {
    mr_resource(&run, mr_text(mr_get(site, "id"), ""), "http", mr_text(mr_get(site, "url"), ""));
  }
  return mr_discover_complete(&run);
}
