"""The CSV of each day, which the store reads as it is."""

from millrace import SyncCall, emit_csv, http


def sync(call: SyncCall):
    for day in call.window.days():
        reply = http.get(call.config["url"], params={"day": day}).raise_for_status()
        emit_csv(reply.text)
