"""When a replica traded and when it did not, from the modes that it was in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rehearsal.mock_oms import ModeChange


@dataclass(frozen=True)
class Pause:
    """From when until when it did not trade, in Unix seconds; `until` None: it does not yet."""

    since: float
    until: float | None

    def seconds(self, now: float) -> float:
        return (now if self.until is None else self.until) - self.since


def pauses(history: Sequence[ModeChange]) -> list[Pause]:
    """Read the pauses out of one replica's changes of mode."""
    found: list[Pause] = []
    since: float | None = None
    for change in history:
        if change.mode == "active" and since is not None:
            found.append(Pause(since, change.at))
            since = None
        elif change.mode != "active" and since is None:
            since = change.at
    return found if since is None else [*found, Pause(since, None)]


def whole(every: Iterable[Pause]) -> list[Pause]:
    """Make one pause of all: from the first that began to the last that ended."""
    listed = list(every)
    if not listed:
        return []
    ends = [pause.until for pause in listed if pause.until is not None]
    return [Pause(min(pause.since for pause in listed), max(ends) if len(ends) == len(listed) else None)]


def in_words(every: Sequence[Pause], now: float) -> str:
    """Say how long the pauses are together, or have been so far."""
    if not every:
        return "none"
    so_far = " so far" if any(pause.until is None for pause in every) else ""
    return f"{sum(pause.seconds(now) for pause in every):.1f} s{so_far}"
