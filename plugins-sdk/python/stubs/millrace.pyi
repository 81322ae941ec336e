"""What plugins import, for editors and type checkers. The code is the prelude of the interpreter."""

from typing import Any, Iterator

class PluginError(Exception):
    """A failure with a code that the platform and other plugins understand."""

    code: str
    message: str
    retryable: bool
    details: dict[str, Any] | None
    def __init__(
        self, code: str, message: str, retryable: bool = False, details: dict[str, Any] | None = None
    ) -> None: ...

class Window:
    """Begin inclusive, end exclusive, in seconds since the epoch."""

    begin: float
    end: float
    @property
    def first_day(self) -> str: ...
    @property
    def last_day(self) -> str: ...
    def has(self, when: str | float) -> bool: ...
    def days(self) -> Iterator[str]: ...

class IntegerRange:
    """A window of a pipe whose axis is an integer column. Begin inclusive, end exclusive."""

    begin: int
    end: int
    def has(self, position: int | str) -> bool: ...

class _Fields:
    fields: dict[str, Any]
    def __getattr__(self, name: str) -> Any: ...
    def __getitem__(self, name: str) -> Any: ...
    def get(self, name: str, default: Any = None) -> Any: ...

class FetchCall(_Fields):
    pipe: Any
    config: dict[str, Any]
    begin: str
    end: str
    window: Window
    """Raises on an axis of integers."""
    range: IntegerRange
    """Raises on an axis of time."""
    cursor: Any
    attempt: int

class SyncCall(_Fields):
    """A window whose rows the plugin writes itself: it yields or emits them."""

    pipe: Any
    config: dict[str, Any]
    begin: str
    end: str
    window: Window
    cursor: Any
    attempt: int

class BeforeSyncCall(_Fields):
    """Text that is returned is a veto, with that reason."""

    pipe: Any
    config: dict[str, Any]
    begin: str
    end: str
    window: Window
    attempt: int

class AfterSyncCall(BeforeSyncCall):
    outcome: str
    rows: int
    message: str
    run: str

class RegisterCall(_Fields):
    pipe: Any
    config: dict[str, Any]

class PollCall(_Fields):
    resource: Any
    config: dict[str, Any]
    previous: Any
    context: dict[str, dict[str, Any]]
    attempt: int

class EnrichCall(_Fields):
    resource: Any
    config: dict[str, Any]
    attempt: int

class DiscoverCall(_Fields):
    config: dict[str, Any]
    site: str | None

class RouteCall(_Fields):
    method: str
    path: str
    params: dict[str, str]
    query: dict[str, str | list[str]]
    headers: dict[str, str]
    def bytes(self) -> bytes: ...
    def text(self) -> str: ...
    def json(self) -> Any: ...

class Reply:
    status: int
    headers: dict[str, Any]
    url: str
    elapsed: float
    tls_valid_until: str | None
    @property
    def ok(self) -> bool: ...
    @property
    def content(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    def header(self, name: str, default: str | None = None) -> str | None: ...
    def json(self) -> Any: ...
    def raise_for_status(self) -> Reply: ...

class _Http:
    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
        body: str | bytes | None = None,
        json: Any = None,
        timeout: float | None = None,
        attempts: int | None = None,
        cache: bool | None = None,
        proxy: bool | None = None,
    ) -> Reply: ...
    def get(self, url: str, **options: Any) -> Reply: ...
    def head(self, url: str, **options: Any) -> Reply: ...
    def post(self, url: str, **options: Any) -> Reply: ...
    def put(self, url: str, **options: Any) -> Reply: ...
    def delete(self, url: str, **options: Any) -> Reply: ...
    def json(self, url: str, **options: Any) -> Any: ...

class _Kv:
    def get(self, key: str, default: Any = None) -> Any: ...
    def entry(self, key: str) -> dict[str, Any] | None: ...
    def put(self, key: str, value: Any, ttl: float | None = None) -> int: ...
    def create(self, key: str, value: Any, ttl: float | None = None) -> int: ...
    def update(self, key: str, value: Any, revision: int, ttl: float | None = None) -> int: ...
    def delete(self, key: str, revision: int | None = None) -> None: ...
    def list(self, prefix: str = "") -> list[dict[str, Any]]: ...
    def page(self, prefix: str, limit: int, after: str | None = None) -> tuple[list[dict[str, Any]], str | None]: ...

