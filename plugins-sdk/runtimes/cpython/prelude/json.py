# JSON by CPython's own library, which is in C: in place of what MicroPython needs.


def _plain(value):
    kind = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in _dataclasses_.fields(kind)}
    if isinstance(value, _Member):
        return value.value
    if isinstance(value, (bytes, bytearray)):
        return to_base64(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (_decimal_.Decimal, _uuid_.UUID)):
        return str(value)
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        if isinstance(value, _datetime_.datetime):
            text = text + "Z" if value.tzinfo is None else text.replace("+00:00", "Z")
        return text
    raise TypeError("%s cannot be written as JSON" % kind.__name__)


def _without_nan(value):
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_without_nan(item) for item in value]
    if hasattr(type(value), "__dataclass_fields__"):
        return _without_nan(_plain(value))
    return value


_encode = _json_.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode


def to_json(value):
    """JSON text: dataclasses are objects, times RFC 3339, members of enums their values, bytes base64."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_without_nan(value))


_object = _wide = to_json


def _fields_of(value, names):
    """The encoder asks for them itself."""
    return value


def from_json(text):
    return _json_.loads(text)


# Rows are sent when this many characters of them are waiting.
_BATCH_CHARACTERS = 256 * 1024
_rows = []
_waiting = 0


def emit(rows):
    """Sends a row or a list of rows to the platform, in batches."""
    global _waiting
    for row in rows if type(rows) is list or type(rows) is tuple else (rows,):
        if type(row) is not dict and not hasattr(type(row), "__dataclass_fields__"):
            raise PluginError("invalid", "a row is a dict or a dataclass, not %s" % type(row).__name__)
        line = to_json(row)
        _rows.append(line)
        _waiting += len(line) + 1
        if _waiting >= _BATCH_CHARACTERS:
            _flush()


def _drain(rows):
    """What a generator yields is emitted; what it returns is the answer."""
    try:
        while True:
            emit(next(rows))
    except StopIteration as end:
        return end.value


def _flush():
    if _rows:
        batch = "\n".join(_rows) + "\n"
        _forget()
        host_call("emit", batch)


def _forget():
    global _waiting
    _rows.clear()
    _waiting = 0


def _call_bytes(name, data):
    """One host call whose request is bytes."""
    _refuse_at_build(name)
    return _told(js._b(name, bytes(data)))


def _answer_with(shaped):
    """The output of an export."""
    _output(to_json(shaped))
