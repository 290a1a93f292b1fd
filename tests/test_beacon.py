"""One incident of the watchdog, whatever PagerDuty does meanwhile; on a turned clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

from hooks.paging.beacon import Beacon
from hooks.paging.incident import IN_STANDBY, Page
from hooks.settings import Watch
from tests.conftest import Loading, Serving
from tests.hostile.peer import Behaviour as RealBehaviour
from tests.hostile.peer import Peer, reply, silence
from tests.network import Behaviour, Network, answering, hung_up, in_turn, silent
from tests.network import PagerDuty as Receiver
from tests.watching import KEY, environment

DEDUP_KEY = f"{KEY}/standby"
EVENTS = "http://pagerduty.test/v2/enqueue"
CHAT = "http://chat.test/hooks/T0SECRET"
HOUR, DAY = 3600.0, 86_400.0

State = Literal["open", "closed"]
OPEN: State = "open"
CLOSED: State = "closed"

ACCEPTED = answering(202, {"status": "success"})
OK = answering(200, b"ok")
BUSY = answering(503, b"maintenance")
FORBIDDEN = answering(403, b"Invalid routing key")
INVALID = answering(400, b"invalid event")


turned = pytest.mark.looptime(noop_cycles=1)  # nothing here waits for a thread


class Lit:
    """A beacon that burns, and what it was given."""

    def __init__(self, given: Watch) -> None:
        """Page with these settings; each page says how many were composed before it."""
        self.given = given
        self.composed = 0
        self.fails_to_compose: list[Exception] = []
        self.counted: Counter[str] = Counter()
        self.beacon = Beacon(lambda: self.given, self._page, lambda outcome: self.counted.update([outcome]))

    def _page(self) -> Page:
        if self.fails_to_compose:
            raise self.fails_to_compose.pop()
        self.composed += 1
        return replace(Page.about(self.given, IN_STANDBY), summary=f"oms: page {self.composed}")

    def want(self, *states: State) -> None:
        """Want one state after the other, with no time between them."""
        for state in states:
            self.beacon.want(is_open=state == OPEN)


Light = Callable[..., Any]


@pytest.fixture
def light(loading: Loading) -> Light:
    """Let a beacon burn while a block runs."""

    @asynccontextmanager
    async def light(events: str = EVENTS, fallback: str = "", **variables: str) -> AsyncIterator[Lit]:
        settings = environment("http://oms.test", events, ALERT_FALLBACK_URL=fallback, **variables)
        lit = Lit(loading(Watch, **settings))
        burning = asyncio.ensure_future(lit.beacon.run())
        try:
            yield lit
            assert not burning.done(), burning
        finally:
            burning.cancel()
            await asyncio.wait({burning})

    return light


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Keep the log to ourselves: printing thousands of attempts, and tracebacks in colours, takes its time."""
    with structlog.testing.capture_logs():
        yield


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


def told(receiver: Receiver) -> list[tuple[float, str]]:
    """Return when PagerDuty was told what, to the second."""
    return [(round(request.at), request.document["event_action"]) for request in receiver.requests]


def messages(receiver: Receiver) -> list[tuple[float, str]]:
    """Return when a chat was told what, to the second, by the first words of it."""
    return [(round(request.at), request.document["text"].splitlines()[0]) for request in receiver.requests]


def longest_pause(receiver: Receiver) -> float:
    """Return the longest time between two of the requests."""
    return max(later.at - earlier.at for earlier, later in pairwise(receiver.requests))


# Open


@turned
async def test_one_incident_is_one_trigger(light: Light, pagerduty: Receiver) -> None:
    """However often it is wanted, until it is repeated."""
    async with light() as lit:
        for _ in range(700):
            lit.want(OPEN)
            await asyncio.sleep(5)

    [request] = pagerduty.requests
    assert request.document["event_action"] == "trigger"
    assert request.document["dedup_key"] == DEDUP_KEY
    assert request.document["payload"]["summary"] == "oms: page 1"
    assert lit.counted == {"delivered": 1}


