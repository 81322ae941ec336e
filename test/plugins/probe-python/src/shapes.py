"""A dataclass and an enum: MicroPython has neither."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Optional


@dataclass
class Row:
    """A row.

    note: this is text, no field.
    """

    time: str
    id: int
    name: str = ""
    value: Optional[float] = None
    flag: bool = False
    kind: ClassVar[str] = "row"


class Colour(Enum):
    RED = "r"
    GREEN = "g"
    BLUE = "b"
