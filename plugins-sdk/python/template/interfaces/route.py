"""Answers over HTTP: `GET /greet/{name}?with=hei`."""

from millrace import RouteCall


def route(call: RouteCall):
    greeting = call.query.get("with", "hello")
    return {"greeting": f"{greeting}, {call.params['name']}"}
