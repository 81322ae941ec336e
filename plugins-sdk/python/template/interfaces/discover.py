"""What there is to poll: the sites of the config."""

from millrace import DiscoverCall


def discover(call: DiscoverCall):
    return [{"id": site["id"], "type": "http", "endpoint": site["url"]} for site in call.config.get("sites", [])]
