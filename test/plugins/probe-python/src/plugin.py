"""The probe in Python: what every SDK must be able to do, told by its config."""

import time

from millrace import (
    PluginError,
    checkpoint,
    counter,
    format_time,
    gauge,
    host_call,
    http,
    kv,
    log,
    parse_time,
    progress,
    publish,
    random_bytes,
    secret,
)
from host_functions import helpers
from shapes import Colour, Row
from written import after_sync, before_sync, sync

BIG = 9007199254740993


def row(call, i, count):
    """Row `i` of `count`, spread evenly over the window."""
    begin, end = call.window.begin, call.window.end
    at = format_time(begin + (end - begin) / count * i)
    return Row(at, BIG + i, 'rød grød ☃ 𝄞 "%d"\n' % i, i / 4, i % 2 == 1)


def emitted(call, count):
    """Rows in batches, each followed by a checkpoint that a later attempt starts after."""
    batches = call.config.get("batches", 1)
    for batch in range((call.cursor or {}).get("batches", 0), batches):
        yield [row(call, i, count) for i in range(batch * count // batches, (batch + 1) * count // batches)]
        checkpoint({"batches": batch + 1})
        progress(batch + 1, batches, "halvveis ☃")


def hosted():
    import binascii

    log.warning("logged: é☃")
    print("printed: é☃")
    replies = [
        kv.put("größe", {"n": 18446744073709551615}),
        kv.entry("größe"),
        host_call("query", {"sql": "SELECT {city:String}", "params": {"city": "Tromsø"}, "max_rows": 10}),
        {"value": secret("token")},
        host_call("call", {"instance": "units", "function": "convert", "input": {"from": 1}}),
        publish("alarm.high", {"°C": 41.5}),
    ]
    random = binascii.b2a_base64(random_bytes(16)).decode().strip()
    last = {"now": time.time() * 1000, "clock": time.time(), "random": random}
    return [{"ok": ok} for ok in replies] + [last]


def downloaded(call):
    reply = http.post(call.config["url"], headers={"x-probe": "é"}, body="hei", timeout=1.5)
    return [{"status": reply.status, "body": reply.text, "type": reply.header("Content-Type")}]


def fetch(call):
    mode, count = call.config.get("mode", "rows"), call.config.get("rows", 10)
    if mode == "emit":
        return emitted(call, count)
    if mode == "host":
        return hosted()
    if mode == "http":
        return downloaded(call)
    if mode == "empty":
        return {"status": "no_data"}
    if mode == "fail":
        raise PluginError("asked_to", "failed as asked: é☃")
    if mode == "retry":
        raise PluginError("busy", "later", retryable=True, details={"retry_after_ms": 50})
    if mode == "crash":
        return call.cursor["no"]["such"]
    if mode == "page":
        page = call.cursor or 0
        return {"rows": [row(call, page, 3)], "next": page + 1 if page < 2 else None}
    if mode == "integers":
        begin, end = call.range.begin, call.range.end
        rows = [{"begin": str(begin), "end": str(end), "has": [call.range.has(begin), call.range.has(end)]}]
        return {"rows": rows, "watermark": str(end + 1)}
    return {"status": "ok", "rows": [row(call, i, count) for i in range(count)]}


def register(call):
    return {"columns": {"time": "timestamp", "id": "int64"}, "index": ["time", "id"], "datetime": "time"}


async def poll(call):
    polls = (call.previous or {}).get("polls", 0) + 1
    oven = {
        "group": "oven",
        "dimensions": {"resource": call.resource.id, "unit": call.context.get("unit", {}).get("temperature", "°C")},
        "values": {"temperature": gauge(21.5), "polls": counter(polls)},
    }
    door = {"group": "door", "time": "2012-01-01T00:00:00Z", "dimensions": {}, "values": {"open": gauge(1)}}
    return {"metrics": [oven, door], "status": "ok"}


def enrich(call):
    speed = {"speed": call.config["speed"], "of": call.resource.id}
    return [
        {"namespace": "port", "key": "ø", "value": speed},
        {"namespace": "note", "key": "1", "value": "naboen ☃", "resource": "oven-2", "ttl": "5m"},
    ]


def discover(call):
    def oven(i):
        return {
            "id": "oven-%d" % i,
            "type": "oven",
            "endpoint": "http://127.0.0.1/",
            "site": call.site,
            "labels": {"shelf": "øverst"},
        }

    return [oven(0), oven(1)]


def route(call):
    if call.path == "/binary":
        return call.bytes()
    if call.path != "/echo/å":
        return 404, {"error": {"code": "not_found", "message": call.path}}
    q = call.query.get("q", "none")
    said = {"name": call.params["name"], "q": q[0] if isinstance(q, list) else q, "r": call.query.get("r", "none")}
    said["body"] = call.text()
    return {"status": 201, "headers": {"x-probe": "yes"}, "body": said}


def rewritten(value):
    if not isinstance(value, str):
        return value
    try:
        return format_time(parse_time(value))
    except ValueError:
        return None


def shapes(_):
    """Dataclasses and enums, as far as rows need them."""
    one = Row("t", 1, name="n")
    return {
        "row": one,
        "same": one == Row("t", 1, "n"),
        "shown": repr(one),
        "colours": [colour.name for colour in Colour],
        "red": Colour.RED,
        "by_value": Colour("g").name,
        "by_name": Colour["BLUE"].value,
    }


def dice(_):
    import random

    return [random.random(), random.randint(0, 1 << 29)]


def recurse(n):
    return recurse(n) + 1


functions = {
    "helpers": helpers,
    "roundtrip": lambda value: value,
    "rewrite": lambda values: [rewritten(value) for value in values],
    "shapes": shapes,
    "dice": dice,
    "recurse": recurse,
}
