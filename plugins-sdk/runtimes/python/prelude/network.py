# Sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants. Times in seconds.


class SocketReply:
    def __init__(self, answer):
        self.content = from_base64(answer.get("data_base64") or "")
        self.closed = bool(answer.get("closed"))
        self.elapsed = (answer.get("elapsed_ms") or 0) / 1000

    @property
    def text(self):
        return self.content.decode()


def _data(request, name, data):
    if isinstance(data, str):
        request[name] = data
    elif data is not None:
        request[name + "_base64"] = to_base64(bytes(data))


def _timed(request, timeout):
    if timeout is not None:
        request["timeout_ms"] = timeout * 1000
    return request


class _Socket:
    def _exchange(self, proto, host, port, send, until, length, timeout, verify):
        expect = {}
        _data(expect, "until", until)
        if length is not None:
            expect["bytes"] = length
        request = {"proto": proto, "host": host, "port": port, "expect": expect, "verify": verify}
        _data(request, "send", send)
        return SocketReply(host_call("socket", _timed(request, timeout)))

    def tcp(self, host, port, send=None, until=None, length=None, timeout=None):
        """One request and its answer, until a text has come, or so many bytes, or the other side ends."""
        return self._exchange("tcp", host, port, send, until, length, timeout, True)

    def tls(self, host, port, send=None, until=None, length=None, timeout=None, verify=True):
        return self._exchange("tls", host, port, send, until, length, timeout, verify)

    def udp(self, host, port, send=None, until=None, length=None, timeout=None):
        return self._exchange("udp", host, port, send, until, length, timeout, True)


class _Ping:
    """Whether something is there: dicts with `reachable`. That it is not, is an answer."""

    def tcp(self, host, port, timeout=None):
        return host_call("ping", _timed({"kind": "tcp", "host": host, "port": port}, timeout))

    def tls(self, host, port, timeout=None):
        return host_call("ping", _timed({"kind": "tls", "host": host, "port": port}, timeout))

    def icmp(self, host, count=1, timeout=None):
        return host_call("ping", _timed({"kind": "icmp", "host": host, "count": count}, timeout))


class _Snmp:
    def _ask(self, op, host, oids, timeout, options):
        """Options: port, community or user, retries, max_repetitions, max_values."""
        request = {"op": op, "host": host, "oids": [oids] if isinstance(oids, str) else list(oids)}
        request.update(options)
        if "user" in options:
            request["version"] = "3"
        return host_call("snmp", _timed(request, timeout))

    def get(self, host, oids, timeout=None, **options):
        """A dict with `oid`, `type` and `value` for each OID."""
        return self._ask("get", host, oids, timeout, options)["values"]

    def walk(self, host, oids, timeout=None, **options):
        """`{"values", "truncated"}` of all below each OID."""
        return self._ask("walk", host, oids, timeout, options)


socket = _Socket()
ping = _Ping()
snmp = _Snmp()
