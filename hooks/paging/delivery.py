"""Who is told of a page, and until when. Either way of delivery is success; neither gives up early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hooks import classify
from hooks.attempt import Answer, Outcome
from hooks.classify import Next
from hooks.log import logger
from hooks.paging.fallback import Fallback, fallbacks
from hooks.paging.incident import Page, dedup_key
from hooks.paging.pagerduty import PagerDuty
from hooks.settings import Alert, Incident
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, again, sleep_unless

_GRACE_OF_THE_FALLBACK = 10.0
_LONGEST_PAUSE_IN_A_HURRY = 1.0
_RESOLVE_SECONDS = 10.0


class Delivery:
    """One page on its way to PagerDuty and, when PagerDuty refuses or stays silent, to the fallbacks.

    Once `hurry` is set (SIGTERM) no pause is long, the fallbacks are told at once, and whoever was told first
    ends it.
    """

    def __init__(self, settings: Alert, page: Page, hurry: asyncio.Event) -> None:
        self._settings = settings
        self._page = page
        self._hurry = hurry
        self._deadline = Deadline(settings.alert_timeout_seconds)
        self._fallbacks = fallbacks(settings)
        self._fallback_is_due = asyncio.Event()
        self._somebody_was_told = asyncio.Event()
        self._answers_400 = 0
        self._last: dict[str, Outcome] = {}
        self._told: list[str] = []

    async def run(self) -> Verdict:
        """Deliver the page, or say who was asked in vain."""
        paging = asyncio.ensure_future(self._page_pagerduty())
        telling = asyncio.ensure_future(self._tell_fallbacks())
        hurrying = asyncio.ensure_future(self._make_do_in_a_hurry())
        await asyncio.wait({paging, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        if "PagerDuty" not in self._told:
            self._fallback_is_due.set()
            await asyncio.wait({telling, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        elif self._fallback_is_due.is_set():
            await asyncio.wait({telling}, timeout=_GRACE_OF_THE_FALLBACK)
        for task in (paging, telling, hurrying):
            task.cancel()
        await asyncio.wait({paging, telling, hurrying})
        return self._verdict()

    async def _make_do_in_a_hurry(self) -> None:
        """End as soon as anybody was told, once there may be no time to go on until PagerDuty was."""
        await self._hurry.wait()
        await asyncio.sleep(_LONGEST_PAUSE_IN_A_HURRY)
        self._fallback_is_due.set()
        await self._somebody_was_told.wait()

    async def _page_pagerduty(self) -> None:
        if self._settings.pagerduty_routing_key is None:
            return
        pagerduty = PagerDuty(self._settings, self._settings.pagerduty_routing_key.get_secret_value())

        async def attempt() -> Outcome:
            outcome = await pagerduty.trigger(
                self._page, self._deadline.remaining, minimal=self._answers_400 > 0
            )
            self._note_answer_of_pagerduty(outcome)
            if self._answers_400 == 1 and _is_400(outcome):
                outcome = await pagerduty.trigger(self._page, self._deadline.remaining, minimal=True)
                self._note_answer_of_pagerduty(outcome)
            return outcome

        def enough(outcome: Outcome) -> bool:
            return classify.page(outcome) is Next.DONE or self._answers_400 > 1

        await self._again(attempt, enough, pagerduty.longest_attempt)
        await pagerduty.aclose()

    def _note_answer_of_pagerduty(self, outcome: Outcome) -> None:
        following = classify.page(outcome)
        self._note("PagerDuty", outcome, delivered=following is Next.DONE)
        self._answers_400 += _is_400(outcome)
        if following is Next.REFUSED or (following is Next.AGAIN and self._hurry.is_set()):
            self._fallback_is_due.set()

    async def _tell_fallbacks(self) -> None:
        await sleep_unless(self._fallback_is_due, self._patience())
        self._fallback_is_due.set()
        await asyncio.gather(*(self._tell(fallback) for fallback in self._fallbacks))

    def _patience(self) -> float:
        """Return how long PagerDuty may stay silent: in any case the fallbacks get half of the time."""
        wanted, whole = self._settings.alert_fallback_after_seconds, self._settings.alert_timeout_seconds
        return wanted if wanted < whole else whole / 2

    async def _tell(self, fallback: Fallback) -> None:
        async def attempt() -> Outcome:
            outcome = await fallback.tell(self._page, self._deadline.remaining)
            self._note(fallback.label, outcome, delivered=classify.fallback(outcome) is Next.DONE)
            return outcome

        await self._again(
            attempt, lambda outcome: classify.fallback(outcome) is Next.DONE, fallback.longest_attempt
        )
        await fallback.aclose()

    async def _again(
        self, attempt: Callable[[], Awaitable[Outcome]], enough: Callable[[Outcome], bool], longest: float
    ) -> Outcome:
        return await again(
            attempt,
            enough=enough,
            asked_pause=classify.retry_after,
            deadline=self._deadline,
            longest_attempt=longest,
            sleep=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        if self._hurry.is_set():
            await asyncio.sleep(min(seconds, _LONGEST_PAUSE_IN_A_HURRY))
        else:
            await sleep_unless(self._hurry, seconds)

    def _note(self, receiver: str, outcome: Outcome, *, delivered: bool) -> None:
        self._last[receiver] = outcome
        if delivered:
            self._told.append(receiver)
            self._somebody_was_told.set()
            logger().info("page_delivered", receiver=receiver, answer=str(outcome))
        else:
            logger().warning("page_not_delivered", receiver=receiver, answer=str(outcome))

    def _verdict(self) -> Verdict:
        failures = "; ".join(
            f"{name}: {outcome}" for name, outcome in self._last.items() if name not in self._told
        )
        if self._told:
            accepted = f"the page was delivered to {' and '.join(self._told)}"
            return Verdict(None, f"{accepted}, not to {failures}" if failures else accepted)
        last = self._last.get("PagerDuty")
        refused = last is not None and classify.page(last) is Next.REFUSED
        return Verdict(
            Cause.REFUSED if refused else Cause.TIMED_OUT, f"nobody was told: {failures or 'no receiver'}"
        )


def _is_400(outcome: Outcome) -> bool:
    return isinstance(outcome, Answer) and outcome.status == 400


async def resolve(settings: Incident) -> None:
    """Close the incident that a failed sync opened, best effort within 10 seconds; without one it is dropped."""
    if settings.pagerduty_routing_key is None:
        return
    pagerduty = PagerDuty(settings, settings.pagerduty_routing_key.get_secret_value())
    deadline = Deadline(_RESOLVE_SECONDS)

    async def attempt() -> Outcome:
        return await pagerduty.resolve(dedup_key(settings), deadline.remaining)

    outcome = await again(
        attempt,
        enough=lambda outcome: classify.page(outcome) is not Next.AGAIN,
        asked_pause=classify.retry_after,
        deadline=deadline,
        longest_attempt=pagerduty.longest_attempt,
        sleep=asyncio.sleep,
    )
    resolved = classify.page(outcome) is Next.DONE
    (logger().info if resolved else logger().warning)(
        "incident_resolved" if resolved else "incident_not_resolved", answer=str(outcome)
    )
    await pagerduty.aclose()
