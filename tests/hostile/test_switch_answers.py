"""What an answer to a switch means: accepted, refused, or asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile.answers import BROKEN, ENDLESS, LARGE, SLOW
from tests.hostile.environment import AT_ONCE_SECONDS, BRIEF, PATIENT, given
from tests.hostile.oms import SWITCH, Oms
from tests.hostile.peer import (
    MEBIBYTE,
    Connection,
    Peer,
    Request,
    both,
    chunked,
    closes_after,
    drip,
    endless,
    gzip_bomb,
    in_turn,
    ok_head,
    raw,
    redirect,
    reply,
    reset_after,
    silence,
)
from tests.hostile.process import run
from tests.hostile.scene import Crowd, Played, crowd, scenes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.peer import Behaviour
    from tests.hostile.scene import Play, Scene

TO_STANDBY = {"mode": "standby", "reason": "argocd-sync"}
TO_ACTIVE = {"mode": "active", "reason": "argocd-sync"}


def standby_where_switch(behaviour: Behaviour, times: Mapping[str, str] = PATIENT) -> Played:
    """Play presync-standby where every switch meets this and nothing is done."""
    oms = Oms()
    with Peer(oms.answers(switch=behaviour)) as peer:
        return Played(run("presync-standby", given(peer, times=times), within=10), peer, oms)


ACCEPTED: dict[str, Behaviour] = {
    "200 and a login page": reply(200, b"<html>", [("Content-Type", "text/html")]),
    "201": reply(201, b"{}"),
    "202 and nothing": reply(202),
    "204": raw(ok_head(status=204), keep=True),
    "299": reply(299),
    "200 and NaN": reply(200, b'{"mode": NaN}'),
    "200 and bytes": reply(200, bytes(range(256))),
    "200 and a body that never comes": raw(ok_head("Content-Length: 10")),
    "200 and a body that drips": drip(b" ", after=ok_head("Content-Length: 100000")),
    "200 and a body without end": endless(b" " * 65536, after=ok_head()),
    "200 and chunks of nonsense": chunked(b"zz\r\n"),
    "200 and a reset": reset_after(ok_head("Content-Length: 10")),
    "200 and a bomb": gzip_bomb(64 * MEBIBYTE),
    "200 and no gzip": reply(200, b"no", [("Content-Encoding", "gzip")]),
}


def taken_and(oms: Oms, behaviour: Behaviour) -> Behaviour:
    """Take every switch, and answer like this."""
    return oms.answers(switch=both(oms.take, behaviour))


@pytest.mark.parametrize(
    "scene",
    [pytest.param(partial(crowd, "presync-standby", ACCEPTED, taken_and, times=PATIENT), id="all at once")],
)
def test_the_status_decides(scene: Callable[[], Crowd], play: Play) -> None:
    """A 2xx is accepted at once, whatever its body is or never becomes; it is not asked twice."""
    played = play(scene)
    assert played.ending.code == 0
    assert {oms.mode for oms in played.all_oms.values()} == {"standby"}
    for peer in played.peers.values():
        assert [request.document for request in peer.asked(SWITCH)] == [TO_STANDBY]
    assert played.ending.seconds < AT_ONCE_SECONDS


REFUSALS = (300, 304, 400, 401, 403, 404, 409, 422, 451, 501)
REFUSED: dict[str, Behaviour] = (
    {f"{status}": reply(status, b"no: the session is open\nmore\n") for status in REFUSALS}
    | {f"{status} redirect": redirect(status, "/admin/elsewhere") for status in (302, 307)}
    | {
        "403 and a body that drips": drip(b"no", after=ok_head("Content-Length: 100000", status=403)),
        "403 and a body without end": endless(b"no " * 10000, after=ok_head(status=403)),
        "403 and a bomb": gzip_bomb(64 * MEBIBYTE, status=403),
        "403 and a reset": reset_after(ok_head("Content-Length: 10", status=403)),
    }
)


@pytest.mark.parametrize(
    ("scene", "status"),
    [pytest.param(partial(standby_where_switch, told), name[:3], id=name) for name, told in REFUSED.items()],
)
def test_a_refusal_ends_it_at_once(scene: Scene, status: str, play: Play) -> None:
    """What will not change by itself is asked once, followed nowhere, and quoted."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (1, "active")
    assert [request.document for request in peer.asked(SWITCH)].count(TO_STANDBY) == 1
    assert not [request for request in peer.requests if "elsewhere" in request.address]
    assert ending.seconds < AT_ONCE_SECONDS
    assert status in ending.reason


