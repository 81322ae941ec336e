# What a run does beside fetching: progress, secrets, queries, calls, events, log, key-value store.


def progress(done, total=None, message=None):
    host_call("progress", {"done": done, "total": total, "message": message})


def sleep(seconds):
    """Waits without using the CPU."""
    host_call("sleep", {"ms": seconds * 1000})


def secret(name):
    """The value of a secret. Needs `name!` among the permissions."""
    return host_call("secret", {"name": name})["value"]


def placeholder(name):
    """Text for HTTP requests: the host puts the secret in, and the plugin never sees it."""
    return "{{secret:%s}}" % name


def query(sql, params=None, max_rows=None):
    """Read-only SQL on granted tables, as dicts."""
    request = {"sql": sql, "params": params or {}}
    if max_rows is not None:
        request["max_rows"] = max_rows
    answer = host_call("query", request)
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row)) for row in answer["rows"]]


def call(instance, function, input=None, timeout=None):
    """Another instance's function."""
    request = {"instance": instance, "function": function, "input": input}
    if timeout is not None:
        request["timeout_ms"] = timeout * 1000
    return host_call("call", request)["output"]


def publish(subject, body=None):
    host_call("publish", {"subject": subject, "body": body})


def random_bytes(count):
    return bytes([_word() & 255 for _ in range(count)])


def gauge(value):
    """A value that goes up and down."""
    return {"value": value, "type": "gauge"}


def counter(value):
    """A value that only grows, save for restarts."""
    return {"value": value, "type": "counter"}


class _Log:
    def _line(self, level, message, fields):
        request = {"level": level, "message": message if type(message) is str else str(message)}
        if fields:
            request["fields"] = fields
        host_call("log", request)

    def debug(self, message, **fields):
        self._line("debug", message, fields)

    def info(self, message, **fields):
        self._line("info", message, fields)

    def warning(self, message, **fields):
        self._line("warn", message, fields)

    def error(self, message, **fields):
        self._line("error", message, fields)


log = _Log()
log.warn = log.warning


def _print(*values, sep=" ", end="\n", file=None):
    text = sep.join([str(value) for value in values])
    if file is not None:
        file.write(text + end)
    elif not _building:
        log.info(text)


builtins.print = _print

class _Kv:
    def _operate(self, op, key, **more):
        more["op"] = op
        more["key"] = key
        return host_call("kv", more)

    def get(self, key, default=None):
        answer = self._operate("get", key)
        return answer["value"] if "revision" in answer else default

    def entry(self, key):
        """The value with its revision, for `update`; None when there is no such key."""
        answer = self._operate("get", key)
        return answer if "revision" in answer else None

    def put(self, key, value):
        return self._operate("put", key, value=value)["revision"]

    def create(self, key, value):
        return self._operate("create", key, value=value)["revision"]

    def update(self, key, value, revision):
        return self._operate("update", key, value=value, revision=revision)["revision"]

    def delete(self, key):
        self._operate("delete", key)

    def list(self, prefix=""):
        return self._operate("list", prefix)["entries"]


kv = _Kv()