class _Context:
    def get(self, namespace: str, key: str, default: Any = None, resource: str | None = None) -> Any: ...
    def entry(self, namespace: str, key: str, resource: str | None = None) -> dict[str, Any] | None: ...
    def list(self, namespace: str, prefix: str = "", resource: str | None = None) -> list[dict[str, Any]]: ...
    def page(
        self, namespace: str, limit: int, prefix: str = "", after: str | None = None, resource: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]: ...

class SocketReply:
    content: bytes
    closed: bool
    elapsed: float
    @property
    def text(self) -> str: ...

class _Socket:
    def tcp(
        self,
        host: str,
        port: int,
        send: str | bytes | None = None,
        until: str | bytes | None = None,
        length: int | None = None,
        timeout: float | None = None,
    ) -> SocketReply: ...
    def tls(
        self,
        host: str,
        port: int,
        send: str | bytes | None = None,
        until: str | bytes | None = None,
        length: int | None = None,
        timeout: float | None = None,
        verify: bool = True,
    ) -> SocketReply: ...
    def udp(
        self,
        host: str,
        port: int,
        send: str | bytes | None = None,
        until: str | bytes | None = None,
        length: int | None = None,
        timeout: float | None = None,
    ) -> SocketReply: ...

class _Ping:
    def tcp(self, host: str, port: int, timeout: float | None = None) -> dict[str, Any]: ...
    def tls(self, host: str, port: int, timeout: float | None = None) -> dict[str, Any]: ...
    def icmp(self, host: str, count: int = 1, timeout: float | None = None) -> dict[str, Any]: ...

class _Snmp:
    """Options: `port`, `community` or `user`, `retries`, `max_repetitions`, `max_values`."""

    def get(
        self, host: str, oids: str | list[str], timeout: float | None = None, **options: Any
    ) -> list[dict[str, Any]]: ...
    def walk(self, host: str, oids: str | list[str], timeout: float | None = None, **options: Any) -> dict[str, Any]: ...

class _Log:
    def debug(self, message: str, **fields: Any) -> None: ...
    def info(self, message: str, **fields: Any) -> None: ...
    def warning(self, message: str, **fields: Any) -> None: ...
    def error(self, message: str, **fields: Any) -> None: ...

context: _Context
http: _Http
kv: _Kv
log: _Log
ping: _Ping
snmp: _Snmp
socket: _Socket

def host_call(name: str, request: Any = None) -> Any: ...
def emit(rows: Any) -> None: ...
def emit_csv(text: str) -> int: ...
def emit_arrow(stream: bytes | bytearray | memoryview) -> int: ...
def checkpoint(cursor: Any) -> None: ...
def progress(done: float, total: float | None = None, message: str | None = None) -> None: ...
def sleep(seconds: float) -> None: ...
def secret(name: str) -> str: ...
def placeholder(name: str) -> str: ...
def query(sql: str, params: dict[str, Any] | None = None, max_rows: int | None = None) -> list[dict[str, Any]]: ...
def call(instance: str, function: str, input: Any = None, timeout: float | None = None) -> Any: ...
def publish(subject: str, body: Any = None) -> None: ...
def metric(
    name: str, value: float, type: str = "gauge", dimensions: dict[str, str] | None = None, time: str | None = None
) -> None: ...
def random_bytes(count: int) -> bytes: ...
def gauge(value: float) -> dict[str, Any]: ...
def counter(value: float) -> dict[str, Any]: ...
def parse_time(text: str) -> float: ...
def format_time(seconds: float) -> str: ...
def quote(text: Any) -> str: ...
def to_json(value: Any) -> str: ...
def to_base64(data: bytes) -> str: ...
def from_base64(text: str) -> bytes: ...
