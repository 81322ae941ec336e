"""Emits rows, and answers with what to_json makes of the same rows."""

import datetime
import random
from dataclasses import dataclass
from enum import Enum

from millrace import PluginError, emit, emit_arrow, to_json


class Level(Enum):
    LOW = "low"
    HIGH = 2


@dataclass
class Reading:
    name: str
    value: float
    level: Level


@dataclass
class Flat:
    name: str
    count: int


def removed():
    row = {"a": 1, "b": 2, "c": 3}
    del row["b"]
    return row


ROWS = {
    "nothing": {},
    "plain": {"time": "2012-01-01T00:00:00Z", "name": "x", "n": 1, "ok": True, "no": False, "none": None},
    "whole": {"zero": 0, "minus": -1, "small": 2**29, "edge": 2**30 - 1, "over": 2**30, "under": -(2**30) - 1},
    "large": {"a": 2**31, "b": 2**63, "c": 18446744073709551615, "d": -(10**40)},
    "floats": {"one": 1.0, "half": -0.5, "tenth": 0.1, "price": 19.99, "tiny": 1e-9, "big": 1e15, "huge": 1e300},
    "sixth": {"a": 1.234567, "b": 0.000001, "c": 123456789.123456},
    "third": {"a": 1 / 3},
    "zero": {"a": 0.0, "b": -0.0},
    "nan": {"nan": float("nan"), "up": float("inf"), "down": -float("inf")},
    "texts": {"empty": "", "quotes": '"\\', "control": "\x00\x01\b\t\n\x0b\f\r\x1f\x7f", "wide": "é☃𝄞 漢字"},
    "long": {"text": 'a"é' * 400},
    "made": {"name": "".join(["not", " interned ", "yet"]), "slice": "0123456789abcdef"[3:13]},
    "keys": {'k"': 1, "größe": 2, "": 3},
    "numbers as keys": {1: "one", None: "none", 0: "zero"},
    "nested": {"list": [1, "a", None, 1.5], "dict": {"a": {"b": 1}}, "tuple": (1, 2), "set": {1}},
    "bytes": {"a": b"\x00\xff"},
    "time": {"at": datetime.datetime(2012, 1, 1, 3, 4, 5), "day": datetime.date(2012, 1, 1)},
    "enum": {"level": Level.LOW, "n": 1},
    "dataclass": Reading("é", 1.5, Level.HIGH),
    "flat": Flat("flat", 3),
    "inner": {"flat": Flat("in", 4)},
    "removed": removed(),
    "many": {"k%d" % n: n for n in range(60)},
}


def fetch(call):
    """By a generator: one by one, in lists, and a dataclass between."""
    yield {"n": 1}
    yield [{"n": 2}, {"n": 3, "list": [3]}]
    yield Flat("four", 4)
    yield {"n": 5}
    return {"watermark": call.end}


def named(_):
    return [written(name, row) for name, row in list(ROWS.items()) * 2]


def written(name, row):
    emit(row)
    return [name, to_json(row)]


KINDS = (
    lambda: random.randint(-(2**29), 2**29),
    lambda: random.randint(-(10**9), 10**9) * random.randint(1, 10**6),
    lambda: random.randint(-(10**9), 10**9) / 10 ** random.randint(0, 9),
    lambda: random.random() * 10 ** random.randint(-20, 20),
    lambda: "".join([random.choice('ab"\\\n\x00\x1fé☃𝄞 ') for _ in range(random.randint(0, 30))]),
    lambda: random.choice((True, False, None)),
    lambda: [1, "a", 1.5],
    lambda: {"a": 1},
)


def made():
    return {random.choice("abcdefghij"): random.choice(KINDS)() for _ in range(random.randint(0, 8))}


def random_rows(count):
    return [written(str(n), made()) for n in range(count)]


def refused(_):
    said = []
    for value in (None, 1, "a", [[1]], object):
        try:
            emit(value)
        except PluginError as wrong:
            said.append(wrong.message)
    try:
        emit({"a": 1, "b": object})
    except TypeError as wrong:
        said.append(str(wrong))
    emit({"after": 1})
    return said


def many(asked):
    text = "ä" * asked["text"]
    for n in range(asked["count"]):
        emit({"n": n, "text": text if n == 3 else "t"})


def arrow(count):
    """Every byte, `count` times over, as each kind that a library may have it in."""
    data = bytes(range(256)) * count
    emit({"before": 1})
    return [emit_arrow(some) for some in (data, bytearray(data), memoryview(data)[1:4], b"")]


def returned(asked):
    """What a fetch may return, by name; `texts` are its rows as to_json has them."""
    some = [ROWS[name] for name in asked["names"]]
    more = {key: asked[key] for key in ("next", "status") if key in asked}
    more["rows"] = tuple(some) if asked.get("tuple") else some
    if asked.get("texts"):
        return [to_json(row) for row in some]
    return more


def failing(_):
    """Rows that were not sent yet, and half a row."""
    emit({"left": 1})
    return {"rows": [{"left": 2}, {"half": object}]}


functions = {"failing": failing, "returned": returned, "arrow": arrow, "named": named, "random": random_rows, "refused": refused, "many": many}