@pytest.mark.parametrize("scene", scenes(standby_where_switch, {"403": REFUSED["403"]}))
def test_a_refusal_is_told_with_its_first_line(scene: Scene, play: Play) -> None:
    """A person reads why, and no more than the first line of it."""
    ending, _, _ = play(scene)
    assert "no: the session is open" in ending.reason
    assert "more" not in ending.reason


WITHOUT_STATUS: dict[str, Behaviour] = {
    name: behaviour
    for name, behaviour in (SLOW | ENDLESS | LARGE | BROKEN).items()
    if name
    in {
        "never answers",
        "drips its head",
        "stops in the middle of its head",
        "headers without end",
        "interim answers without end",
        "headers of ten megabytes",
        "a reset before the answer",
        "a reset in the head",
        "an end before the answer",
        "an SSH banner",
        "zeros",
        "a bare document",
        "switching protocols",
    }
}
AGAIN: dict[str, Behaviour] = WITHOUT_STATUS | {
    f"{status}": reply(status, b"busy") for status in (408, 429, 500, 503, 599)
}


def at_the_second_try(oms: Oms, behaviour: Behaviour) -> Behaviour:
    """Take no switch before the second."""
    return oms.answers(switch=in_turn(behaviour, oms.switch))


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(crowd, "presync-standby", AGAIN, at_the_second_try, times=PATIENT), id="all at once"
        )
    ],
)
def test_what_may_pass_is_asked_again(scene: Callable[[], Crowd], play: Play) -> None:
    """The second request is the first one, byte for byte."""
    played = play(scene)
    assert played.ending.code == 0
    for peer in played.peers.values():
        first, second, *_ = peer.asked(SWITCH)
        assert (first.body, first.document) == (second.body, TO_STANDBY)


HOPELESS: dict[str, Behaviour] = {
    name: AGAIN[name]
    for name in ("never answers", "a reset before the answer", "an SSH banner", "429", "503")
}


@pytest.mark.parametrize("scene", scenes(partial(standby_where_switch, times=BRIEF), HOPELESS))
def test_what_does_not_pass_takes_the_time_that_there_is(scene: Scene, play: Play) -> None:
    """It is tried to the end; then the way back is sent as well, in case something arrived."""
    ending, peer, _ = play(scene)
    assert ending.code == 3
    told = [request.document for request in peer.asked(SWITCH)]
    assert told.count(TO_STANDBY) > 1
    assert told[-1] == TO_ACTIVE


NO_WAY_BACK: dict[str, Behaviour] = {
    "refused": reply(403, b"not now"),
    "silent": silence,
    "accepted, not done": reply(200),
}


def standby_without_a_way_back(behaviour: Behaviour) -> Played:
    """Play presync-standby where an OMS drains for ever, and meets its way back with this."""
    oms = Oms(drains_for=10**9)
    with Peer(oms.answers(switch=in_turn(oms.switch, behaviour))) as peer:
        # Ends before it is asked a second time to go into standby.
        times = BRIEF | {"OMS_ATTEMPT_TIMEOUT_SECONDS": "1"}
        return Played(run("presync-standby", given(peer, times=times), within=5), peer, oms)


