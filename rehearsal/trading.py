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


def whole(every: Iterable[Pause]) -> Pause | None:
    """From the first replica that stopped to the last that came back."""
    listed = list(every)
    if not listed:
        return None
    ends = [pause.until for pause in listed]
    open_end = None if None in ends else max(end for end in ends if end is not None)
    return Pause(min(pause.since for pause in listed), open_end)


def in_words(pause: Pause | None, now: float) -> str:
    """Say how long a pause is, or has been so far."""
    if pause is None:
        return "none"
    return f"{pause.seconds(now):.1f} s{'' if pause.until else ' so far'}"
