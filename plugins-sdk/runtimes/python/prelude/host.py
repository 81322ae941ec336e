# The host's side of everything: JSON, calls with their errors, rows on their way out. First part of the prelude, which
# is one program in several files: it runs before the author's code and becomes part of the snapshot.
import builtins
import io
import sys
import time

import js
from json import dumps as _dumps
from json import loads as _loads

_input, _output, _error, _host, _word = js._i, js._o, js._e, js._h, js._r

_MAX_FRAMES = 20
_building = True


class PluginError(Exception):
    """A failure with a code that the platform and other plugins understand."""

    def __init__(self, code, message, retryable=False, details=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details


# What the interpreter's own writer takes as it is. It is fast for small values and slow for long texts.
_DIRECT = {str, int, bool, type(None)}
_PLAIN = {str, int, bool, type(None), float}


# A longer text is escaped by our own: the interpreter's writer copies what it wrote again and again.
_LONG_CHARACTERS = 500
_ESCAPES = [("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")]
_ESCAPES += [(chr(code), "\\u%04x" % code) for code in range(32) if code not in (9, 10, 13)]


def _long_text(text):
    for plain, escaped in _ESCAPES:
        if plain in text:
            text = text.replace(plain, escaped)
    return '"' + text + '"'


def to_json(value):
    """JSON text: dataclasses are objects, times RFC 3339, members of enums their values, bytes base64."""
    kind = type(value)
    if kind is str and len(value) > _LONG_CHARACTERS:
        return _long_text(value)
    if kind in _DIRECT:
        return _dumps(value)
    if kind is dict:
        return _object(value)
    if kind is list or kind is tuple or kind is set:
        return "[" + ", ".join([to_json(item) for item in value]) + "]"
    if kind is float:
        return _dumps(value if value - value == 0 else None)
    if hasattr(kind, "__dataclass_fields__"):
        return _object(_fields_of(value, kind.__dataclass_fields__))
    if isinstance(value, _Member):
        return to_json(value.value)
    if kind is bytes or kind is bytearray:
        return _dumps(to_base64(value))
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        if "T" in text:
            text = text + "Z" if getattr(value, "tzinfo", None) is None else text.replace("+00:00", "Z")
        return _dumps(text)
    raise TypeError("%s cannot be written as JSON" % kind.__name__)


def _fields_of(value, names):
    fields = value.__dict__
    # Attributes that are no fields are no columns.
    return fields if len(fields) == len(names) else {name: getattr(value, name) for name in names}


def _object(fields):
    if _PLAIN.issuperset(map(type, fields.values())):
        text = _dumps(fields)
        # What is no number would be written as such: only then each value is looked at.
        if "nan" not in text and "inf" not in text:
            return text
    return _wide(fields)


def _wide(fields):
    """An object whose members may be long."""
    return "{" + ", ".join([_dumps(str(key)) + ": " + to_json(value) for key, value in fields.items()]) + "}"


def to_base64(data):
    import binascii

    return binascii.b2a_base64(data).decode().strip()


def from_base64(text):
    import binascii

    return binascii.a2b_base64(text.encode())


def _whole(text):
    """MicroPython reads the two halves of a character beyond U+FFFF apart: they are joined before."""
    if "\\ud" not in text and "\\uD" not in text:
        return text
    parts = text.split("\\u")
    out = [parts[0]]
    high = None
    for part in parts[1:]:
        escaped = (len(out[-1]) - len(out[-1].rstrip("\\"))) % 2 == 1
        code = -1 if escaped else int(part[:4], 16)
        if high is not None and 0xDC00 <= code < 0xE000:
            out[-1] = chr(0x10000 + ((high - 0xD800) << 10) + code - 0xDC00) + part[4:]
            high = None
            continue
        if high is not None:
            out[-1] = "\ufffd" + out[-1][6:]
        high = code if 0xD800 <= code < 0xDC00 and len(part) == 4 else None
        if 0xD800 <= code < 0xE000 and high is None:
            out.append("\ufffd" + part[4:])
        else:
            out.append("\\u" + part)
    if high is not None:
        out[-1] = "\ufffd" + out[-1][6:]
    return "".join(out)


def from_json(text):
    return _loads(_whole(text if type(text) is str else bytes(text).decode()))


def _refuse_at_build(name):
    if _building:
        raise PluginError(
            "build",
            "the host function %s is not available at build time; move it into an exported function: "
            "code at the top level runs once, when the plugin is built" % name,
        )


def host_call(name, request=None):
    _refuse_at_build(name)
    if type(request) is not str:
        request = _wide(request) if type(request) is dict else to_json(request or {})
    return _told(_host(name, request))


def _told(text):
    answer = from_json(text)
    failure = answer.get("error")
    if failure:
        raise PluginError(
            failure.get("code", "internal"),
            failure.get("message", ""),
            failure.get("retryable", False),
            failure.get("details"),
        )
    return answer.get("ok")


def emit_csv(text):
    """Rows as CSV with a header, read by the store as they are: some MiB at a time. Gives their count once durable."""
    _flush()
    return host_call("emit:csv", text)["rows"]


def emit_arrow(stream):
    """Rows as an Arrow stream (IPC, the schema first, uncompressed), as `emit_csv`: bytes."""
    _flush()
    return _call_bytes("emit:arrow", stream)["rows"]


def checkpoint(cursor):
    """All rows emitted so far are kept, and a next attempt gets `cursor`."""
    _flush()
    host_call("checkpoint", {"cursor": cursor})
