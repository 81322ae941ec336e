# HTTP through the host.

_RETRYABLE = (408, 425, 429, 500, 502, 503, 504)


class Reply:
    def __init__(self, answer):
        self.status = answer["status"]
        self.headers = answer.get("headers") or {}
        self.url = answer.get("url")
        self.elapsed = (answer.get("elapsed_ms") or 0) / 1000
        self.tls_valid_until = (answer.get("tls") or {}).get("valid_until")
        self._answer = answer

    @property
    def ok(self):
        return 200 <= self.status < 300

    def header(self, name, default=None):
        value = self.headers.get(name.lower(), default)
        return ", ".join(value) if isinstance(value, list) else value

    @property
    def content(self):
        encoded = self._answer.get("body_base64")
        if encoded is None:
            return (self._answer.get("body") or "").encode()
        return from_base64(encoded)

    @property
    def text(self):
        if "body_base64" in self._answer:
            return self.content.decode()
        return self._answer.get("body") or ""

    def json(self):
        try:
            return from_json(self.text)
        except ValueError:
            raise PluginError("bad_answer", "%s did not answer with JSON: %s" % (self.url, self.text[:200]))

    def raise_for_status(self):
        if self.ok:
            return self
        details = {"status": self.status}
        after = self.header("retry-after")
        if after and after.isdigit():
            details["retry_after_ms"] = int(after) * 1000
        raise PluginError(
            "http_%d" % self.status,
            "%s answered %d: %s" % (self.url, self.status, self.text[:200]),
            self.status in _RETRYABLE,
            details,
        )


_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def quote(text):
    """Percent-encodes text for a URL."""
    return "".join([chr(b) if chr(b) in _SAFE else "%%%02X" % b for b in str(text).encode()])


class _Http:
    def request(
        self,
        method,
        url,
        headers=None,
        params=None,
        body=None,
        json=None,
        timeout=None,
        attempts=None,
        cache=None,
        proxy=None,
    ):
        given = [(k, v) for k, v in (params or {}).items() if v is not None]
        if given:
            text = "&".join([quote(k) + "=" + quote(v) for k, v in given])
            url += ("&" if "?" in url else "?") + text
        request = {"method": method, "url": url, "headers": headers or {}}
        if json is not None:
            request["body"] = to_json(json)
            if not any(name.lower() == "content-type" for name in request["headers"]):
                request["headers"] = dict(request["headers"])
                request["headers"]["content-type"] = "application/json"
        elif isinstance(body, str):
            request["body"] = body
        elif body is not None:
            request["body_base64"] = to_base64(bytes(body))
        if timeout is not None:
            request["timeout_ms"] = timeout * 1000
        if attempts is not None:
            request["retry"] = {"attempts": attempts}
        for name, value in (("cache", cache), ("proxy", proxy)):
            if value is not None:
                request[name] = value
        return Reply(host_call("http", request))

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def put(self, url, **options):
        return self.request("PUT", url, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)

    def json(self, url, **options):
        return self.get(url, **options).raise_for_status().json()


http = _Http()
