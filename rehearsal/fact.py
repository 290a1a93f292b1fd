"""One thing that happened in a rehearsal: what the time line prints and the endings are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Tone(Enum):
    """How a person should take it."""

    PHASE = "phase"
    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Fact:
    """`who` and `what` are stable words; `more` is for a person and may hold anything."""

    at: float
    """Unix seconds."""
    who: str
    what: str
    more: str = ""
    tone: Tone = Tone.PLAIN

    def __lt__(self, other: Fact) -> bool:
        return self.at < other.at

    def __str__(self) -> str:
        return f"{self.who} {self.what}"


Tell = Callable[[Fact], None]
