"""The way back to trading: verified, then returned, then confirmed. Nothing is returned before it is verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from hooks.expression import Expression
from hooks.log import logger
from hooks.oms.documents import HealthLook, Look, State
from hooks.oms.fleet import Fleet, Requests, refused
from hooks.oms.switching import Step, to_active
from hooks.oms.target import Target
from hooks.oms.verification import Streaks
from hooks.oms.words import told_together
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, Rounds, now

_PATIENCE_WITH_A_START = 10.0


class WayBack:
    """The targets' health, round by round, and the return of those that are healthy.

    Each step returns how it failed, or None when the next may begin.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        healthy: Expression,
        hopeless: Expression | None,
        consecutive: int,
        poll_seconds: float,
    ) -> None:
        """Take `consecutive` looks in a row that meet `healthy`; one that meets `hopeless` ends it at once."""
        self.left: set[Target] = set()
        self._fleet = fleet
        self._healthy = healthy
        self._hopeless = hopeless
        self._consecutive = consecutive
        self._poll_seconds = poll_seconds
        self._streaks: Streaks[Target] = Streaks(consecutive)
        self._refused_since: dict[Target, float] = {}
        self._traded: set[Target] = set()

    async def verify(self, deadline: Deadline, *, deployed: bool = False) -> Verdict | None:
        """Look until every target was healthy so many times in a row.

        After a deployment a target that is active already is a warning: it trades before it is verified.
        """
        async for _ in Rounds(self._poll_seconds, deadline):
            await self._fleet.resolve(deadline)
            targets = self._fleet.targets
            unseen = [target for target in targets if deployed and not (target.mode and target.mode.mode)]
            healths, modes = await asyncio.gather(
                self._fleet.healths(targets, deadline), self._fleet.modes(unseen, deadline)
            )
            _warn_of_trading(modes)
            if verdict := self._judge(healths):
                return verdict
            if self._fleet.problem is None and self._streaks.all_reached(targets):
                logger().info("verified", targets=sorted(target.label for target in targets))
                return None
        return Verdict(Cause.TIMED_OUT, f"not healthy within {deadline.seconds:g} s: {self._doubts()}")

    async def bring_back(
        self, requests: Requests, may_return: Callable[[str | None], bool], deadline: Deadline
    ) -> Verdict | None:
        """Return every target in standby whose owner `may_return`, and look until they trade.

        What somebody else holds is left, and told in `left`.
        """
        rounds = Rounds(self._poll_seconds, deadline)
        async for _ in rounds:
            await self._fleet.resolve(deadline)
            targets = self._fleet.targets
            unverified = [target for target in targets if not self._streaks.reached(target)]
            looks, healths = await asyncio.gather(
                self._fleet.modes(targets, deadline), self._fleet.healths(unverified, deadline)
            )
            # Who stopped answering may have restarted: what it runs now was not verified.
            self._streaks.forget(target for target, look in looks.items() if look.mode is None)
            self._traded |= _trading(looks)
            if verdict := refused(looks) or self._judge(healths):
                return verdict
            steps = {target: _step(requests, target, look, may_return) for target, look in looks.items()}
            self._note_left(steps)
            if self._is_settled(steps):
                return None
            asking = {
                target: looks[target]
                for target, step in steps.items()
                if step is Step.ASK and self._streaks.reached(target)
            }

            def is_due(target: Target, look: Look) -> bool:
                return _step(requests, target, look, may_return) is Step.ASK

            for target, answer in (await requests.send(asking, is_due, deadline)).items():
                return Verdict(Cause.REFUSED, f"{target.label} refused to trade again: {answer}")
            if asking:
                rounds.hasten()
        return Verdict(
            Cause.TIMED_OUT, f"not returned to trading within {deadline.seconds:g} s: {self._fleet}"
        )

    async def soak(self, seconds: float) -> Verdict | None:
        """Go on looking for so many seconds; a target that gives as many noes in a row has relapsed."""
        noes: Streaks[Target | None] = Streaks(self._consecutive)
        deadline = Deadline(seconds)
        async for _ in Rounds(self._poll_seconds, deadline):
            await self._fleet.resolve(deadline)
            targets = self._fleet.targets
            looks, healths = await asyncio.gather(
                self._fleet.modes(targets, deadline), self._fleet.healths(targets, deadline)
            )
            trading = _trading(looks)
            self._traded |= trading
            noes.note(
                {
                    target: not health.meets(self._healthy) or (target in self._traded - trading)
                    for target, health in healths.items()
                    if health.asked and looks[target].asked
                }
            )
            noes.note({None: self._fleet.short or not targets})
            for target in (*targets, None):
                if noes.reached(target):
                    told = f"{target}; its health: {_doubt(target)}" if target else self._fleet.problem
                    return Verdict(Cause.REFUSED, f"relapsed after it was verified: {told}")
        return None

    def _judge(self, healths: Mapping[Target, HealthLook]) -> Verdict | None:
        """Take one round of healths into account; return what makes further looks useless."""
        self._streaks.note(
            {target: health.meets(self._healthy) for target, health in healths.items() if health.asked}
        )
        for target, health in healths.items():
            if health.untrusted or self._refuses_for_long(target, health):
                return Verdict(Cause.REFUSED, f"{target.label} does not tell its health: {health.problem}")
            if health.shows(self._hopeless):
                return Verdict(Cause.REFUSED, f"VERIFY_FAIL_CONDITION is true of {target.label}")
        return None

    def _refuses_for_long(self, target: Target, health: HealthLook) -> bool:
        """Whether there is nothing but 401 and 403 for longer than a version takes that is only starting."""
        if not health.refused:
            self._refused_since.pop(target, None)
            return False
        return now() - self._refused_since.setdefault(target, now()) >= _PATIENCE_WITH_A_START

    def _is_settled(self, steps: Mapping[Target, Step]) -> bool:
        settled = all(step in {Step.CONFIRMED, Step.LEFT} for step in steps.values())
        return settled and self._fleet.problem is None and self._streaks.all_reached(steps.keys())

    def _note_left(self, steps: Mapping[Target, Step]) -> None:
        left = {target for target, step in steps.items() if step is Step.LEFT}
        for target in left - self.left:
            logger(target=target.label).warning("left_to_its_owner", mode=str(target))
        self.left = left

    def _doubts(self) -> str:
        doubtful = [target for target in self._fleet.targets if not self._streaks.reached(target)]
        told = told_together((target.label, _doubt(target)) for target in doubtful)
        return "; ".join(filter(None, (told, self._fleet.problem)))


def _doubt(target: Target) -> str:
    problem = target.health.problem if target.health else "was not asked"
    return problem or "is not what VERIFY_CONDITION asks for"


def _step(requests: Requests, target: Target, look: Look, may_return: Callable[[str | None], bool]) -> Step:
    may = look.mode is not None and may_return(look.mode.owner)
    return to_active(requests[target], look, now(), may_return=may)


def _trading(looks: Mapping[Target, Look]) -> set[Target]:
    return {target for target, look in looks.items() if look.mode and look.mode.state is State.ACTIVE}


def _warn_of_trading(first_looks: Mapping[Target, Look]) -> None:
    for target, look in first_looks.items():
        if look.mode is not None and look.mode.state is State.ACTIVE:
            logger(target=target.label).warning("trades_before_it_is_verified")


def trading_or_left(targets: Collection[Target], is_foreign: Callable[[str | None], bool]) -> bool:
    """Whether every target was last seen trading, or held by somebody else."""
    modes = [target.mode.mode if target.mode else None for target in targets]
    return bool(modes) and all(
        mode is not None and (mode.state is State.ACTIVE or is_foreign(mode.owner)) for mode in modes
    )
