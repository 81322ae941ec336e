# What MicroPython's prelude stands on, in CPython: first part of the prelude. The host is behind two descriptors, see
# wasi.wat; everything else of the SDK is the same program for both.
import dataclasses as _dataclasses_
import datetime as _datetime_
import decimal as _decimal_
import enum as _enum_
import json as _json_
import os as _os_
import sys
import traceback as _traceback_
import types as _types_
import typing as _typing_
import uuid as _uuid_


def _answer():
    left = int.from_bytes(_os_.read(0, 8), "little")
    parts = []
    while left:
        part = _os_.read(0, left)
        parts.append(part)
        left -= len(part)
    return b"".join(parts).decode()


class _Host:
    @staticmethod
    def _i():
        _os_.write(1, b"i")
        return _answer()

    @staticmethod
    def _o(text):
        _os_.write(1, b"o" + text.encode("utf-8", "replace"))

    @staticmethod
    def _e(text):
        _os_.write(1, b"e" + text.encode("utf-8", "replace"))

    @staticmethod
    def _h(name, request):
        return _Host._b(name, request.encode("utf-8", "replace"))

    @staticmethod
    def _b(name, request):
        _os_.write(1, b"h" + name.encode() + b"\0" + request)
        return _answer()

    @staticmethod
    def _r():
        return int.from_bytes(_os_.urandom(32), "little")


sys.modules["js"] = _Host
sys.print_exception = lambda thrown, out: _traceback_.print_exception(thrown, file=out)
_Member = _enum_.Enum
_anything = _typing_.Any


def _Module(name, members):
    module = _types_.ModuleType(name)
    module.__dict__.update(members)
    return module
