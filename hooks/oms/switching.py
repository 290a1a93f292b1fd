"""What one target needs next on its way to standby or back. Pure: what was seen goes in, a step comes out.

Each repetition of a request follows a fresh look, never a blind retry: between two tries somebody else may
have taken the target, and then nothing is sent to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from hooks import classify
from hooks.attempt import Outcome
from hooks.classify import Next
from hooks.oms.documents import Look, Mode, Ownership, State


class Step(Enum):
    """What a target needs next."""

    LOOK = auto()  # nothing can be said or done: look again
    ASK = auto()  # send the request
    CONFIRMED = auto()  # it is where it should be
    HELD = auto()  # somebody else holds it in standby
    HELD_MOVING = auto()  # somebody else holds it, and it is not yet in standby
    LEFT = auto()  # it is somebody else's: nothing is sent, and nothing is owed


@dataclass(frozen=True, slots=True)
class Asked:
    """What this run asked of a target in one direction, and what came of it. Times are the loop's, in seconds."""

    tries: int = 0
    at: float | None = None
    may_have_arrived: bool = False
    accepted_at: float | None = None
    left: bool = False  # seen to leave active since it was asked
    not_before: float = 0.0

    def again(self, now: float) -> Asked:
        """Return what is known from the moment in which the request goes out once more."""
        return Asked(self.tries + 1, now, may_have_arrived=True)

    def answered(self, outcome: Outcome, now: float, pause: float) -> Asked:
        """Take the answer into account; after `pause` seconds the request may be repeated.

        A peer that accepts and does nothing about it is asked again after 2, 4, 8 … seconds.
        """
        if classify.switch(outcome) is Next.DONE:
            return replace(self, accepted_at=now, not_before=now + 2.0 ** min(self.tries, 30))
        return replace(self, not_before=now + pause)

    def seen(self, look: Look) -> Asked:
        """Take a look into account: a target that left active and came back has forgotten."""
        left = self.at is not None and look.mode is not None and look.mode.state is not State.ACTIVE
        return replace(self, left=True) if left else self

    def answered_by(self, look: Look) -> bool:
        """Whether this look answers a question that was asked after the switch was accepted."""
        return self.accepted_at is not None and look.asked_at >= self.accepted_at


@dataclass(frozen=True, slots=True)
class Passage:
    """One target's way into standby: what it was before our first request, and what was asked."""

    before: Mode | None = None
    asked: Asked = Asked()

    def moved(self, names: Ownership) -> bool:
        """Whether this run is who took the target out of trading (contract, "Words")."""
        if not self.asked.may_have_arrived or self.before is None:
            return False
        by_an_earlier_pod = names.run is not None and self.before.owner == names.mine
        return self.before.state is not State.STANDBY or by_an_earlier_pod

    def taken(self, mode: Mode, names: Ownership) -> bool:
        """Whether somebody else, another application or another run of ours, holds the target now."""
        return names.is_foreign(mode.owner) or self._came_to_name_another(mode, names)

    def _came_to_name_another(self, mode: Mode, names: Ownership) -> bool:
        if not self.asked.may_have_arrived or self.before is None:
            return False
        # An OMS that does not tell the latest reason goes on naming whom it named before.
        return mode.owner not in {None, names.mine, self.before.owner}

    def to_standby(self, look: Look, names: Ownership, now: float) -> Step:
        """Decide what the target needs on its way into standby."""
        mode, asked = look.mode, self.asked
        if mode is None:
            return Step.LOOK
        if mode.state is not State.ACTIVE and self.taken(mode, names):
            return Step.HELD if mode.state is State.STANDBY else Step.HELD_MOVING
        if asked.accepted_at is None:
            return Step.ASK if now >= asked.not_before else Step.LOOK
        return self._after_acceptance(mode, names, now) if asked.answered_by(look) else Step.LOOK

    def _after_acceptance(self, mode: Mode, names: Ownership, now: float) -> Step:
        if mode.state is State.STANDBY:
            return Step.CONFIRMED if names.is_ours(mode.owner) else Step.LOOK
        forgot = self.asked.left or now >= self.asked.not_before
        return Step.ASK if mode.state is State.ACTIVE and forgot else Step.LOOK

    def undo(self, back: Asked, look: Look, names: Ownership, now: float, *, gone: bool) -> Step:
        """Decide what a moved target needs on its way back; `gone` when its address has left the name."""
        mode = look.mode
        if mode is None:
            # Nobody answers at an address that is nobody's any more.
            return Step.LEFT if gone and look.failure is not None else Step.LOOK
        another_run = self._came_to_name_another(mode, names) and names.is_ours(mode.owner)
        if mode.state is State.ACTIVE and not another_run:
            return self._undo_of_active(back, look, mode, names, now)
        if self.taken(mode, names):
            return Step.LEFT
        return Step.ASK if now >= back.not_before else Step.LOOK

    @staticmethod
    def _undo_of_active(back: Asked, look: Look, mode: Mode, names: Ownership, now: float) -> Step:
        """Ask once more in case the standby request is still under way; only one that names us must accept."""
        if back.answered_by(look):
            return Step.CONFIRMED
        if mode.owner != names.mine and back.at is not None and look.asked_at > back.at:
            return Step.CONFIRMED
        return Step.ASK if now >= back.not_before else Step.LOOK


def to_active(back: Asked, look: Look, now: float, *, may_return: bool) -> Step:
    """Decide what a verified target needs to trade; `may_return` when its standby is ours to end."""
    mode = look.mode
    if mode is None or mode.state is State.OTHER:
        return Step.LOOK
    if mode.state is State.ACTIVE:
        return Step.CONFIRMED if back.at is None or look.asked_at > back.at else Step.LOOK
    if not may_return:
        return Step.LEFT
    return Step.ASK if now >= back.not_before else Step.LOOK
