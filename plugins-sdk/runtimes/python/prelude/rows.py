# Rows on their way out. Of dicts the runtime writes what is common (rows.wat), and Python the rest.

_write, _send, _bytes, _list, _finish_output = js._w, js._s, js._b, js._l, js._p
# How a row came along, when it is not just written: it is and it is time to send, or it is for Python to write.
_FULL, _OTHER = 1, 2


def emit(rows):
    """Sends a row or a list of rows to the platform, in batches."""
    for row in rows if type(rows) is list or type(rows) is tuple else (rows,):
        came = _write(id(row)) if type(row) is dict else _OTHER
        if came:
            _settle(came, row)


def _drain(rows):
    """What a generator yields is emitted; what it returns is the answer."""
    write = _write
    try:
        while True:
            row = next(rows)
            # A row at a time, without a call of Python's: there may be very many.
            if type(row) is dict:
                came = write(id(row))
                if came:
                    _settle(came, row)
            else:
                emit(row)
    except StopIteration as end:
        return end.value


def _settle(came, row):
    if came == _OTHER:
        _refuse_at_build("emit")
        kind = type(row)
        if kind is not dict:
            if not hasattr(kind, "__dataclass_fields__"):
                raise PluginError("invalid", "a row is a dict or a dataclass, not %s" % kind.__name__)
            row = _fields_of(row, kind.__dataclass_fields__)
            came = _write(id(row))
        if came == _OTHER:
            came = _write(_object(row))
    if came == _FULL:
        _flush()


def _flush():
    answer = _send()
    if answer:
        _told(answer)


def _forget():
    """The runtime does it when an export begins."""


def _call_bytes(name, data):
    """One host call whose request is bytes."""
    _refuse_at_build(name)
    if type(data) is not bytes:
        data = bytes(data)
    return _told(_bytes(name, id(data)))


def _answer_with(shaped):
    """The output of an export: rows that are returned are written as those that are emitted."""
    rows = shaped.get("rows") if type(shaped) is dict else None
    if not rows or type(rows) not in (list, tuple):
        _output(_wide(shaped) if type(shaped) is dict else to_json(shaped))
        return
    _write('{"rows": [')
    last = len(rows) - 1
    for at, row in enumerate(rows):
        write = _list if at < last else _write
        kind = type(row)
        if kind is not dict and hasattr(kind, "__dataclass_fields__"):
            row = _fields_of(row, kind.__dataclass_fields__)
        if type(row) is not dict or write(id(row)) == _OTHER:
            write(to_json(row))
    rest = _wide({key: value for key, value in shaped.items() if key != "rows"})
    _finish_output("]" + (", " + rest[1:] if rest != "{}" else "}"))

