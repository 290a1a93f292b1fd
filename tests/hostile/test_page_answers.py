"""A page is tried until it is delivered or its time is over, whatever the far ends do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile.answers import BROKEN, ENDLESS, LARGE, NO_DOCUMENT, NOT_YET_STATUS, SLOW, STRANGE
from tests.hostile.environment import AT_ONCE_SECONDS, BRIEF, PATIENT
from tests.hostile.pages import DELIVERED, Paged, alert, trigger
from tests.hostile.peer import (
    MEBIBYTE,
    Behaviour,
    Peer,
    chunked,
    drip,
    endless,
    gzip_bomb,
    in_turn,
    ok_head,
    raw,
    redirect,
    reply,
    reply_json,
    reset_after,
    silence,
)
from tests.hostile.scene import scenes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.scene import Play

Scene = Callable[[], Paged]

ACCEPTED: dict[str, Behaviour] = {
    "202": DELIVERED,
    "202 and nothing": reply(202),
    "202 and a body that drips": drip(b" ", after=ok_head("Content-Length: 100000", status=202)),
    "202 and a body without end": endless(b" " * 65536, after=ok_head(status=202)),
    "202 and chunks of nonsense": chunked(b"zz\r\n", status=202),
    "202 and a reset": reset_after(ok_head("Content-Length: 10", status=202)),
    "202 and a bomb": gzip_bomb(64 * MEBIBYTE, status=202),
}


@pytest.mark.parametrize("scene", scenes(alert, ACCEPTED))
def test_an_accepted_page_is_delivered(scene: Scene, play: Play) -> None:
    """202 is all that it takes, at once and only once."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (0, 1)
    trigger(events[0])
    assert ending.seconds < AT_ONCE_SECONDS


UNDELIVERED: dict[str, Behaviour] = {
    name: (SLOW | ENDLESS | LARGE | BROKEN)[name]
    for name in (
        "never answers",
        "headers without end",
        "interim answers without end",
        "headers of ten megabytes",
        "a reset before the answer",
        "an end before the answer",
        "an SSH banner",
    )
} | {f"{status}": reply(status, b"later") for status in (200, 204, 429, 501)}
REFUSED: dict[str, Behaviour] = {f"{status}": reply(status, b"invalid key") for status in (300, 403, 413)} | {
    f"{status} redirect": redirect(status, "/v2/elsewhere") for status in (302,)
}

BRIEFLY = partial(alert, times=BRIEF)
HOPELESS = ("never answers", "interim answers without end", "a reset before the answer", "200", "429", "501")


@pytest.mark.parametrize("scene", scenes(BRIEFLY, {name: UNDELIVERED[name] for name in HOPELESS}))
def test_what_is_not_delivered_is_tried_to_the_end(scene: Scene, play: Play) -> None:
    """A captive portal's 200, a busy PagerDuty and one that does not speak are no delivery, and no refusal."""
    ending, events, _ = play(scene)
    assert ending.code == 3
    assert len(events) > 1
    assert len({trigger(event)["dedup_key"] for event in events}) == 1


@pytest.mark.parametrize(
    "scene", scenes(BRIEFLY, {name: REFUSED[name] for name in ("300", "403", "302 redirect")})
)
def test_a_refused_page_is_tried_to_the_end_all_the_same(scene: Scene, play: Play) -> None:
    """What PagerDuty refuses now it may take in a minute; the code tells a refusal from silence."""
    ending, events, _ = play(scene)
    assert ending.code == 1
    assert len(events) > 1
    assert len({trigger(event)["dedup_key"] for event in events}) == 1


def alert_at_the_third_try(behaviour: Behaviour) -> Paged:
    """Play syncfail-alert where PagerDuty does this twice, then takes the event."""
    return alert(in_turn(behaviour, behaviour, DELIVERED))


@pytest.mark.parametrize("scene", scenes(alert_at_the_third_try, UNDELIVERED | REFUSED))
def test_a_page_survives_what_passes(scene: Scene, play: Play) -> None:
    """The third attempt delivers what the first could not."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (0, 3)


BAD_REQUEST = reply(400, b'{"status": "invalid event", "message": "Event object is invalid"}')
MINIMAL = {"routing_key", "event_action", "dedup_key", "payload"}


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(partial(alert, in_turn(BAD_REQUEST, DELIVERED)), 0, id="then accepted"),
        pytest.param(partial(alert, BAD_REQUEST), 1, id="and again"),
    ],
)
def test_a_400_is_answered_with_the_least_that_pages(scene: Scene, code: int, play: Play) -> None:
    """It may have been our event that was wrong: the second one holds nothing to object to, and is the last."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (code, 2)
    minimal = trigger(events[1])
    assert minimal.keys() == MINIMAL
    assert minimal["payload"].keys() == {"summary", "source", "severity"}
    assert ending.seconds < AT_ONCE_SECONDS


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(
                alert, in_turn(told, told, DELIVERED), reply(200, b"ok"), ALERT_FALLBACK_AFTER_SECONDS="24"
            ),
            id=name,
        )
        for name, told in REFUSED.items()
    ],
)
def test_a_refusal_tells_the_fallback_at_once(scene: Scene, play: Play) -> None:
    """Nobody waits for a PagerDuty that said no, and PagerDuty goes on being asked."""
    ending, events, messages = play(scene)
    assert (ending.code, len(events), len(messages)) == (0, 3, 1)
    assert isinstance(messages[0].document["text"], str)
    assert ending.seconds < AT_ONCE_SECONDS


