"""Who is told of a page, and until when; on a turned clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any, Protocol

import pytest
import structlog

from hooks.paging.delivery import Delivery, Endurance, close
from hooks.paging.incident import SYNC_FAILED, Page
from hooks.settings import Alert, AlertByPagerDuty, Postsync
from hooks.verdict import Cause, Verdict
from tests.conftest import Loading
from tests.network import Behaviour, Network, answered_late, answering, hung_up, in_turn, silent, when
from tests.network import PagerDuty as Receiver

pytestmark = pytest.mark.looptime

KEY = "0123456789abcdef0123456789abcdef"
EVENTS = "http://pagerduty.test/v2/enqueue"
CHAT = "http://chat.test/hooks/T0SECRET"
OTHER_CHAT = "http://other.test/hooks/T1SECRET"


def says(status: int, text: str = "", *, retry_after: str | None = None) -> Behaviour:
    """Answer with this status and text, and ask to be left alone for so long."""
    headers = {"Retry_After": retry_after} if retry_after else {}
    return answering(status, text.encode(), **headers)


ACCEPTED = says(202, '{"status":"success"}')
OK = says(200, "ok")

NOT_NOW: dict[str, Behaviour] = {
    "a captive portal's 200": says(200, "<html>please log in"),
    "204": says(204),
    "408": says(408),
    "429": says(429, "Enhance Your Calm"),
    "500": says(500),
    "501": says(501),
    "503": says(503),
    "silence": silent,
    "no answer": hung_up,
}
REFUSALS: dict[str, Behaviour] = {
    "302": says(302),
    "401": says(401),
    "403": says(403, "Invalid routing key"),
    "404": says(404),
    "413": says(413),
}


def table(answers: dict[str, Behaviour], *more: Any) -> list[Any]:
    """Return a case for each of these answers."""
    return [pytest.param(answer, *more, id=name) for name, answer in answers.items()]


@pytest.fixture
def pagerduty(network: Network) -> Receiver:
    """Accept what comes, unless a test says otherwise."""
    receiver = Receiver()
    receiver.answer = ACCEPTED
    network.add("pagerduty.test", receiver)
    return receiver


@pytest.fixture
def chat(network: Network) -> Receiver:
    """Take every message, unless a test says otherwise."""
    receiver = Receiver()
    receiver.answer = OK
    network.add("chat.test", receiver)
    return receiver


@pytest.fixture
def other_chat(network: Network) -> Receiver:
    """Take every message as well."""
    receiver = Receiver()
    receiver.answer = OK
    network.add("other.test", receiver)
    return receiver


def page_of(settings: Alert | Postsync) -> Page:
    """Return what is paged."""
    return replace(
        Page.about(settings, SYNC_FAILED),
        summary="oms: Argo CD sync failed",
        facts=["oms-1 is standby"],
        details={"application": "argocd/oms"},
    )


@pytest.fixture
def page(loading: Loading) -> Page:
    """Return what is paged."""
    return page_of(loading(Alert, ARGOCD_APP_NAME="oms"))


@pytest.fixture
def whole(page: Page) -> dict[str, Any]:
    """Return what PagerDuty is told first."""
    return {"routing_key": KEY, **page.event()}


@pytest.fixture
def minimal(page: Page) -> dict[str, Any]:
    """Return what PagerDuty is told after it answered 400."""
    return {"routing_key": KEY, **page.event(minimal=True)}


class Deliver(Protocol):
    """Delivers the page to PagerDuty and these fallbacks, in an environment."""

    async def __call__(
        self, *fallbacks: str, hurry: asyncio.Event | None = None, **variables: str
    ) -> Verdict: ...


@pytest.fixture
def deliver(loading: Loading) -> Deliver:
    """Deliver a page as syncfail-alert does."""

    async def deliver(*fallbacks: str, hurry: asyncio.Event | None = None, **variables: str) -> Verdict:
        environment = {
            "PAGERDUTY_ROUTING_KEY": KEY,
            "PAGERDUTY_EVENTS_URL": EVENTS,
            "ARGOCD_APP_NAME": "oms",
            "ALERT_FALLBACK_URL": ", ".join(fallbacks),
        }
        settings = loading(AlertByPagerDuty, **environment | variables)
        return await delivered(settings, hurry or asyncio.Event())

    return deliver


async def delivered(settings: Alert, hurry: asyncio.Event) -> Verdict:
    """Deliver a page to the end."""
    endurance = Endurance(settings.alert_timeout_seconds, second_400_ends=True)
    return await Delivery(settings, page_of(settings), endurance, hurry=hurry).run()


def now() -> float:
    """Return the seconds since the test began, to the millisecond."""
    return round(asyncio.get_running_loop().time(), 3)


def times(receiver: Receiver) -> list[float]:
    """Return when somebody was told something."""
    return [round(request.at, 3) for request in receiver.requests]


def notes(receiver: Receiver, page: Page) -> list[str]:
    """Return what a chat was told of PagerDuty, beside each whole page."""
    texts = [event["text"].split("\n") for event in receiver.events]
    assert [[first, *rest] for first, _, *rest in texts] == len(texts) * [page.text().split("\n")]
    return [note for _, note, *_ in texts]


def longest_pause(moments: list[float]) -> float:
    """Return the longest time between two of these."""
    return max(later - earlier for earlier, later in pairwise(moments))


def hurried_at(seconds: float) -> asyncio.Event:
    """Return what SIGTERM sets, so many seconds from now."""
    hurry = asyncio.Event()
    when(seconds, hurry.set)
    return hurry


# Delivered


async def test_what_pagerduty_accepts_is_delivered_once(
    pagerduty: Receiver, chat: Receiver, whole: Any, deliver: Deliver
) -> None:
    """202 ends it at once, whatever the body is, and the fallback is not bothered."""
    pagerduty.answer = says(202, "<html>")

    assert await deliver(CHAT) == Verdict(None, "the page was delivered to PagerDuty")
    assert pagerduty.events == [whole]
    assert chat.events == []
    assert now() == 0


@pytest.mark.parametrize("answer", table(NOT_NOW | REFUSALS))
async def test_what_is_not_accepted_is_asked_again(
    answer: Behaviour, pagerduty: Receiver, whole: Any, deliver: Deliver
) -> None:
    """Only 202 is delivered; everything else, a refusal too, is tried again until it is."""
    pagerduty.answer = in_turn(answer, answer, ACCEPTED)

    assert (await deliver()).cause is None
    assert pagerduty.events == 3 * [whole]


async def test_a_pagerduty_that_cannot_be_reached_is_asked_again(
    network: Network, pagerduty: Receiver, whole: Any, deliver: Deliver
) -> None:
    """Neither an unknown name nor a closed port is the end."""
    addresses = network.names.pop("pagerduty.test")
    pagerduty.port = "closed"
    when(60, lambda: network.names.update({"pagerduty.test": addresses}))
    when(120, lambda: setattr(pagerduty, "port", "open"))

    assert (await deliver()).cause is None
    assert pagerduty.events == [whole]
    assert 120 <= now() < 150


@pytest.mark.parametrize(
    ("answer", "cause"), table(NOT_NOW, Cause.TIMED_OUT) + table(REFUSALS, Cause.REFUSED)
)
async def test_what_is_never_accepted_is_tried_to_the_end_and_not_beyond(
    answer: Behaviour, cause: Cause, pagerduty: Receiver, deliver: Deliver
) -> None:
    """ALERT_TIMEOUT_SECONDS are used up, with a pause of at most 30 s and a whole attempt at the end."""
    pagerduty.answer = answer

    verdict = await deliver()

    assert verdict.cause is cause
    assert 299 < now() <= 300
    assert 285 < times(pagerduty)[-1] < 300
    assert longest_pause(times(pagerduty)) <= 30 + 10.5


async def test_the_time_for_a_page_is_counted_from_its_first_attempt(
    pagerduty: Receiver, deliver: Deliver
) -> None:
    """ALERT_TIMEOUT_SECONDS begin when whatever came before is over."""
    pagerduty.answer = says(503)
    await asyncio.sleep(1000)

    await deliver(ALERT_TIMEOUT_SECONDS="20")

    assert 1019 < now() <= 1020


async def test_one_attempt_is_bounded(pagerduty: Receiver, deliver: Deliver) -> None:
    """PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS after a question that nobody answers, another is asked."""
    pagerduty.answer = in_turn(silent, ACCEPTED)

    await deliver(PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS="3")

    first, second = times(pagerduty)
    assert 3.5 <= second - first <= 4


# 400


async def test_a_400_is_answered_at_once_with_the_minimal_event(
    pagerduty: Receiver, whole: Any, minimal: Any, deliver: Deliver
) -> None:
    """It may have been our event that was wrong."""
    pagerduty.answer = in_turn(says(400, "invalid event"), ACCEPTED)

    assert await deliver() == Verdict(None, "the page was delivered to PagerDuty")
    assert pagerduty.events == [whole, minimal]
    assert now() == 0


async def test_after_a_400_the_event_stays_minimal(
    pagerduty: Receiver, whole: Any, minimal: Any, deliver: Deliver
) -> None:
    """A PagerDuty that is busy afterwards is not asked again with what it called invalid."""
    pagerduty.answer = in_turn(says(503), says(400), says(503), silent, ACCEPTED)

    assert (await deliver()).cause is None
    assert pagerduty.events == [whole, whole, minimal, minimal, minimal]


@pytest.mark.parametrize(
    ("answers", "events"),
    [
        pytest.param([says(400, "bad")], 2, id="at once"),
        pytest.param([says(400), says(503), says(403), says(400, "bad")], 4, id="later"),
    ],
)
async def test_a_second_400_ends_the_trying(
    answers: list[Behaviour], events: int, pagerduty: Receiver, deliver: Deliver
) -> None:
    """There is nothing left to change in the event; the reason quotes the answer."""
    pagerduty.answer = in_turn(*answers)

    assert await deliver() == Verdict(Cause.REFUSED, "nobody was told: PagerDuty: 400 bad")
    assert len(pagerduty.events) == events
    assert now() < 5


async def test_after_two_400_the_fallback_has_all_the_time(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """PagerDuty has given up on us, the fallback may still take it."""
    pagerduty.answer = says(400)
    chat.answer = in_turn(*(20 * [says(503)]), OK)

    assert (await deliver(CHAT, ALERT_TIMEOUT_SECONDS="2000")).cause is None
    assert times(chat)[0] == 0
    assert times(chat)[-1] > 300
    assert len(pagerduty.events) == 2


# Retry-After


@pytest.mark.parametrize("status", [429, 503, 403])
async def test_pagerduty_is_left_alone_as_long_as_it_asks(
    status: int, pagerduty: Receiver, deliver: Deliver
) -> None:
    """Retry-After in seconds is honoured, whatever the answer is."""
    pagerduty.answer = in_turn(says(status, retry_after="90"), ACCEPTED)

    assert (await deliver()).cause is None
    assert times(pagerduty) == [0, 90]


async def test_pagerduty_is_left_alone_until_a_date(pagerduty: Receiver, deliver: Deliver) -> None:
    """Retry-After as a date is honoured."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    pagerduty.answer = in_turn(says(429, retry_after=date), ACCEPTED)

    assert (await deliver()).cause is None
    assert 60 < times(pagerduty)[1] <= 90


