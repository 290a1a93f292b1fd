"""What the watchdog concludes from round after round: since when the OMS does not trade, or is not readable. Pure.

The time is that of the OMS, not of a pod's address: a pod that is replaced does not begin it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from hooks.oms.documents import Look, Ownership, State


class Wanted(Enum):
    """In which state an incident should be."""

    OPEN = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """One target in one round: the look, the last mode that could be read, and since when it tells it is so.

    `age` is how many seconds ago that was; None when it is not told, or lies in the future.
    """

    look: Look
    last_read: State | None
    age: float | None = None


class Vigil:
    """The two clocks of the watchdog, in the loop's seconds; they end with the round that closes the incident."""

    def __init__(self, names: Ownership, *, standby_seconds: float, unreadable_seconds: float) -> None:
        self._names = names
        self._standby_seconds = standby_seconds
        self._unreadable_seconds = unreadable_seconds
        self._held_since: float | None = None
        self._unreadable_since: float | None = None

    def note(self, now: float, targets: Mapping[Any, Seen]) -> tuple[Wanted | None, Wanted | None]:
        """Take one round; return what is wanted of the standby and of the unreadable incident, None for no change."""
        return self._standby(now, targets), self._unreadable(now, targets)

    def held_for(self, now: float) -> float:
        """Return for how many seconds we have held the OMS."""
        return 0.0 if self._held_since is None else now - self._held_since

    def unreadable_for(self, now: float) -> float:
        """Return for how many seconds no target could be read."""
        return 0.0 if self._unreadable_since is None else now - self._unreadable_since

    def _standby(self, now: float, targets: Mapping[Any, Seen]) -> Wanted | None:
        held = [seen for seen in targets.values() if self._is_held(seen.look)]
        if held:
            oldest = max(seen.age or 0.0 for seen in held)
            since = now if self._held_since is None else self._held_since
            self._held_since = min(since, now - oldest)
        elif targets and all(seen.look.mode or seen.last_read is State.ACTIVE for seen in targets.values()):
            self._held_since = None
            return Wanted.CLOSED
        return Wanted.OPEN if self.held_for(now) > self._standby_seconds else None

    def _unreadable(self, now: float, targets: Mapping[Any, Seen]) -> Wanted | None:
        if any(seen.look.mode for seen in targets.values()):
            self._unreadable_since = None
            return Wanted.CLOSED
        self._unreadable_since = now if self._unreadable_since is None else self._unreadable_since
        return Wanted.OPEN if self.unreadable_for(now) >= self._unreadable_seconds else None

    def _is_held(self, look: Look) -> bool:
        mode = look.mode
        return mode is not None and mode.state is not State.ACTIVE and self._names.is_ours(mode.owner)
