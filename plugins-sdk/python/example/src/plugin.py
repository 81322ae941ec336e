"""Water levels of tide gauges, station by station."""

from levels import Level, Quality
from millrace import FetchCall, PluginError, checkpoint, http, log

ENDPOINT = "https://api.tidesandcurrents.noaa.gov/api/prod/datagetter"
FEET_IN_A_METRE = 3.280839895


def fetch(call: FetchCall):
    """A run that is interrupted goes on with the first station that is not stored yet."""
    stations = call.config["stations"]
    first = (call.cursor or {}).get("stations", 0)
    for number, station in enumerate(stations[first:], first + 1):
        levels = list(levels_of(station, call))
        yield levels
        log.debug("station stored", station=station, rows=len(levels))
        checkpoint({"stations": number})
    return {"watermark": call.end}


def levels_of(station: str, call: FetchCall):
    answer = http.json(
        call.config.get("endpoint", ENDPOINT),
        params={
            "product": "water_level",
            "station": station,
            "begin_date": call.window.first_day.replace("-", ""),
            "end_date": call.window.last_day.replace("-", ""),
            "datum": "MLLW",
            "units": "metric",
            "time_zone": "gmt",
            "format": "json",
        },
    )
    if "error" in answer:
        raise PluginError("station_refused", "%s: %s" % (station, answer["error"]["message"]))
    for one in answer["data"]:
        level = Level.read(station, one)
        # The source gives whole days; the window may begin and end within one.
        if level is not None and call.window.has(level.time):
            yield level


functions = {"to_feet": lambda asked: {"feet": asked["metres"] * FEET_IN_A_METRE}}