@turned
async def test_an_incident_that_lasts_is_repeated(light: Light, pagerduty: Receiver) -> None:
    """Every WATCH_REPEAT_SECONDS, under the same key, in the words of the time."""
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(3 * HOUR + 60)

    assert told(pagerduty) == [(0, "trigger"), (3600, "trigger"), (7200, "trigger"), (10_800, "trigger")]
    assert {event["dedup_key"] for event in pagerduty.events} == {DEDUP_KEY}
    assert [event["payload"]["summary"] for event in pagerduty.events] == [
        f"oms: page {number}" for number in (1, 2, 3, 4)
    ]


@turned
async def test_how_often_it_is_repeated_can_be_set(light: Light, pagerduty: Receiver) -> None:
    """WATCH_REPEAT_SECONDS is from one delivery to the next."""
    async with light(WATCH_REPEAT_SECONDS="60") as lit:
        lit.want(OPEN)
        await asyncio.sleep(150)

    assert told(pagerduty) == [(0, "trigger"), (60, "trigger"), (120, "trigger")]


@turned
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(BUSY, id="503"),
        pytest.param(FORBIDDEN, id="a refusal"),
        pytest.param(INVALID, id="400, whatever it is sent"),
        pytest.param(OK, id="a captive portal"),
        pytest.param(silent, id="silence"),
        pytest.param(hung_up, id="no answer"),
        pytest.param(answering(429, b"", Retry_After="86400"), id="a wish to be left alone for a day"),
        pytest.param(answering(403, b"", Retry_After="999999999999"), id="a wish to be left alone for ever"),
    ],
)
async def test_a_page_is_tried_for_ever(answer: Behaviour, light: Light, pagerduty: Receiver) -> None:
    """After an hour it is tried as often as ever: at least once a minute; and when PagerDuty is back, it is told."""
    pagerduty.answer = answer
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(HOUR)
        assert longest_pause(pagerduty) <= 60 + 10
        assert pagerduty.requests[-1].at > HOUR - 70

        pagerduty.answer = ACCEPTED
        before = len(pagerduty.requests)
        await asyncio.sleep(71)

    assert [event["event_action"] for event in pagerduty.events[before:]] == ["trigger"]
    assert lit.counted["delivered"] == 1
    assert lit.counted["not_delivered"] >= HOUR / 70


@turned
async def test_who_says_400_is_sent_the_minimal_event_as_well(light: Light, pagerduty: Receiver) -> None:
    """What was wrong in ours must not be what keeps the page away."""
    pagerduty.answer = in_turn(INVALID, ACCEPTED)
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(1)

    assert [sorted(event["payload"]) for event in pagerduty.events] == [
        ["class", "component", "custom_details", "group", "severity", "source", "summary"],
        ["severity", "source", "summary"],
    ]


@turned
async def test_a_name_that_is_not_known_for_hours_is_asked_for_again(
    light: Light, network: Network, pagerduty: Receiver
) -> None:
    """DNS may be down together with everything else."""
    addresses = network.names.pop("pagerduty.test")
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(2 * HOUR)
        network.names["pagerduty.test"] = addresses
        await asyncio.sleep(61)

    assert [action for _, action in told(pagerduty)] == ["trigger"]


