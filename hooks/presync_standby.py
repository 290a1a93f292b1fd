"""Put every target of the OMS into standby and wait until all confirm; on failure, return what was moved."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NoReturn

from hooks import command
from hooks.attempt import Failure
from hooks.log import logger
from hooks.oms.documents import Look, Mode, Ownership
from hooks.oms.fleet import Fleet, Requests
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
        self._before: dict[Target, Mode] = {}
        self._guarded: set[Target] = set()
        self._held: set[Target] = set()
        self._absent_since: float | None = None

    def _passage(self, target: Target) -> Passage:
        return Passage(self._before.get(target), self._standby[target])

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
        if verdict := self._refused(looks) or guard or self._absent(looks):
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
        asking = [target for target, step in steps.items() if step is Step.ASK and self._is_guarded(target)]
        return await self._ask({target: looks[target] for target in asking}, deadline)

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

    async def _ask(self, looks: Mapping[Target, Look], deadline: Deadline) -> Verdict | None:
        for target, look in looks.items():
            if look.mode is not None and not self._standby[target].may_have_arrived:
                self._before[target] = look.mode
        refusals = await self._standby.send(looks.keys(), deadline)
        for target, answer in refusals.items():
            return Verdict(Cause.REFUSED, f"{target.label} refused to go into standby: {answer}")
        return None

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

    def _refused(self, looks: Mapping[Target, Look]) -> Verdict | None:
        for target, look in looks.items():
            if look.refused:
                return Verdict(Cause.REFUSED, f"{target.label} does not tell its mode: {look.problem}")
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
        moved = {target for target in self._before if self._passage(target).moved(self._names)}
        if not moved:
            return Verdict(failed.cause, f"{failed.reason}; nothing had been moved")
        logger().warning("undo", targets=sorted(target.label for target in moved), reason=failed.reason)
        deadline = Deadline(self._settings.standby_undo_seconds)
        async for _ in Rounds(self._settings.standby_poll_seconds, deadline):
            moved -= await self._undo_round(moved, deadline)
            if not moved:
                return Verdict(
                    failed.cause, f"{failed.reason}; what had been moved is returned: {self._fleet}"
                )
        return Verdict(
            Cause.UNDO_FAILED,
            f"not returned to trading within {deadline.seconds:g} s: {_listed(moved)};"
            f" a person is needed now. It began with: {failed.reason}",
        )

    async def _undo_round(self, moved: Collection[Target], deadline: Deadline) -> set[Target]:
        """Take one step back with every moved target; return those that are settled."""
        looks = await self._fleet.modes(moved, deadline)
        read = {target: look for target, look in looks.items() if look.mode is not None}
        steps = {target: self._undo_step(target, look) for target, look in read.items()}
        await self._active.send([target for target, step in steps.items() if step is Step.ASK], deadline)
        if len(read) < len(looks):
            # Asked last, and not for long: who can be returned does not wait for a resolver that hangs.
            await self._fleet.resolve(Deadline(min(_PATIENCE_WITH_DNS, deadline.remaining)))
            unread = looks.keys() - read.keys()
            steps |= {target: self._undo_step(target, looks[target]) for target in unread}
        settled = {target for target, step in steps.items() if step in {Step.CONFIRMED, Step.LEFT}}
        for target in settled:
            logger(target=target.label).info("undone", step=steps[target].name.lower(), mode=str(target))
        return settled

    def _undo_step(self, target: Target, look: Look) -> Step:
        gone = target not in self._fleet.targets
        return self._passage(target).undo(self._active[target], look, self._names, now(), gone=gone)


def _listed(targets: Collection[Target]) -> str:
    """Name every one of them: somebody has to go there."""
    phrases = sorted((target.label, target.state_in_words) for target in targets)
    return told_together(phrases, named=len(phrases))
