/** What there is to poll: the sites of the config. */
#include <millrace.hpp>

using namespace millrace;

MR_EXPORT(discover) {
  Discover run;
  for (Json site : run.config()["sites"]) run.resource(site["id"].text(), "http", site["url"].text());
  return run.complete();
}