@turned
async def test_what_breaks_in_an_attempt_is_tried_again(
    light: Light, network: Network, pagerduty: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a fault that nobody thought of: a page that nobody got is not one that was delivered."""
    connect, faults = network.connect, [RuntimeError("a bug"), RuntimeError("another")]

    async def breaks(host: str, port: int) -> Any:
        if faults:
            raise faults.pop()
        return await connect(host, port)

    monkeypatch.setattr(network, "connect", breaks)
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(130)
        assert [action for _, action in told(pagerduty)] == ["trigger"]

        faults.extend([RuntimeError("a bug"), RuntimeError("another")])
        lit.want(CLOSED)
        await asyncio.sleep(130)

    assert [action for _, action in told(pagerduty)] == ["trigger", "resolve"]


@turned
async def test_what_breaks_in_composing_is_tried_again(light: Light, pagerduty: Receiver) -> None:
    """The next round may know better words; none at all would be silence for ever."""
    async with light() as lit:
        lit.fails_to_compose = [ValueError("a bug")]
        lit.want(OPEN)
        await asyncio.sleep(61)
        assert [action for _, action in told(pagerduty)] == ["trigger"]

        lit.fails_to_compose = [ValueError("a bug")]
        lit.want(CLOSED)
        await asyncio.sleep(61)

    assert [action for _, action in told(pagerduty)] == ["trigger", "resolve"]


# Closed


@turned
async def test_what_is_over_is_closed_once(light: Light, pagerduty: Receiver) -> None:
    """Under the same key, and not repeated."""
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(60)
        lit.want(CLOSED)
        await asyncio.sleep(DAY)

    assert told(pagerduty) == [(0, "trigger"), (60, "resolve")]
    assert {event["dedup_key"] for event in pagerduty.events} == {DEDUP_KEY}


@turned
async def test_what_was_never_opened_is_closed_at_the_start(light: Light, pagerduty: Receiver) -> None:
    """An earlier watchdog may have opened it."""
    async with light() as lit:
        lit.want(CLOSED)
        await asyncio.sleep(DAY)

    assert told(pagerduty) == [(0, "resolve")]


@turned
async def test_before_anything_is_wanted_nothing_is_sent(light: Light, pagerduty: Receiver) -> None:
    """Nothing is known yet."""
    async with light():
        await asyncio.sleep(DAY)

    assert pagerduty.requests == []


@turned
@pytest.mark.parametrize("answer", [BUSY, FORBIDDEN, INVALID, silent], ids=["503", "403", "400", "silence"])
async def test_a_close_is_tried_for_ever(answer: Behaviour, light: Light, pagerduty: Receiver) -> None:
    """An incident that is over must not wake somebody for ever."""
    pagerduty.answer = answer
    async with light() as lit:
        lit.want(CLOSED)
        await asyncio.sleep(HOUR)
        assert longest_pause(pagerduty) <= 60 + 10

        pagerduty.answer = ACCEPTED
        before = len(pagerduty.requests)
        await asyncio.sleep(71)

    assert [event["event_action"] for event in pagerduty.events[before:]] == ["resolve"]


# The newest wins


@turned
@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        pytest.param([OPEN, CLOSED], ["resolve"], id="over before it could be told"),
        pytest.param([OPEN, CLOSED, OPEN], ["trigger"], id="over, and here again"),
        pytest.param([CLOSED, OPEN], ["trigger"], id="here before the close could be told"),
        pytest.param(10 * [OPEN, CLOSED], ["resolve"], id="here and gone ten times"),
    ],
)
async def test_while_pagerduty_is_down_only_the_newest_state_waits(
    wanted: list[State], sent: list[str], light: Light, network: Network, pagerduty: Receiver
) -> None:
    """Nobody is woken for what is over, nor told that it is over when it is not."""
    pagerduty.port = "closed"
    async with light() as lit:
        for state in wanted:
            lit.want(state)
            await asyncio.sleep(300)
        pagerduty.port = "open"
        await asyncio.sleep(61)

    assert [action for _, action in told(pagerduty)] == sent


@turned
async def test_states_that_change_at_once_are_one_change(light: Light, pagerduty: Receiver) -> None:
    """Only the last of them counts."""
    async with light() as lit:
        lit.want(OPEN, CLOSED, OPEN, CLOSED)
        await asyncio.sleep(60)

    assert told(pagerduty) == [(0, "resolve")]


@turned
async def test_a_trigger_that_is_under_way_is_given_up_for_a_close(light: Light, pagerduty: Receiver) -> None:
    """It may have arrived: the close comes after it."""
    pagerduty.answer = in_turn(silent, ACCEPTED)
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(5)
        lit.want(CLOSED)
        await asyncio.sleep(DAY)

    assert told(pagerduty) == [(0, "trigger"), (5, "resolve")]


# The fallback


@turned
async def test_the_fallback_is_told_as_for_a_failed_sync(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """After ALERT_FALLBACK_AFTER_SECONDS of silence; PagerDuty goes on being tried."""
    pagerduty.answer = BUSY
    async with light(fallback=CHAT) as lit:
        lit.want(OPEN)
        await asyncio.sleep(600)

    assert messages(chat) == [(45, "oms: page 1")]
    assert longest_pause(pagerduty) <= 60


@turned
async def test_a_refusal_tells_the_fallback_at_once(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """A key that was revoked does not get better by waiting."""
    pagerduty.answer = FORBIDDEN
    async with light(fallback=CHAT) as lit:
        lit.want(OPEN)
        await asyncio.sleep(40)

    assert messages(chat) == [(0, "oms: page 1")]


@turned
async def test_a_fallback_that_was_told_is_told_again(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """Every WATCH_REPEAT_SECONDS, while PagerDuty is tried without end."""
    pagerduty.answer = FORBIDDEN
    async with light(fallback=CHAT) as lit:
        lit.want(OPEN)
        await asyncio.sleep(2 * HOUR + 60)

    assert [at for at, _ in messages(chat)] == [0, 3600, 7200]
    assert longest_pause(pagerduty) <= 60


@turned
async def test_a_fallback_that_was_told_is_told_again_when_pagerduty_is_back(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """Who read the first message there reads the next there too."""
    pagerduty.answer = in_turn(FORBIDDEN, ACCEPTED)
    async with light(fallback=CHAT) as lit:
        lit.want(OPEN)
        await asyncio.sleep(HOUR + 60)

    assert [at for at, _ in messages(chat)] == [0, pytest.approx(3601, abs=1)]


@turned
async def test_a_fallback_that_was_not_told_is_not_told_of_a_repetition(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """PagerDuty accepts: that is enough, each time, and the end of it too."""
    async with light(fallback=CHAT) as lit:
        lit.want(OPEN)
        await asyncio.sleep(2 * HOUR)
        lit.want(CLOSED)
        await asyncio.sleep(60)

    assert messages(chat) == []


@turned
async def test_a_fallback_that_was_told_is_told_the_end_once(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """And of the next incident only what PagerDuty does not take."""
    pagerduty.answer = in_turn(FORBIDDEN, ACCEPTED)
    async with light(fallback=CHAT) as lit:
        for state in (OPEN, CLOSED, OPEN, CLOSED):
            lit.want(state)
            await asyncio.sleep(60)

    assert [text.partition(":")[0] for _, text in messages(chat)] == ["oms", "Over"]


@turned
async def test_a_repetition_that_is_sooner_than_the_fallback_does_not_keep_it_away(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """PagerDuty has been silent for long enough, however often it was asked anew."""
    pagerduty.answer = BUSY
    async with light(fallback=CHAT, WATCH_REPEAT_SECONDS="30") as lit:
        lit.want(OPEN)
        await asyncio.sleep(100)

    assert messages(chat)
    assert messages(chat)[0][0] <= 60


@turned
async def test_an_alertmanager_is_told_of_every_end(
    light: Light, pagerduty: Receiver, chat: Receiver
) -> None:
    """An earlier watchdog may have told it of a beginning."""
    variables = {"fallback": "http://chat.test", "ALERT_FALLBACK_FORMAT": "alertmanager"}
    async with light(**variables) as lit:
        lit.want(CLOSED)
        await asyncio.sleep(60)

    [request] = chat.requests
    [alert] = request.document
    assert request.path == "/api/v2/alerts"
    assert alert["labels"] == {
        "alertname": "OmsInStandby",
        "application": "oms",
        "namespace": "argocd",
        "severity": "critical",
    }
    assert alert["endsAt"] == alert["startsAt"]


@turned
async def test_an_alert_outlives_its_repetition(light: Light, pagerduty: Receiver, chat: Receiver) -> None:
    """Alertmanager drops an alert that is over its time: it must be told again before."""
    pagerduty.answer = FORBIDDEN
    variables = {"fallback": "http://chat.test", "ALERT_FALLBACK_FORMAT": "alertmanager"}
    async with light(**variables, WATCH_REPEAT_SECONDS=str(2 * DAY)) as lit:
        lit.want(OPEN)
        await asyncio.sleep(60)

    [alert] = chat.requests[0].document
    lasts = datetime.fromisoformat(alert["endsAt"]) - datetime.fromisoformat(alert["startsAt"])
    assert lasts >= timedelta(days=1)


# New settings


@turned
async def test_with_a_new_key_a_page_that_waits_goes_out_at_once(
    light: Light, loading: Loading, pagerduty: Receiver
) -> None:
    """A key that was refused was mended; its page does not wait for the next attempt."""
    pagerduty.answer = FORBIDDEN
    new = "fedcba9876543210fedcba9876543210"
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(1000.5)
        pagerduty.answer = ACCEPTED
        before = len(pagerduty.requests)
        lit.given = loading(Watch, PAGERDUTY_ROUTING_KEY=new)
        lit.beacon.renew()
        await asyncio.sleep(0.1)

    assert [event["routing_key"] for event in pagerduty.events[before:]] == [new]


@turned
async def test_new_settings_repeat_nothing_that_was_told(
    light: Light, loading: Loading, pagerduty: Receiver
) -> None:
    """The next repetition takes them."""
    new = "fedcba9876543210fedcba9876543210"
    async with light() as lit:
        lit.want(OPEN)
        await asyncio.sleep(60)
        lit.given = loading(Watch, PAGERDUTY_ROUTING_KEY=new)
        lit.beacon.renew()
        await asyncio.sleep(HOUR)
        lit.want(CLOSED)
        await asyncio.sleep(1)
        lit.beacon.renew()
        await asyncio.sleep(HOUR)

    assert told(pagerduty) == [(0, "trigger"), (3600, "trigger"), (3660, "resolve")]
    assert [event["routing_key"] == new for event in pagerduty.events] == [False, True, True]


@turned
async def test_new_settings_before_anything_is_wanted_send_nothing(light: Light, pagerduty: Receiver) -> None:
    """There is nothing to send."""
    async with light() as lit:
        lit.beacon.renew()
        await asyncio.sleep(60)

    assert pagerduty.requests == []


# What is left behind


@turned
@pytest.mark.parametrize("answer", [ACCEPTED, BUSY, silent], ids=["settled", "in a pause", "in an attempt"])
@pytest.mark.parametrize("wanted", [OPEN, CLOSED])
async def test_a_beacon_that_is_put_out_leaves_nothing_behind(
    wanted: State,
    answer: Behaviour,
    light: Light,
    pagerduty: Receiver,
    chat: Receiver,
) -> None:
    """At once, whatever was under way."""
    pagerduty.answer = chat.answer = answer
    async with light(fallback=CHAT, ALERT_FALLBACK_AFTER_SECONDS="1") as lit:
        lit.want(wanted)
        await asyncio.sleep(100.2)
        behind = asyncio.all_tasks()
        ended = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() == ended
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in left & behind if "_answered" not in repr(task)]  # the far end's own


async def asked(peer: Peer, times: int) -> None:
    """Wait until a peer was asked so often."""
    await asyncio.to_thread(peer.wait_until, lambda requests: len(requests) >= times)


def open_files(*far_ends: Peer) -> int:
    """Return how many file descriptors this process holds, without those of far ends that it plays itself."""
    theirs = sum(len(far_end._open) for far_end in far_ends)
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - theirs


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(reply(202), id="that settle it"),
        pytest.param(reply(503), id="that say not now"),
        pytest.param(silence, id="that are silent"),
    ],
)
async def test_connections_are_not_collected(
    behaviour: RealBehaviour, light: Light, serving: Serving
) -> None:
    """Far ends keep a connection for as long as we do: each that is not needed any more is closed."""
    pagerduty, chat = serving(behaviour), serving(behaviour)
    async with light(events=pagerduty.url, fallback=chat.url, ALERT_FALLBACK_AFTER_SECONDS="0.001") as lit:
        for number in range(1, 41):
            lit.want(OPEN if number % 2 else CLOSED)
            await asked(pagerduty, number)
            if number == 10:
                before = open_files(pagerduty, chat)
        after = open_files(pagerduty, chat)

    assert after <= before + 6
