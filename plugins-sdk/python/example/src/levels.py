"""One measurement, as a row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


class Quality(Enum):
    PRELIMINARY = "p"
    VERIFIED = "v"


@dataclass(frozen=True)
class Level:
    time: str
    station: str
    level_m: float
    sigma_m: Optional[float] = None
    quality: str = "PRELIMINARY"

    @staticmethod
    def read(station: str, given: dict) -> Level | None:
        """None for a gap in the measurements, which the source writes as an empty value."""
        if given["v"] == "":
            return None
        sigma = float(given["s"]) if given.get("s") else None
        time = given["t"].replace(" ", "T") + ":00Z"
        return Level(time, station, float(given["v"]), sigma, Quality(given.get("q", "p")).name)
