"""Each helper of the SDK for a host function, tried once."""

from millrace import (
    PluginError,
    call,
    checkpoint,
    context,
    emit,
    emit_csv,
    http,
    kv,
    log,
    metric,
    ping,
    placeholder,
    progress,
    publish,
    secret,
    sleep,
    snmp,
    socket,
)


def code_of(work):
    try:
        work()
        return "none"
    except PluginError as error:
        return error.code


def stored():
    kv.put("n", {"n": 1}, ttl=60)
    found = kv.entry("n")
    kv.update("n", {"n": 2}, found["revision"], ttl=60)
    stale = code_of(lambda: kv.update("n", {"n": 3}, found["revision"]))
    taken = code_of(lambda: kv.create("n", 4))
    swapped = kv.get("n")
    kv.delete("n")
    lives = found["ttl_ms"] > 0
    one = {"value": found["value"], "lives": lives, "swapped": swapped}
    return dict(one, stale=stale, taken=taken, gone=kv.get("n"))


def paged():
    for n in (1, 2, 3):
        kv.create("a:%d" % n, n, ttl=60)
    keys, after = [], None
    while True:
        entries, after = kv.page("a:", 2, after)
        keys.extend(entry["key"] for entry in entries)
        if after is None:
            return keys


def helpers(at):
    emit([{"id": 1}, {"id": 2}])
    checkpoint({"page": 2})
    log.warning("with fields", count=3, where="Ålesund")
    metric("probe.size", 1.5, "counter", {"unit": "°C"}, "2012-01-01T00:00:00Z")
    metric("probe.more", 2)
    publish("alarm.high", {"n": 1})
    sleep(0.001)
    progress(2, 2, "ferdig ☃")
    host = at["host"]
    reply = http.post(at["url"], headers={"authorization": "Bearer " + placeholder("token")}, body="hei")
    return {
        "kv": stored(),
        "pages": paged(),
        "tcp": socket.tcp(host, at["tcp"], "hello\r\n", until="\n").text,
        "udp": list(socket.udp(host, at["udp"], b"\x00\xff", timeout=2).content),
        "tls": socket.tls(host, at["tls"], "hi", length=2, verify=False).text,
        "there": ping.tcp(host, at["tcp"])["reachable"],
        "closed": ping.tcp(host, at["closed"])["reason"],
        "certificate": ping.tls(host, at["tls"])["certificate"]["subject"],
        "snmp": snmp.get(host, at["oid"], port=at["snmp"], community="public")[0]["value"],
        "below": len(snmp.walk(host, [at["table"]], port=at["snmp"])["values"]),
        "context": context.get("port", "eth0"),
        "writer": context.entry("port", "eth0")["instance"],
        "keys": [document["key"] for document in context.list("port", "eth")],
        "nothing": context.get("port", "none"),
        "denied": code_of(lambda: context.get("secret", "key", resource="oven-2")),
        "call": call("units", "convert", {"from": 2}, timeout=5),
        "http": reply.text,
        "plain": secret("plain"),
        "csv": emit_csv("id,name\n1,å\n2,b\n"),
    }