@pytest.mark.parametrize("wish", ["3600", 400 * "9", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_no_wish_leaves_no_time_for_an_attempt(
    wish: str, pagerduty: Receiver, deliver: Deliver
) -> None:
    """PagerDuty is asked once more while there is time for a whole attempt."""
    pagerduty.answer = in_turn(says(429, retry_after=wish), ACCEPTED)

    assert (await deliver()).cause is None
    assert times(pagerduty) == [0, 290]


@pytest.mark.parametrize("wish", ["-1", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9"])
async def test_a_wish_that_is_none_changes_nothing(wish: str, pagerduty: Receiver, deliver: Deliver) -> None:
    """The next attempt comes when it would have come."""
    pagerduty.answer = in_turn(says(503, retry_after=wish), ACCEPTED)

    await deliver()

    assert 0.5 <= times(pagerduty)[1] <= 1


async def test_a_wish_of_pagerduty_does_not_hold_the_fallback_back(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """The fallback is told when its time has come."""
    pagerduty.answer = says(429, retry_after="3600")

    await deliver(CHAT)

    assert times(chat) == [45]


async def test_the_fallback_is_left_alone_as_long_as_it_asks(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """A chat limits its rate as well."""
    pagerduty.answer = says(403)
    chat.answer = in_turn(says(429, retry_after="60"), OK)

    await deliver(CHAT)

    assert times(chat) == [0, 60]


# The fallback


@pytest.mark.parametrize("answer", table(NOT_NOW))
async def test_a_silent_pagerduty_has_45_seconds_before_the_fallback_is_told(
    answer: Behaviour, pagerduty: Receiver, chat: Receiver, page: Page, deliver: Deliver
) -> None:
    """What may pass is waited for, but not for ever; PagerDuty goes on being asked until the end."""
    pagerduty.answer = answer

    verdict = await deliver(CHAT)

    assert verdict.cause is None
    assert verdict.reason.startswith("the page was delivered to fallback, not to PagerDuty: ")
    assert times(chat) == [45]
    assert len(notes(chat, page)) == 1
    assert times(pagerduty)[-1] > 285


@pytest.mark.parametrize("answer", table(REFUSALS | {"400": says(400)}))
async def test_a_refusal_tells_the_fallback_at_once(
    answer: Behaviour, pagerduty: Receiver, chat: Receiver, page: Page, deliver: Deliver
) -> None:
    """Nobody waits for a PagerDuty that said no."""
    pagerduty.answer = answer

    assert (await deliver(CHAT)).cause is None
    assert times(chat) == [0]
    assert len(notes(chat, page)) == 1


async def test_a_refusal_after_a_while_tells_the_fallback_then(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """It is not too late for that within the 45 seconds."""
    pagerduty.answer = in_turn(silent, says(403))

    await deliver(CHAT)

    assert times(chat) == [times(pagerduty)[1]]


@pytest.mark.parametrize(
    ("after", "within", "told_at"),
    [
        pytest.param("2.5", "300", 2.5, id="as it is set"),
        pytest.param("300", "300", 150, id="at half of a time that it would use up"),
        pytest.param("45", "20", 10, id="at half of a time that is shorter than the default"),
    ],
)
async def test_when_the_fallback_is_told(
    after: str, within: str, told_at: float, pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """ALERT_FALLBACK_AFTER_SECONDS after the first attempt, and while there is time to tell it."""
    pagerduty.answer = silent

    verdict = await deliver(CHAT, ALERT_FALLBACK_AFTER_SECONDS=after, ALERT_TIMEOUT_SECONDS=within)

    assert verdict.cause is None
    assert times(chat) == [told_at]


async def test_pagerduty_may_accept_long_after_the_fallback_was_told(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """The message in the chat does not end the trying: it is the pager that wakes somebody."""
    pagerduty.answer = in_turn(says(503, retry_after="200"), ACCEPTED)

    assert await deliver(CHAT) == Verdict(None, "the page was delivered to fallback and PagerDuty")
    assert (times(pagerduty), times(chat)) == ([0, 200], [45])
    assert now() == 200


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_2xx_of_a_fallback_is_delivered(
    status: int, pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Webhooks differ in how they say yes."""
    pagerduty.answer = says(503)
    chat.answer = says(status)

    assert (await deliver(CHAT)).cause is None
    assert len(chat.events) == 1


@pytest.mark.parametrize(
    "answer", table({"302": says(302), "404": says(404), "500": says(500), "silence": silent})
)
async def test_a_fallback_that_fails_is_told_again_to_the_end(
    answer: Behaviour, pagerduty: Receiver, chat: Receiver, page: Page, deliver: Deliver
) -> None:
    """It is the last way to somebody."""
    pagerduty.answer = says(403)
    chat.answer = answer

    assert (await deliver(CHAT)).cause is Cause.REFUSED
    assert times(chat)[0] == 0
    assert times(chat)[-1] > 285
    assert len(notes(chat, page)) == len(chat.events)
    assert 299 < now() <= 300


@pytest.mark.parametrize(
    ("expected", "answer", "variables"),
    [
        pytest.param(
            "PagerDuty has not taken this page: 403 no", says(403, "no"), {}, id="that PagerDuty refused"
        ),
        pytest.param(
            "PagerDuty has not taken this page: not answered within 10 s", silent, {}, id="that it is silent"
        ),
        pytest.param(
            "PagerDuty has not taken this page so far",
            silent,
            {"PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "60"},
            id="that it has not answered yet",
        ),
    ],
)
async def test_a_chat_is_told_that_nobody_was_paged(
    expected: str,
    answer: Behaviour,
    variables: dict[str, str],
    pagerduty: Receiver,
    chat: Receiver,
    page: Page,
    deliver: Deliver,
) -> None:
    """Who reads it would take it that somebody else is awake."""
    pagerduty.answer = answer

    await deliver(CHAT, hurry=None, **variables)

    assert notes(chat, page) == [expected]


async def test_a_chat_that_is_told_late_is_told_nothing_of_a_pager_that_works(
    pagerduty: Receiver, chat: Receiver, page: Page, deliver: Deliver
) -> None:
    """By then somebody is awake."""
    pagerduty.answer = in_turn(says(403), ACCEPTED)
    chat.answer = in_turn(says(503, retry_after="2"), OK)

    await deliver(CHAT)

    assert [event["text"] for event in chat.events] == [
        page.text("PagerDuty has not taken this page: 403"),
        page.text(),
    ]


async def test_all_fallbacks_are_told(
    pagerduty: Receiver, chat: Receiver, other_chat: Receiver, page: Page, deliver: Deliver
) -> None:
    """They do not share what they were told."""
    pagerduty.answer = says(503)
    other_chat.answer = in_turn(says(500), OK)

    assert await deliver(CHAT, OTHER_CHAT) == Verdict(
        None, "the page was delivered to fallback 1 of 2 and fallback 2 of 2, not to PagerDuty: 503"
    )
    assert len(notes(chat, page)) == 1
    assert len(notes(other_chat, page)) == 2


async def test_one_delivery_is_enough(
    pagerduty: Receiver, chat: Receiver, other_chat: Receiver, deliver: Deliver
) -> None:
    """The reason says who was told, and who was not and why."""
    pagerduty.answer = says(503, "maintenance")
    other_chat.answer = says(404, "no_team")

    assert await deliver(CHAT, OTHER_CHAT) == Verdict(
        None,
        "the page was delivered to fallback 1 of 2, not to PagerDuty: 503 maintenance; "
        "fallback 2 of 2: 404 no_team",
    )


async def test_two_fallbacks_on_one_host_are_told_apart(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """One chat has many webhooks: which of them failed is told, and none of their paths."""
    pagerduty.answer = says(503)
    chat.answer = in_turn(OK, says(404, "no_team"))

    assert await deliver(CHAT, "http://chat.test/hooks/T1SECRET") == Verdict(
        None,
        "the page was delivered to fallback 1 of 2, not to PagerDuty: 503; fallback 2 of 2: 404 no_team",
    )


async def test_what_breaks_on_one_way_costs_that_way_alone(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """A bug is told in the reason, by its kind, and everybody else is told of the page."""
    pagerduty.answer = says(503, "maintenance")

    with structlog.testing.capture_logs() as lines:
        # This network knows no TLS: as good a bug as any.
        verdict = await deliver(CHAT, "https://chat.test/hooks/T1SECRET")

    assert verdict.cause is None
    assert verdict.reason.startswith("the page was delivered to fallback 1 of 2, not to ")
    assert "PagerDuty: 503 maintenance" in verdict.reason
    assert "fallback 2 of 2: NotImplementedError" in verdict.reason
    assert ["fallback 2 of 2"] == [line["receiver"] for line in lines if line["event"] == "page_broke"]


# Grace of the fallback once PagerDuty has accepted


async def test_a_fallback_that_hangs_gets_ten_seconds_once_pagerduty_has_accepted(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Somebody was told: that nobody else is does not hold the sync."""
    pagerduty.answer = in_turn(says(403), ACCEPTED)
    chat.answer = silent

    verdict = await deliver(CHAT, PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS="60")

    assert verdict.cause is None
    assert verdict.reason.startswith("the page was delivered to PagerDuty")
    assert now() == pytest.approx(times(pagerduty)[1] + 10, abs=0.01)


async def test_a_fallback_that_is_being_told_is_waited_for_no_longer_than_it_takes(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Of its ten seconds only what it needs is used."""
    pagerduty.answer = in_turn(says(403), ACCEPTED)
    chat.answer = answered_late(5, OK)

    assert await deliver(CHAT) == Verdict(None, "the page was delivered to PagerDuty and fallback")
    assert now() == 5


async def test_a_fallback_that_is_not_due_is_not_told_once_pagerduty_has_accepted(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """A pager that came late is enough."""
    pagerduty.answer = in_turn(says(503), says(503), ACCEPTED)

    assert await deliver(CHAT) == Verdict(None, "the page was delivered to PagerDuty")
    assert chat.events == []
    assert now() == times(pagerduty)[2]


# Nobody was told


@pytest.mark.parametrize(
    ("answers", "cause", "quoted"),
    [
        pytest.param([says(403, "no")], Cause.REFUSED, "403 no", id="refused all along"),
        pytest.param([says(503), says(403, "no")], Cause.REFUSED, "403 no", id="refused in the end"),
        pytest.param([says(403), says(503, "busy")], Cause.TIMED_OUT, "503 busy", id="busy in the end"),
        pytest.param([says(200, "log in")], Cause.TIMED_OUT, "200", id="a captive portal"),
        pytest.param([silent], Cause.TIMED_OUT, "not answered within", id="silent"),
        *(
            pytest.param(
                [answered_late(latency, says(403, "no"))], Cause.REFUSED, "403 no", id=f"{latency:g} s late"
            )
            for latency in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
        ),
        pytest.param([says(403, "no"), silent], Cause.REFUSED, "403 no", id="refused, then silent"),
    ],
)
async def test_when_both_fail_the_reason_names_both(
    answers: list[Behaviour],
    cause: Cause,
    quoted: str,
    pagerduty: Receiver,
    chat: Receiver,
    deliver: Deliver,
) -> None:
    """The code is 1 if PagerDuty's last answer was a refusal, else 3; no answer is no answer."""
    pagerduty.answer = in_turn(*answers)
    chat.answer = says(404, "no_team")

    verdict = await deliver(CHAT)

    assert verdict.cause is cause
    assert verdict.reason.startswith(f"nobody was told: PagerDuty: {quoted}")
    assert verdict.reason.endswith("; fallback: 404 no_team")


async def test_without_a_routing_key_only_the_fallback_is_told(chat: Receiver, loading: Loading) -> None:
    """PagerDuty cannot be paged: there is nothing to wait for."""
    settings = loading(Alert, ALERT_FALLBACK_URL=CHAT)

    assert await delivered(settings, asyncio.Event()) == Verdict(None, "the page was delivered to fallback")
    assert times(chat) == [0]
    assert now() == 0


async def test_with_nobody_to_tell_it_ends_at_once(network: Network, loading: Loading) -> None:
    """Waiting would help nobody."""
    assert await delivered(loading(Alert), asyncio.Event()) == Verdict(
        Cause.TIMED_OUT, "nobody was told: no receiver"
    )
    assert now() == 0


# In a hurry: SIGTERM


async def test_in_a_hurry_from_the_start_the_page_goes_out(
    pagerduty: Receiver, chat: Receiver, whole: Any, deliver: Deliver
) -> None:
    """SIGTERM before anything costs no page."""
    assert await deliver(CHAT, hurry=hurried_at(0)) == Verdict(None, "the page was delivered to PagerDuty")
    assert (pagerduty.events, chat.events, now()) == ([whole], [], 0)


async def test_hurry_ends_a_pause_and_the_fallback_is_told(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """PagerDuty is asked at once, and when it does not accept, whoever else there is is told."""
    pagerduty.answer = says(503, retry_after="40")

    assert await deliver(CHAT, hurry=hurried_at(20)) == Verdict(
        None, "the page was delivered to fallback, not to PagerDuty: 503"
    )
    assert times(pagerduty)[:2] == [0, 20]
    assert times(chat) == [20]
    assert now() <= 21


async def test_hurry_during_an_attempt_lets_it_end_and_tells_the_fallback_meanwhile(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """A second is left to PagerDuty; then the fallback's delivery ends it."""
    pagerduty.answer = silent
    chat.answer = answered_late(0.5, OK)

    assert (await deliver(CHAT, hurry=hurried_at(5))).cause is None
    assert (times(pagerduty), times(chat), now()) == ([0], [6], 6.5)


async def test_an_answer_that_comes_in_the_hurry_is_enough(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """The fallback is not told of what PagerDuty accepted in time."""
    pagerduty.answer = answered_late(5.5, ACCEPTED)

    assert await deliver(CHAT, hurry=hurried_at(5)) == Verdict(None, "the page was delivered to PagerDuty")
    assert (chat.events, now()) == ([], 5.5)


async def test_in_a_hurry_no_pause_is_longer_than_a_second(pagerduty: Receiver, deliver: Deliver) -> None:
    """Nobody knows how much of the grace period is left: PagerDuty is asked again and again until it accepts."""
    pagerduty.answer = in_turn(*(20 * [says(503, retry_after="40")]), ACCEPTED)

    assert (await deliver(hurry=hurried_at(3))).cause is None
    assert times(pagerduty)[:2] == [0, 3]
    assert longest_pause(times(pagerduty)[1:]) <= 1
    assert now() <= 23


async def test_in_a_hurry_a_fallback_is_not_left_alone_for_long_either(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Its pauses are cut as well, also the one that it is in."""
    pagerduty.answer = says(403)
    chat.answer = in_turn(says(429, retry_after="40"), says(429, retry_after="40"), OK)

    assert (await deliver(CHAT, hurry=hurried_at(3))).cause is None
    assert times(chat) == [0, 3, 4]


async def test_after_the_fallback_was_told_hurry_gives_pagerduty_one_more_second(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Somebody knows already: the kubelet need not kill us."""
    pagerduty.answer = says(503, retry_after="400")

    assert (await deliver(CHAT, hurry=hurried_at(100))).cause is None
    assert times(pagerduty)[1] == 100
    assert now() == 101


async def test_without_a_fallback_hurry_goes_on_until_pagerduty_was_told(
    pagerduty: Receiver, deliver: Deliver
) -> None:
    """A page that can still be sent is not lost while we are let."""
    pagerduty.answer = in_turn(silent, silent, ACCEPTED)

    assert (await deliver(hurry=hurried_at(5))).cause is None
    assert len(pagerduty.events) == 3
    assert now() <= 22


async def test_in_a_hurry_nobody_may_take_it_all_the_same(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Then the end of the time is the end."""
    pagerduty.answer = says(503)
    chat.answer = says(500)

    assert await deliver(CHAT, hurry=hurried_at(0), ALERT_TIMEOUT_SECONDS="20") == Verdict(
        Cause.TIMED_OUT, "nobody was told: PagerDuty: 503; fallback: 500"
    )
    assert now() <= 20


# The log


async def test_the_log_tells_each_attempt_and_its_answer(
    pagerduty: Receiver, chat: Receiver, deliver: Deliver
) -> None:
    """Who reads the log of a page that nobody got sees why."""
    pagerduty.answer = in_turn(says(403, "no"), ACCEPTED)

    with structlog.testing.capture_logs() as lines:
        await deliver(CHAT)

    assert lines == [
        {"log_level": "warning", "event": "page_not_delivered", "receiver": "PagerDuty", "answer": "403 no"},
        {"log_level": "info", "event": "page_delivered", "receiver": "fallback", "answer": "200"},
        {"log_level": "info", "event": "page_delivered", "receiver": "PagerDuty", "answer": "202"},
    ]


# Closing


RESOLVE = {"routing_key": KEY, "event_action": "resolve", "dedup_key": "argocd-sync/argocd/oms"}


class Close(Protocol):
    """Closes the incident as postsync-verify does."""

    async def __call__(self, **variables: str) -> bool: ...


@pytest.fixture
def closing(loading: Loading) -> Close:
    """Close what would have been opened; return whether it is closed."""

    async def closing(**variables: str) -> bool:
        environment = {
            "OMS_URL": "http://oms.test",
            "ARGOCD_APP_NAME": "oms",
            "PAGERDUTY_ROUTING_KEY": KEY,
            "PAGERDUTY_EVENTS_URL": EVENTS,
        }
        settings = loading(Postsync, **environment | variables)
        return await close(settings, page_of(settings), seconds=10)

    return closing


async def test_the_incident_is_closed_under_its_key(pagerduty: Receiver, closing: Close) -> None:
    """One event is enough, also where no incident is open."""
    with structlog.testing.capture_logs() as lines:
        assert await closing()

    assert pagerduty.events == [RESOLVE]
    assert lines == [
        {"log_level": "info", "event": "incident_resolved", "receiver": "PagerDuty", "answer": "202"}
    ]


async def test_a_webhook_is_not_told_of_a_page_that_it_may_never_have_got(
    pagerduty: Receiver, chat: Receiver, closing: Close
) -> None:
    """Nobody knows whether the fallback was told: a good deployment makes no noise in a chat."""
    await closing(ALERT_FALLBACK_URL=CHAT)

    assert chat.events == []


async def test_what_may_pass_does_not_keep_the_incident_open(pagerduty: Receiver, closing: Close) -> None:
    """It is tried again for ten seconds."""
    pagerduty.answer = in_turn(says(503), hung_up, says(200), ACCEPTED)

    await closing()

    assert pagerduty.events == 4 * [RESOLVE]
    assert now() < 10


@pytest.mark.parametrize("answer", table(NOT_NOW))
async def test_closing_is_best_effort_within_ten_seconds(
    answer: Behaviour, pagerduty: Receiver, closing: Close
) -> None:
    """A good deployment is not held up by a pager that is down; the log says that the incident is still open."""
    pagerduty.answer = answer

    with structlog.testing.capture_logs() as lines:
        assert not await closing()

    assert 9 < now() <= 10
    assert [(line["event"], line["log_level"]) for line in lines] == [("incident_not_resolved", "warning")]


@pytest.mark.parametrize("answer", table(REFUSALS | {"400": says(400)}))
async def test_a_refusal_ends_the_closing(answer: Behaviour, pagerduty: Receiver, closing: Close) -> None:
    """It is not worth ten seconds of a deployment."""
    pagerduty.answer = answer

    assert not await closing()
    assert (pagerduty.events, now()) == ([RESOLVE], 0)


async def test_a_bug_while_closing_fails_no_deployment(pagerduty: Receiver, closing: Close) -> None:
    """It is told in the log, and that is all."""
    with structlog.testing.capture_logs() as lines:
        # This network knows no TLS: as good a bug as any.
        assert not await closing(PAGERDUTY_EVENTS_URL="https://pagerduty.test/")

    assert [(line["event"], line["receiver"]) for line in lines] == [("closing_broke", "PagerDuty")]
