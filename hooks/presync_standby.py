"""Put every target of the OMS into standby and wait until all confirm; on failure, return what was moved."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NoReturn

from hooks import command
from hooks.attempt import Failure
from hooks.log import logger
from hooks.oms.documents import Look, Ownership
from hooks.oms.fleet import Fleet, Requests, refused
from hooks.oms.switching import Passage, Step
from hooks.oms.target import Target
from hooks.oms.words import told_together
from hooks.settings import Standby
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, Rounds, StoppedError, now, unless_stopped

_PATIENCE_WITH_DNS = 1.0


async def decide(settings: Standby, stop: asyncio.Event) -> Verdict:
    """Play the whole command; whatever it began is ended before it returns."""
    fleet = Fleet(settings)
    crossing = Crossing(settings, fleet)
    try:
        verdict = await unless_stopped(stop, crossing.reach_standby())
    except StoppedError:
        verdict = Verdict(Cause.TERMINATED, f"SIGTERM before every target confirmed: {fleet}")
    except Exception as error:  # noqa: BLE001  # a bug is no reason to leave in standby what was put there
        verdict = command.crashed(error)
    if verdict.cause is not None and settings.standby_on_failure == "return":
        verdict = await crossing.undo(verdict)
    await fleet.aclose()
    return verdict.with_targets(fleet.observations())


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    command.run(
        command.Parser("presync-standby", __doc__, Standby), lambda given, _, stop: decide(given, stop)
    )


class Crossing:
    """This run's way into standby, and the way back."""

    def __init__(self, settings: Standby, fleet: Fleet) -> None:
        self._settings = settings
        self._fleet = fleet
        self._names = Ownership.of(settings)
        self._standby = Requests(settings.oms_standby_body, self._names.mine)
        self._active = Requests(settings.oms_active_body, self._names.mine)
        self._guarded: set[Target] = set()
        self._held: set[Target] = set()
        self._absent_since: float | None = None

    def _passage(self, target: Target) -> Passage:
        return Passage(self._standby.before.get(target), self._standby[target])

    async def reach_standby(self) -> Verdict:
        """Ask, and look until every target confirms in the same round."""
        deadline = Deadline(self._settings.standby_timeout_seconds)
        rounds = Rounds(self._settings.standby_poll_seconds, deadline)
        async for _ in rounds:
            await self._fleet.resolve(deadline)
            tries = self._standby.tries
            verdict = await self._round(deadline)
            if verdict is not None:
                return verdict
            if self._standby.tries > tries:
                rounds.hasten()
        return Verdict(
            Cause.TIMED_OUT, f"no standby of every target within {deadline.seconds:g} s: {self._fleet}"
        )

    async def _round(self, deadline: Deadline) -> Verdict | None:
        looks, guard = await asyncio.gather(
            self._fleet.modes(self._fleet.targets, deadline), self._guard(deadline)
        )
        if verdict := refused(looks) or guard or self._absent(looks):
            return verdict
        self._standby.see(looks)
        steps = {
            target: self._passage(target).to_standby(look, self._names, now())
            for target, look in looks.items()
        }
        if verdict := self._foreign(steps):
            return verdict
        if self._fleet.problem is None and all(step in self._good_enough for step in steps.values()):
            return Verdict(None, f"every target is in standby: {self._fleet}")
        if not self._may_begin(looks):
            return None
        asking = {target: looks[target] for target, step in steps.items() if step is Step.ASK}
        refusals = await self._standby.send(asking, self._is_due, deadline)
        for target, answer in refusals.items():
            return Verdict(Cause.REFUSED, f"{target.label} refused to go into standby: {answer}")
        return None

    def _is_due(self, target: Target, look: Look) -> bool:
        step = self._passage(target).to_standby(look, self._names, now())
        return step is Step.ASK and self._is_guarded(target)

    @property
    def _good_enough(self) -> set[Step]:
        """What every target must have reached; another's standby counts where we may proceed beside it."""
        return (
            {Step.CONFIRMED, Step.HELD}
            if self._settings.standby_if_foreign == "proceed"
            else {Step.CONFIRMED}
        )

    def _may_begin(self, looks: Mapping[Target, Look]) -> bool:
        """Whether requests may go out: the first ones not before every target could be read.

        So all stop trading at the same time, and none for a target that would never have followed.
        """
        if self._held and self._settings.standby_if_foreign == "wait":
            return False
        readable = all(look.mode is not None for look in looks.values())
        guarded = all(map(self._is_guarded, looks))
        return self._standby.begun or (self._fleet.problem is None and readable and guarded)

    def _is_guarded(self, target: Target) -> bool:
        return self._settings.standby_guard_condition is None or target in self._guarded

    async def _guard(self, deadline: Deadline) -> Verdict | None:
        """Ask the guard of every target to which nothing was sent yet."""
        guard = self._settings.standby_guard_condition
        if guard is None:
            return None
        if not self._standby.begun:
            self._guarded.clear()  # it must be true in the very round in which the first requests go out
        unguarded = [target for target in self._fleet.targets if target not in self._guarded]
        for target, health in (await self._fleet.healths(unguarded, deadline)).items():
            if health.refused or health.untrusted:
                return Verdict(Cause.REFUSED, f"{target.label} does not tell its health: {health.problem}")
            if health.problem is None and not health.meets(guard):
                return Verdict(Cause.REFUSED, f"STANDBY_GUARD_CONDITION is not true of {target.label}")
            if health.problem is None:
                self._guarded.add(target)
        return None

    def _foreign(self, steps: Mapping[Target, Step]) -> Verdict | None:
        """Note who is held by somebody else, and say whether that ends it."""
        held = {target for target, step in steps.items() if step in {Step.HELD, Step.HELD_MOVING}}
        policy = self._settings.standby_if_foreign
        for target in held - self._held:
            logger(target=target.label).warning("held_by_somebody_else", mode=str(target), policy=policy)
        self._held = held
        if held and (policy == "refuse" or (policy == "wait" and self._standby.begun)):
            return Verdict(Cause.REFUSED, f"somebody else holds the OMS: {_listed(held)}")
        return None

    def _absent(self, looks: Mapping[Target, Look]) -> Verdict | None:
        """Judge whether there is no OMS yet: its name unknown to DNS for long enough, at every look."""
        unknown = [look.failure is Failure.UNKNOWN_NAME for look in looks.values()]
        absent = self._fleet.unknown_to_dns or (bool(unknown) and all(unknown))
        if not absent or self._settings.standby_if_absent == "fail":
            self._absent_since = None
            return None
        self._absent_since = self._absent_since or now()
        seconds = self._settings.standby_absent_seconds
        if self._standby.begun or now() - self._absent_since < seconds:
            return None
        return Verdict(None, f"there is no OMS: its name was unknown to DNS at every look for {seconds:g} s")

    async def undo(self, failed: Verdict) -> Verdict:
        """Return what this run moved to trading and confirm it; an undo that fails is the worse ending."""
        moved = [target for target in self._standby.before if self._passage(target).moved(self._names)]
        if not moved:
            return Verdict(failed.cause, f"{failed.reason}; nothing had been moved")
        logger().warning("undo", targets=sorted(target.label for target in moved), reason=failed.reason)
        deadline = Deadline(self._settings.standby_undo_seconds)
        # Each by itself: one that is silent must not hold up the others.
        settled = await asyncio.gather(*(self._undo_one(target, deadline) for target in moved))
        left = [target for target, is_settled in zip(moved, settled, strict=True) if not is_settled]
        if not left:
            return Verdict(failed.cause, f"{failed.reason}; what had been moved is returned: {self._fleet}")
        return Verdict(
            Cause.UNDO_FAILED,
            f"not returned to trading within {deadline.seconds:g} s: {_listed(left)};"
            f" a person is needed now. It began with: {failed.reason}",
        )

    async def _undo_one(self, target: Target, deadline: Deadline) -> bool:
        """Return one target to trading; whether that is confirmed, or is somebody else's by now."""
        rounds = Rounds(self._settings.standby_poll_seconds, deadline)
        async for _ in rounds:
            look = await target.read_mode(deadline.remaining)
            gone = look.mode is None and await self._is_gone(target, deadline)
            step = self._undo_step(target, look, gone=gone)
            if step in {Step.CONFIRMED, Step.LEFT}:
                logger(target=target.label).info("undone", step=step.name.lower(), mode=str(target))
                return True
            if step is Step.ASK:
                await self._active.send({target: look}, self._may_be_returned, deadline)
                rounds.hasten()
        return False

    def _may_be_returned(self, target: Target, look: Look) -> bool:
        return self._undo_step(target, look, gone=False) is Step.ASK

    def _undo_step(self, target: Target, look: Look, *, gone: bool) -> Step:
        return self._passage(target).undo(self._active[target], look, self._names, now(), gone=gone)

    async def _is_gone(self, target: Target, deadline: Deadline) -> bool:
        """Whether the target's address has left the name; a resolver that hangs is not waited for long."""
        await self._fleet.resolve(Deadline(min(_PATIENCE_WITH_DNS, deadline.remaining)))
        return target not in self._fleet.targets


def _listed(targets: Collection[Target]) -> str:
    """Name every one of them: somebody has to go there."""
    phrases = sorted((target.label, target.state_in_words) for target in targets)
    return told_together(phrases, named=len(phrases))
