"""Rows of one window: begin inclusive, end exclusive."""

from millrace import FetchCall, format_time

MINUTE = 60


def fetch(call: FetchCall):
    greeting = call.config.get("greeting", "hello")
    at = call.window.begin
    while at < call.window.end:
        yield {"time": format_time(at), "greeting": greeting, "minute": int(at) % 3600 // MINUTE}
        at += MINUTE
