# Runs one export: input to a call, generators to rows, what is raised to a structured error.

# What a plugin may export; functions beside.
_INTERFACES = ("fetch", "sync", "before_sync", "after_sync", "register", "poll", "discover", "enrich", "route")
_names = []
_exports = []
_generator = type((lambda: (yield))())


def _export(name, function, is_async):
    _names.append(name)
    _exports.append((function, is_async))


def __dispatch(index):
    name = _names[index]
    _forget()
    try:
        if "random" in sys.modules:
            sys.modules["random"].seed(_word())
        function, is_async = _exports[index]
        try:
            asked = from_json(_input())
        except (ValueError, RuntimeError) as wrong:
            raise PluginError("refused", "the input is not JSON: %s" % wrong)
        if name.startswith("function:") or not isinstance(asked, dict):
            value = function(asked)
        else:
            value = function(_Call(asked))
        if is_async:
            value = _finish(value)
        if name in ("fetch", "sync") and isinstance(value, _generator):
            value = _drain(value)
        _flush()
        _answer_with(_shaped(name, value))
        return 0
    except BaseException as thrown:
        _error(to_json(_failure(thrown)))
        return 1


def _finish(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def _shaped(name, value):
    if name == "fetch":
        return {"rows": value} if isinstance(value, (list, tuple)) else value or {}
    if name == "poll":
        return {"metrics": value or []} if value is None or isinstance(value, (list, tuple)) else value
    if name == "enrich":
        return {"documents": value or []} if value is None or isinstance(value, (list, tuple)) else value
    if name == "discover":
        return {"resources": value, "complete": True} if isinstance(value, (list, tuple)) else value
    if name == "route":
        return _response(value)
    if name == "before_sync":
        return {"veto": value} if isinstance(value, str) else value or {}
    if name in ("register", "sync", "after_sync"):
        return value or {}
    return value


def _response(value):
    status, headers = 200, {}
    if isinstance(value, tuple):
        status, value, headers = (value + ({},))[:3]
    elif isinstance(value, dict) and isinstance(value.get("status"), int):
        status, headers, value = value["status"], value.get("headers") or {}, value.get("body")
    if value is None:
        return {"status": status, "headers": headers}
    if isinstance(value, str):
        kind, body = "text/plain; charset=utf-8", {"body": value}
    elif isinstance(value, (bytes, bytearray)):
        kind, body = "application/octet-stream", {"body_base64": to_base64(value)}
    else:
        kind, body = "application/json; charset=utf-8", {"body": to_json(value)}
    headers = dict(headers)
    if not any(name.lower() == "content-type" for name in headers):
        headers["content-type"] = kind
    body["status"] = status
    body["headers"] = headers
    return body


def _failure(thrown):
    out = io.StringIO()
    sys.print_exception(thrown, out)
    frames = []
    for line in out.getvalue().split("\n"):
        if not line.startswith('  File "'):
            continue
        path, rest = line[8:].split('", line ', 1)
        if path not in _paths:
            continue
        number, _, name = rest.partition(", in ")
        number = number.split(",")[0]
        where = path + ":" + number
        frames.append("%s (%s)" % (name, where) if name and name != "<module>" else where)
    frames = frames[-_MAX_FRAMES:]
    frames.reverse()
    at = frames[0].split("(")[-1].rstrip(")") if frames else ""
    details = {}
    if isinstance(thrown, PluginError):
        code, said, retryable = thrown.code, thrown.message, bool(thrown.retryable)
        details.update(thrown.details or {})
    else:
        code, retryable = "exception", False
        said = "%s: %s" % (type(thrown).__name__, thrown)
        if at:
            said += " (at %s)" % at
    if at:
        details["at"] = at
        details["stack"] = frames
    failure = {"code": code, "message": said, "retryable": retryable}
    if details:
        failure["details"] = details
    return failure
