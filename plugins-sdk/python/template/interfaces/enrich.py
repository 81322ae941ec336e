"""What is behind an HTTP endpoint, kept as context of the resource."""

from millrace import EnrichCall, http


def enrich(call: EnrichCall):
    reply = http.get(call.resource["endpoint"])
    value = {"software": reply.header("server", ""), "content_type": reply.header("content-type", "")}
    return [{"namespace": "server", "key": "http", "value": value}]
