"""Windows that the plugin writes itself, and the hooks around them."""

from millrace import AfterSyncCall, BeforeSyncCall, SyncCall, checkpoint, log


def sync(call: SyncCall):
    mode = call.config.get("mode")
    return {"status": mode} if mode else rows(call)


def rows(call: SyncCall):
    for n in range((call.cursor or {"n": 0})["n"] + 1, 4):
        yield {"n": n, "time": call.begin}
        if n == 2:
            checkpoint({"n": n})


def before_sync(call: BeforeSyncCall):
    closed = call.config.get("closed")
    return "%s: %s from %s" % (closed, call.pipe["metric"], call.begin[:10]) if closed else None


def after_sync(call: AfterSyncCall):
    log.info("%s: %d rows of %s: %s" % (call.outcome, call.rows, call.run, call.message))
