# What an export is given, and times.

_DAY = 86400


def parse_time(text):
    """Seconds since the epoch of RFC 3339 text; a date alone is its midnight in UTC. Errors: ValueError."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    if text[4:5] != "-" or text[7:8] != "-" or not 1 <= month <= 12 or not 1 <= day <= _days_in(year, month):
        raise ValueError("no time: " + text)
    seconds = _days_before(year, month) * _DAY + (day - 1) * _DAY
    if len(text) == 10:
        return seconds
    clock, zone = text[11:], 0
    if clock[-1:] in "Zz":
        clock = clock[:-1]
    elif clock[-6:-5] in ("+", "-") and clock[-3:-2] == ":":
        zone = (int(clock[-5:-3]) * 60 + int(clock[-2:])) * (-60 if clock[-6] == "-" else 60)
        clock = clock[:-6]
    else:
        raise ValueError("no time zone in " + text)
    hour, minute, second = clock.split(":")
    if not (0 <= int(hour) <= 23 and 0 <= int(minute) <= 59 and 0 <= float(second) < 61):
        raise ValueError("no time: " + text)
    past = float(second) if "." in second else int(second)
    return seconds + int(hour) * 3600 + int(minute) * 60 + past - zone


def _days_in(year, month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_before(year, month):
    """Days from the epoch to the first of a month. Years begin in March here: leap days come last."""
    year, month = (year - 1, month + 9) if month < 3 else (year, month - 3)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 - 719468


# When the day began that was written last, and its date: rows come in the order of their times, most often.
_written = (0, "1970-01-01T")
_PAIRS = ["%02d" % n for n in range(60)]


def format_time(seconds):
    """RFC 3339 in UTC of seconds since the epoch."""
    global _written
    whole = int(seconds // 1)
    micro = 0
    if whole != seconds:
        micro = round((seconds - whole) * 1000000)
        if micro == 1000000:
            whole, micro = whole + 1, 0
    # Numbers beyond 2**30 are slow here, and so is each text that is made: one of each.
    day, date = _written
    left = whole - day
    if not 0 <= left < _DAY:
        left = whole % _DAY
        day = whole - left
        date = "%04d-%02d-%02dT" % _date_of(day // _DAY)
        _written = (day, date)
    end = ".%06dZ" % micro if micro else "Z"
    return "".join((date, _PAIRS[left // 3600], ":", _PAIRS[left // 60 % 60], ":", _PAIRS[left % 60], end))


def _date_of(days):
    """The date that is so many days after the epoch, by eras of 400 years that begin in March."""
    days += 719468
    era, of_era = days // 146097, days % 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (1 if month < 3 else 0), month, day


class Window:
    def __init__(self, begin, end):
        self.begin = parse_time(begin)
        self.end = parse_time(end)

    @property
    def first_day(self):
        return format_time(self.begin)[:10]

    @property
    def last_day(self):
        return format_time(self.end - 0.000001)[:10]

    def has(self, when):
        seconds = parse_time(when) if isinstance(when, str) else when
        return self.begin <= seconds < self.end

    def days(self):
        at = self.begin - self.begin % _DAY
        while at < self.end:
            yield format_time(at)[:10]
            at += _DAY


class IntegerRange:
    """A window of a pipe whose axis is an integer column."""

    def __init__(self, begin, end):
        self.begin = int(begin)
        self.end = int(end)

    def has(self, position):
        return self.begin <= int(position) < self.end


def _place(fields, name):
    integers = all(fields[end].lstrip("-").isdigit() for end in ("begin", "end"))
    there = "range" if integers else "window"
    if name != there:
        axis = "integers" if integers else "time"
        raise PluginError("no_such_axis", "the axis of this pipe is %s: use call.%s" % (axis, there))
    value = fields[name] = (IntegerRange if integers else Window)(fields["begin"], fields["end"])
    return value


class _Fields:
    """The fields of a call, as attributes and as items."""

    def __init__(self, fields):
        self.fields = fields

    def __getattr__(self, name):
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name)

    def __getitem__(self, name):
        return self.fields[name]

    def get(self, name, default=None):
        return self.fields.get(name, default)


class _Call(_Fields):
    def __getattr__(self, name):
        value = self.fields.get(name)
        if name in ("pipe", "resource") and value is not None:
            return _Fields(value)
        if name in ("config", "context"):
            return value or {}
        if name in ("window", "range") and value is None and "begin" in self.fields:
            return _place(self.fields, name)
        return value

    def bytes(self):
        encoded = self.fields.get("body_base64")
        if encoded is None:
            return (self.fields.get("body") or "").encode()
        return from_base64(encoded)

    def text(self):
        return self.bytes().decode()

    def json(self):
        return from_json(self.text())
