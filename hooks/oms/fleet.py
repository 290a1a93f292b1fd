"""All targets at once: a round of looks, a round of switches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from hooks import classify, strict_json
from hooks.attempt import NoAnswer, Outcome
from hooks.classify import Next
from hooks.expression import Expression
from hooks.oms.addresses import Address, Addresses
from hooks.oms.documents import Documents, HealthLook, Look, Mode
from hooks.oms.switching import Asked
from hooks.oms.target import Target, trust_of
from hooks.oms.words import told_together
from hooks.settings import Oms
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, backed_off, now

_FIRST_BACK_OFF = 0.1
_LONGEST_BACK_OFF = 2.0
_AGED = 0.5

T = TypeVar("T")


class Fleet:
    """Every target of the OMS, present and past."""

    def __init__(self, settings: Oms) -> None:
        self.targets: tuple[Target, ...] = ()
        self.problem: str | None = "not looked up yet"
        self.short = False
        self.unknown_to_dns = False
        self._settings = settings
        self._documents = Documents(settings)
        self._trust = trust_of(settings)
        self._addresses = Addresses(settings.oms_url, every_pod=settings.oms_every_pod)
        self._by_address: dict[Address, Target] = {}

    async def resolve(self, deadline: Deadline) -> None:
        """Find out which targets there are now; with `problem` they are not known to be all."""
        within = min(self._settings.oms_attempt_timeout_seconds, deadline.remaining)
        found = await self._addresses.resolve(within)
        self.targets = tuple(self._target(address) for address in found.addresses)
        self.unknown_to_dns = found.unknown
        self.problem = found.problem
        self.short = found.problem is None and len(self.targets) < self._settings.oms_min_targets
        if self.short:
            self.problem = (
                f"{len(self.targets)} of at least {self._settings.oms_min_targets} addresses are there"
            )

    def _target(self, address: Address) -> Target:
        if address not in self._by_address:
            self._by_address[address] = Target(address, self._settings, self._documents, self._trust)
        return self._by_address[address]

    async def modes(self, targets: Iterable[Target], deadline: Deadline) -> dict[Target, Look]:
        """Ask these targets for their mode, all at the same time."""
        return await _gathered({target: target.read_mode(deadline.remaining) for target in targets})

    async def healths(self, targets: Iterable[Target], deadline: Deadline) -> dict[Target, HealthLook]:
        """Ask these targets for their health, all at the same time."""
        return await _gathered({target: target.read_health(deadline.remaining) for target in targets})

    async def forget_gone(self) -> None:
        """Forget targets that are no longer there: a watch that lasts must not collect them."""
        gone = {address: target for address, target in self._by_address.items() if target not in self.targets}
        for address, target in gone.items():
            del self._by_address[address]
            await target.aclose()

    def observations(self) -> dict[str, Any]:
        """Return what was last seen of every target, for the verdict."""
        return {target.label: target.observation for target in self._by_address.values()}

    def __str__(self) -> str:
        """Say in which mode the targets are."""
        told = told_together((target.label, target.state_in_words) for target in self.targets)
        return "; ".join(filter(None, (told, self.problem)))

    async def aclose(self) -> None:
        for target in self._by_address.values():
            await target.aclose()


def refused(looks: Mapping[Target, Look]) -> Verdict | None:
    """Return the verdict on a round in which a target does not let us ask for its mode, else None."""
    for target, look in looks.items():
        if look.refused:
            return Verdict(Cause.REFUSED, f"{target.label} does not tell its mode: {look.problem}")
    return None


class Requests:
    """One kind of request, to standby or to active: what was asked of each target, and what came of it."""

    def __init__(self, body: Expression, name: str) -> None:
        """Prepare the request; `body` builds it from our `name`."""
        self._build = body
        self._name = name
        self.before: dict[Target, Mode] = {}
        """The mode in which each target was at the last look before its first request."""
        self._asked: dict[Target, Asked] = {}

    def __getitem__(self, target: Target) -> Asked:
        return self._asked.get(target, _NOT_ASKED)

    @cached_property
    def _body(self) -> str:
        return strict_json.dump(self._build.only(strict_json.dump(self._name)))

    @property
    def tries(self) -> int:
        """How many requests went out, to whomever."""
        return sum(asked.tries for asked in self._asked.values())

    @property
    def asked(self) -> list[str]:
        """Whom it was sent to."""
        return sorted(target.label for target, asked in self._asked.items() if asked.tries)

    @property
    def begun(self) -> bool:
        """Whether a request may have arrived anywhere."""
        return any(asked.may_have_arrived for asked in self._asked.values())

    def see(self, looks: Mapping[Target, Look]) -> None:
        """Take a round of looks into account."""
        self._asked.update({target: self[target].seen(look) for target, look in looks.items()})

    async def send(
        self, looks: Mapping[Target, Look], is_due: Callable[[Target, Look], bool], deadline: Deadline
    ) -> dict[Target, Outcome]:
        """Send the request to these targets, all at the same time; return those that refused it.

        A look that has aged, since another target was slow to answer, is repeated first: meanwhile somebody else
        may have taken the target. `is_due` says of the latest look whether the request may go out.
        """
        outcomes = await _gathered(
            {target: self._send(target, look, is_due, deadline) for target, look in looks.items()}
        )
        return {
            target: outcome
            for target, outcome in outcomes.items()
            if outcome is not None and classify.switch(outcome) is Next.REFUSED
        }

    async def _send(
        self, target: Target, look: Look, is_due: Callable[[Target, Look], bool], deadline: Deadline
    ) -> Outcome | None:
        if now() - look.asked_at > _AGED:
            look = await target.read_mode(deadline.remaining)
            self.see({target: look})
        if not is_due(target, look):
            return None
        former = self[target]
        if not former.may_have_arrived and look.mode is not None:
            self.before[target] = look.mode
        # Noted before it is sent: SIGTERM may come while the request is under way.
        self._asked[target] = former.again(now())
        outcome = await target.switch(self._body, deadline.remaining)
        asked = self[target].answered(outcome, now(), _pause(former, outcome, deadline))
        if isinstance(outcome, NoAnswer) and not outcome.may_have_arrived:
            asked = replace(asked, may_have_arrived=former.may_have_arrived)
        self._asked[target] = asked
        return outcome


_NOT_ASKED = Asked()


def _pause(former: Asked, outcome: Outcome, deadline: Deadline) -> float:
    """Return how long to leave a target alone that did not accept; never so long that no attempt is left."""
    backing_off = backed_off(former.tries, first=_FIRST_BACK_OFF, longest=_LONGEST_BACK_OFF)
    return max(backing_off, min(classify.retry_after(outcome), deadline.remaining / 2))


async def _gathered(questions: Mapping[Target, Coroutine[Any, Any, T]]) -> dict[Target, T]:
    return dict(zip(questions, await asyncio.gather(*questions.values()), strict=True))
