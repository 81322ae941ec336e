# What a run does beside fetching: progress, secrets, queries, calls, events, metrics, log, and what is kept.


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


def metric(name, value, type="gauge", dimensions=None, time=None):
    """A value of the plugin's own in the dataset `metrics`, kept if and when the run is. `time` is RFC 3339."""
    request = {"name": name, "value": value, "type": type}
    if dimensions:
        request["dimensions"] = dimensions
    if time is not None:
        request["time"] = time
    host_call("metric", request)


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
    """The plugin's own key-value store. `ttl` is in seconds; without it an entry stays."""

    def _operate(self, op, key, ttl=None, **more):
        more["op"] = op
        more["key"] = key
        if ttl is not None:
            more["ttl_ms"] = round(ttl * 1000)
        return host_call("kv", more)

    def get(self, key, default=None):
        answer = self._operate("get", key)
        return answer["value"] if "revision" in answer else default

    def entry(self, key):
        """The value with its revision, for `update`; None when there is no such key."""
        answer = self._operate("get", key)
        return answer if "revision" in answer else None

    def put(self, key, value, ttl=None):
        return self._operate("put", key, ttl, value=value)["revision"]

    def create(self, key, value, ttl=None):
        return self._operate("create", key, ttl, value=value)["revision"]

    def update(self, key, value, revision, ttl=None):
        return self._operate("update", key, ttl, value=value, revision=revision)["revision"]

    def delete(self, key, revision=None):
        self._operate("delete", key, **({} if revision is None else {"revision": revision}))

    def list(self, prefix=""):
        return self._operate("list", prefix)["entries"]

    def page(self, prefix, limit, after=None):
        """Entries, and what to give as `after` for the next page; None on the last one."""
        more = {"limit": limit} if after is None else {"limit": limit, "after": after}
        answer = self._operate("list", prefix, **more)
        return answer["entries"], answer.get("next")


kv = _Kv()


class _Context:
    """Documents that enrichments wrote, about the resource of the call or another one that is named."""

    def _ask(self, op, namespace, key, resource, **more):
        request = {"op": op, "namespace": namespace, "key": key}
        if resource is not None:
            request["resource"] = resource
        request.update(more)
        return host_call("context", request)

    def get(self, namespace, key, default=None, resource=None):
        return self._ask("get", namespace, key, resource).get("value", default)

    def entry(self, namespace, key, resource=None):
        """The value with `instance`, `written` and `ttl_ms`; None when there is none."""
        return self._ask("get", namespace, key, resource) or None

    def list(self, namespace, prefix="", resource=None):
        return self._ask("list", namespace, prefix, resource)["documents"]

    def page(self, namespace, limit, prefix="", after=None, resource=None):
        more = {"limit": limit} if after is None else {"limit": limit, "after": after}
        answer = self._ask("list", namespace, prefix, resource, **more)
        return answer["documents"], answer.get("next")


context = _Context()