OVER_FALLBACK = partial(
    alert,
    times=BRIEF | {"ALERT_TIMEOUT_SECONDS": "3", "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "1"},
    ALERT_FALLBACK_AFTER_SECONDS="0.2",
)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(OVER_FALLBACK, pagerduty, told), id=f"{name}; PagerDuty {how}")
        for name, told, how, pagerduty in (
            ("200", reply(200, b"ok"), "is silent", silence),
            ("204", raw(ok_head(status=204), keep=True), "is busy", reply(503)),
            (
                "200 and a body that drips",
                drip(b" ", after=ok_head("Content-Length: 9999")),
                "refuses",
                reply(403),
            ),
            ("200 and a body without end", endless(b" " * 65536, after=ok_head()), "is silent", silence),
            ("200 and nonsense", chunked(b"zz\r\n"), "resets", reset_after()),
        )
    ],
)
def test_either_delivery_is_success(scene: Scene, play: Play) -> None:
    """The fallback delivers for a PagerDuty that stays silent, busy or unwilling to the end; it is told once."""
    ending, events, messages = play(scene)
    assert (ending.code, len(messages)) == (0, 1)
    assert len(events) > 1


FALLBACK_FAILS: dict[str, Behaviour] = {
    "never answers": silence,
    "resets": reset_after(),
    "speaks something else": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "refuses": reply(404, b"no_team"),
    "is busy": reply(503),
    "redirects": redirect(302, "/elsewhere"),
}


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(partial(OVER_FALLBACK, pagerduty, told), code, id=f"{name}; PagerDuty {how}")
        for (name, told), (how, pagerduty, code) in zip(
            FALLBACK_FAILS.items(), 3 * [("is busy", reply(503), 3), ("refuses", reply(403), 1)], strict=True
        )
    ],
)
def test_when_both_fail_both_are_named(scene: Scene, code: int, play: Play) -> None:
    """The code is PagerDuty's, and the reason tells of both ways."""
    ending, events, messages = play(scene)
    assert ending.code == code
    assert len(events) > 1
    assert messages
    assert "PagerDuty" in ending.reason
    assert "fallback" in ending.reason


@pytest.mark.parametrize(
    "scene", [pytest.param(partial(alert, in_turn(reply(403), DELIVERED), silence), id="silent")]
)
def test_a_fallback_that_hangs_holds_nobody(scene: Scene, play: Play) -> None:
    """Once PagerDuty has accepted, a fallback that is still being told gets ten seconds more."""
    ending, _, messages = play(scene)
    assert ending.code == 0
    assert messages
    assert ending.seconds < 24


def alert_asked_to_wait(retry_after: str, timeout: str) -> Paged:
    """Play syncfail-alert where PagerDuty is busy once, with this Retry-After."""
    busy = reply(429, b"", [("Retry-After", retry_after)])
    return alert(in_turn(busy, DELIVERED), times=PATIENT | {"ALERT_TIMEOUT_SECONDS": timeout})


@pytest.mark.parametrize(
    "scene", [pytest.param(partial(alert_asked_to_wait, "2", "25"), id="for two seconds")]
)
def test_pagerduty_is_left_alone_as_long_as_it_wishes(scene: Scene, play: Play) -> None:
    """Retry-After is honoured."""
    ending, (first, second), _ = play(scene)
    assert ending.code == 0
    assert second.arrived - first.arrived >= 1.9


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(alert_asked_to_wait, wish, "5"), id=wish[:10])
        for wish in ("3600", "Fri, 31 Dec 9999 23:59:59 GMT")
    ],
)
def test_no_wish_costs_the_page(scene: Scene, play: Play) -> None:
    """Whatever Retry-After says, the page is sent before its time is over."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (0, 2)


def alert_amid(table: Mapping[str, Behaviour], recovery: str) -> Paged:
    """Play syncfail-alert where each target answers everything by another of these."""
    with ExitStack() as stack:
        targets = [stack.enter_context(Peer(behaviour)) for behaviour in table.values()]
        return alert(DELIVERED, None, *targets, ALERT_RECOVERY=recovery, STANDBY_UNDO_SECONDS="2")


MEGABYTE_OF_TEXT = reply_json(
    {"mode": "standby", "status": "healthy", "log": ["x \u0000\U0001f3e6" * 10] * 8000}
)
CROWDS = {
    "slow": SLOW,
    "endless": ENDLESS,
    "large": LARGE,
    "broken": BROKEN,
    "without a document": NO_DOCUMENT,
    "strange": STRANGE,
    "of every status": NOT_YET_STATUS,
    "talkative": dict.fromkeys("abcd", MEGABYTE_OF_TEXT),
}


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(alert_amid, CROWDS[name], recovery), id=f"{name}, recovery {recovery}")
        for recovery, names in (("none", CROWDS), ("return-to-active", ("slow", "endless", "broken")))
        for name in names
    ],
)
def test_no_target_delays_or_spoils_the_page(scene: Scene, play: Play) -> None:
    """However the OMS answers, PagerDuty gets one event that it can take."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (0, 1)
    trigger(events[0])
