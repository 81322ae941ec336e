"""Whether an HTTP endpoint answers, with what status and how fast."""

from millrace import PluginError, PollCall, gauge, http

TIMEOUT = 5


def poll(call: PollCall):
    url = call.resource["endpoint"]
    try:
        reply = http.get(url, timeout=TIMEOUT)
        latency_ms = round(reply.elapsed * 1000)
        values = {"up": gauge(int(reply.ok)), "status": gauge(reply.status), "latency_ms": gauge(latency_ms)}
    except PluginError as failure:
        # An endpoint that is down is what we came to measure; anything else is our own trouble.
        if failure.code not in ("unavailable", "deadline"):
            raise
        values = {"up": gauge(0)}
    return [{"group": "http", "dimensions": {"url": url}, "values": values}]