@pytest.mark.parametrize("scene", scenes(standby_without_a_way_back, NO_WAY_BACK))
def test_an_undo_that_fails_calls_for_a_person(scene: Scene, play: Play) -> None:
    """It has its own exit code, and the reason names the target."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (4, "standby")
    assert peer.asked(SWITCH)[-1].document == TO_ACTIVE
    assert peer.address in ending.reason


def standby_taken_but(behaviour: Behaviour) -> Played:
    """Play presync-standby where the first switch is taken and its answer lost; it may come again."""
    oms = Oms()
    with Peer(oms.answers(switch=in_turn(both(oms.take, behaviour), oms.switch))) as peer:
        return Played(run("presync-standby", given(peer), within=10), peer, oms)


@pytest.mark.parametrize("scene", scenes(standby_taken_but, HOPELESS))
def test_a_lost_answer_is_no_lost_switch(scene: Scene, play: Play) -> None:
    """Where the OMS went into standby, however it answered, it is found there."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.mode) == (0, "standby")


def standby_asked_to_wait(retry_after: str) -> Played:
    """Play presync-standby where the first switch meets a 503 with this Retry-After."""
    oms = Oms()
    busy = reply(503, b"busy", [("Retry-After", retry_after)])
    with Peer(oms.answers(switch=in_turn(busy, oms.switch))) as peer:
        times = PATIENT | {"STANDBY_TIMEOUT_SECONDS": "6"}
        return Played(run("presync-standby", given(peer, times=times), within=10), peer, oms)


PAUSES = ["-5", "1.5", "\x66\xfcnf", "1e9", "Wed, 99 Foo 2026 99:99:99 GMT", "3600", "9" * 400]


@pytest.mark.parametrize(
    "scene", [pytest.param(partial(standby_asked_to_wait, pause), id=pause[:20]) for pause in PAUSES]
)
def test_no_wish_to_be_left_alone_costs_the_last_attempt(scene: Scene, play: Play) -> None:
    """Whatever Retry-After says, there is a second attempt, and standby is confirmed."""
    ending, peer, _ = play(scene)
    assert (ending.code, len(peer.asked(SWITCH))) == (0, 2)


def standby_asked_to_wait_until_a_time() -> Played:
    """Play presync-standby where the first switch meets a 503 that names a time, three seconds ahead."""
    oms = Oms()

    def busy(connection: Connection, request: Request) -> None:
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        reply(503, b"busy", [("Retry-After", at)])(connection, request)

    with Peer(oms.answers(switch=in_turn(busy, oms.switch))) as peer:
        return Played(run("presync-standby", given(peer), within=15), peer, oms)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(standby_asked_to_wait, "2"), id="for two seconds"),
        pytest.param(standby_asked_to_wait_until_a_time, id="until a time"),
    ],
)
def test_a_wish_to_be_left_alone_is_granted(scene: Scene, play: Play) -> None:
    """Retry-After is honoured, given as seconds or as a date."""
    ending, peer, _ = play(scene)
    assert ending.code == 0
    first, second = peer.asked(SWITCH)
    # A date knows no fractions: what was three seconds ahead may be two.
    assert second.arrived - first.arrived > 1.9


def standby_through_restart() -> Played:
    """Play presync-standby where the OMS closes its port after the switch, and comes back in standby."""
    oms = Oms()
    with Peer(oms.answers()) as peer:

        def restart() -> None:
            peer.wait_for(SWITCH)
            peer.close_port()
            time.sleep(0.5)
            peer.open_port()

        restarting = threading.Thread(target=restart)
        restarting.start()
        ending = run("presync-standby", given(peer), within=10)
        restarting.join()
        return Played(ending, peer, oms)


def standby_over_single_use_connections() -> Played:
    """Play presync-standby where each connection ends after one answer that promised to keep it."""
    oms = Oms(drains_for=3)
    with Peer(closes_after(oms.answers())) as peer:
        return Played(run("presync-standby", given(peer), within=10), peer, oms)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(standby_through_restart, id="a closed port"),
        pytest.param(standby_over_single_use_connections, id="connections that end"),
    ],
)
def test_the_connection_is_not_the_oms(scene: Scene, play: Play) -> None:
    """A port that closes for a while and connections that end between requests cost nothing."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (0, "standby")
    assert peer.connections > 1
