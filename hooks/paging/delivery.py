"""Who is told of a page, and until when. Either way of delivery is success; neither gives up early."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from hooks import classify
from hooks.attempt import Answer, Failure, Outcome
from hooks.classify import Next
from hooks.log import logger
from hooks.paging.fallback import Fallback, labelled
from hooks.paging.incident import Page
from hooks.paging.pagerduty import PagerDuty
from hooks.settings import Incident, Paging
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, again, sleep_unless

PAGERDUTY = "PagerDuty"
_GRACE_OF_THE_FALLBACK = 10.0
_LONGEST_PAUSE_IN_A_HURRY = 1.0


@dataclass(frozen=True)
class Endurance:
    """How long a page is tried: for so many seconds, or for ever; and whether PagerDuty's second 400 ends it."""

    seconds: float = math.inf
    second_400_ends: bool = False
    fallback_at_once: bool = False


class Delivery:
    """One page on its way to PagerDuty and, when PagerDuty refuses or stays silent, to the fallbacks.

    Once `hurry` is set (SIGTERM) no pause is long, the fallbacks are told at once, and whoever was told first
    ends it. `counted` is called with `delivered` or `not_delivered` after every attempt.
    """

    def __init__(
        self,
        settings: Paging,
        page: Page,
        endurance: Endurance,
        *,
        hurry: asyncio.Event,
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.told: list[str] = []
        self._settings = settings
        self._page = page
        self._endurance = endurance
        self._hurry = hurry
        self._counted = counted
        self._deadline = Deadline(endurance.seconds)
        self._fallback_is_due = asyncio.Event()
        self._somebody_was_told = asyncio.Event()
        self._answers_400 = 0
        self._last_answer_of_pagerduty: Outcome | None = None
        self._failures: dict[str, str] = {}

    async def run(self) -> Verdict:
        """Deliver the page, or say who was asked in vain."""
        paging = asyncio.ensure_future(self._guarded(PAGERDUTY, self._page_pagerduty()))
        telling = asyncio.ensure_future(self._tell_fallbacks())
        hurrying = asyncio.ensure_future(self._make_do_in_a_hurry())
        tasks = {paging, telling, hurrying}
        try:
            await asyncio.wait({paging, hurrying}, return_when=asyncio.FIRST_COMPLETED)
            if PAGERDUTY not in self.told:
                self._fallback_is_due.set()
                await asyncio.wait({telling, hurrying}, return_when=asyncio.FIRST_COMPLETED)
            elif self._fallback_is_due.is_set():
                await asyncio.wait({telling}, timeout=_GRACE_OF_THE_FALLBACK)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return self._verdict()

    async def _make_do_in_a_hurry(self) -> None:
        """End as soon as anybody was told, once there may be no time to go on until PagerDuty was."""
        await self._hurry.wait()
        await asyncio.sleep(_LONGEST_PAUSE_IN_A_HURRY)
        self._fallback_is_due.set()
        await self._somebody_was_told.wait()

    async def _page_pagerduty(self) -> None:
        key = self._settings.pagerduty_routing_key
        if key is None:
            return
        async with aclosing(PagerDuty(self._settings, key.get_secret_value())) as pagerduty:

            async def attempt() -> Outcome:
                minimal = self._answers_400 > 0
                outcome = await pagerduty.trigger(self._page, self._deadline.remaining, minimal=minimal)
                self._note_answer_of_pagerduty(outcome)
                if self._answers_400 == 1 and not minimal:
                    outcome = await pagerduty.trigger(self._page, self._deadline.remaining, minimal=True)
                    self._note_answer_of_pagerduty(outcome)
                return outcome

            def enough(outcome: Outcome) -> bool:
                hopeless = self._endurance.second_400_ends and self._answers_400 > 1
                return classify.page(outcome) is Next.DONE or hopeless

            await _until(attempt, enough, self._deadline, pagerduty.longest_attempt, self._pause)

    def _note_answer_of_pagerduty(self, outcome: Outcome) -> None:
        following = classify.page(outcome)
        self._note(PAGERDUTY, outcome, delivered=following is Next.DONE)
        if isinstance(outcome, Answer) or outcome.failure is Failure.UNTRUSTED:
            self._last_answer_of_pagerduty = outcome
        self._answers_400 += isinstance(outcome, Answer) and outcome.status == 400
        if following is Next.REFUSED or (following is Next.AGAIN and self._hurry.is_set()):
            self._fallback_is_due.set()

    async def _tell_fallbacks(self) -> None:
        if not self._endurance.fallback_at_once:
            await sleep_unless(self._fallback_is_due, self._patience())
        self._fallback_is_due.set()
        urls = labelled(self._settings)
        await asyncio.gather(*(self._guarded(label, self._tell(label, url)) for label, url in urls.items()))

    def _patience(self) -> float:
        """Return how long PagerDuty may stay silent: in any case the fallbacks get half of the time."""
        wanted, whole = self._settings.alert_fallback_after_seconds, self._endurance.seconds
        return wanted if wanted < whole else whole / 2

    async def _tell(self, label: str, url: str) -> None:
        async with aclosing(Fallback(self._settings, url)) as fallback:

            async def attempt() -> Outcome:
                outcome = await fallback.tell(
                    self._page, self._deadline.remaining, note=self._note_on_pagerduty()
                )
                self._note(label, outcome, delivered=_fallback_was_told(outcome))
                return outcome

            await _until(attempt, _fallback_was_told, self._deadline, fallback.longest_attempt, self._pause)

    def _note_on_pagerduty(self) -> str:
        """Say that PagerDuty was not paged: who reads a chat would take it that somebody else is awake."""
        if PAGERDUTY in self.told:
            return ""
        if self._settings.pagerduty_routing_key is None:
            return "PagerDuty cannot be paged: the environment of this hook has faults"
        said = self._failures.get(PAGERDUTY)
        return f"PagerDuty has not taken this page{f': {said}' if said else ' so far'}"

    async def _pause(self, seconds: float) -> None:
        if self._hurry.is_set():
            await asyncio.sleep(min(seconds, _LONGEST_PAUSE_IN_A_HURRY))
        else:
            await sleep_unless(self._hurry, seconds)

    async def _guarded(self, receiver: str, telling: Awaitable[None]) -> None:
        """Let what breaks on the way to one receiver cost that one alone."""
        try:
            await telling
        except Exception as error:  # noqa: BLE001  # told in the reason; the other ways go on
            logger().error("page_broke", receiver=receiver, exc_info=True)
            self._failures[receiver] = f"{type(error).__name__}: {error}"

    def _note(self, receiver: str, outcome: Outcome, *, delivered: bool) -> None:
        self._counted("delivered" if delivered else "not_delivered")
        if delivered:
            self._failures.pop(receiver, None)
            self.told.append(receiver)
            self._somebody_was_told.set()
            logger().info("page_delivered", receiver=receiver, answer=str(outcome))
        else:
            self._failures[receiver] = str(outcome)
            logger().warning("page_not_delivered", receiver=receiver, answer=str(outcome))

    def _verdict(self) -> Verdict:
        last = self._last_answer_of_pagerduty
        if last is not None and PAGERDUTY in self._failures:
            self._failures[PAGERDUTY] = str(last)
        failures = "; ".join(f"{receiver}: {answer}" for receiver, answer in self._failures.items())
        if self.told:
            accepted = f"the page was delivered to {' and '.join(self.told)}"
            return Verdict(None, f"{accepted}, not to {failures}" if failures else accepted)
        refused = last is not None and classify.page(last) is Next.REFUSED
        return Verdict(
            Cause.REFUSED if refused else Cause.TIMED_OUT, f"nobody was told: {failures or 'no receiver'}"
        )


def _fallback_was_told(outcome: Outcome) -> bool:
    return classify.fallback(outcome) is Next.DONE


async def close(
    settings: Incident, page: Page, *, seconds: float = math.inf, webhooks_were_told: bool = False
) -> bool:
    """Close an incident where it was opened, for so many seconds, or until that is done; return whether it is.

    An Alertmanager is told in any case; a webhook only that what it was told is over.
    """
    deadline = Deadline(seconds)
    closing = {PAGERDUTY: _close_at_pagerduty(settings, page, deadline)}
    if webhooks_were_told or settings.alert_fallback_format == "alertmanager":
        urls = labelled(settings).items()
        closing |= {label: _close_at_fallback(settings, page, url, deadline) for label, url in urls}
    results = await asyncio.gather(*(_closed(receiver, step) for receiver, step in closing.items()))
    return all(results)


async def _closed(receiver: str, step: Awaitable[tuple[bool, Outcome]]) -> bool:
    """Let what breaks on the way to one receiver cost that one alone; tell how it ended."""
    try:
        done, outcome = await step
    except Exception:  # noqa: BLE001  # told in the log; the other ways go on
        logger().error("closing_broke", receiver=receiver, exc_info=True)
        return False
    if done:
        logger().info("incident_resolved", receiver=receiver, answer=str(outcome))
    else:
        logger().warning("incident_not_resolved", receiver=receiver, answer=str(outcome))
    return done


async def _close_at_pagerduty(settings: Incident, page: Page, deadline: Deadline) -> tuple[bool, Outcome]:
    key = settings.pagerduty_routing_key
    if key is None:
        raise AssertionError("unreachable: who has no key opens no incident")
    async with aclosing(PagerDuty(settings, key.get_secret_value())) as pagerduty:

        async def attempt() -> Outcome:
            return await pagerduty.resolve(page, deadline.remaining)

        def enough(outcome: Outcome) -> bool:
            hopeless = math.isfinite(deadline.seconds) and classify.page(outcome) is Next.REFUSED
            return classify.page(outcome) is Next.DONE or hopeless

        outcome = await _until(attempt, enough, deadline, pagerduty.longest_attempt)
    return classify.page(outcome) is Next.DONE, outcome


async def _close_at_fallback(
    settings: Incident, page: Page, url: str, deadline: Deadline
) -> tuple[bool, Outcome]:
    async with aclosing(Fallback(settings, url)) as fallback:

        async def attempt() -> Outcome:
            return await fallback.tell(page, deadline.remaining, ended=True)

        outcome = await _until(attempt, _fallback_was_told, deadline, fallback.longest_attempt)
    return _fallback_was_told(outcome), outcome


async def _until(
    attempt: Callable[[], Awaitable[Outcome]],
    enough: Callable[[Outcome], bool],
    deadline: Deadline,
    longest: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Outcome:
    return await again(
        attempt,
        enough=enough,
        asked_pause=classify.retry_after,
        deadline=deadline,
        longest_attempt=longest,
        sleep=sleep,
    )
