"""Whatever comes in place of a document counts as no, and costs no more than the time that was given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile.answers import CLAIM, LIARS, STRANGE, UNREADABLE
from tests.hostile.environment import BRIEF, PATIENT, given
from tests.hostile.oms import HEALTH, MODE, SWITCH, Oms
from tests.hostile.peer import Connection, Peer, Request, in_turn, reply
from tests.hostile.process import run
from tests.hostile.scene import Crowd, Played, crowd, scenes

if TYPE_CHECKING:
    from tests.hostile.peer import Behaviour
    from tests.hostile.scene import Play, Scene


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(crowd, "presync-standby", table, lambda oms, behaviour: oms.answers(mode=behaviour)),
            id=name,
        )
        for name, table in UNREADABLE.items()
    ],
)
def test_what_cannot_be_read_is_waited_for(scene: Callable[[], Crowd], play: Play) -> None:
    """Without a mode document nothing is sent, and the time runs out."""
    played = play(scene)
    assert played.ending.code == 3
    assert [name for name in played.peers if played.last_seen(name)["mode"] != "unreadable"] == []
    assert [name for name, peer in played.peers.items() if peer.requests != peer.asked(MODE)] == []


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(crowd, "presync-standby", {name: behaviour}, lambda oms, told: oms.answers(mode=told)),
            id=name,
        )
        for name, behaviour in STRANGE.items()
    ],
)
def test_a_strange_mode_is_not_standby(scene: Callable[[], Crowd], play: Play) -> None:
    """What does not say standby confirms none, and what does not say active confirms no undo."""
    played = play(scene)
    assert played.ending.code == (4 if any(peer.asked(SWITCH) for peer in played.peers.values()) else 3)


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(
                crowd,
                "postsync-verify",
                table,
                lambda oms, behaviour: oms.answers(health=behaviour),
                mode="standby",
            ),
            id=name,
        )
        for name, table in UNREADABLE.items()
        if name in {"endless", "large"}
    ],
)
def test_what_cannot_be_read_is_not_healthy(scene: Callable[[], Crowd], play: Play) -> None:
    """Without a healthy document nothing is returned to trading, and the time runs out."""
    played = play(scene)
    assert played.ending.code == 3
    assert [name for name, peer in played.peers.items() if peer.asked(SWITCH)] == []
    assert any(peer.asked(HEALTH) for peer in played.peers.values())


STRANGE_HEALTH = {
    name: STRANGE[name]
    for name in (
        "an array",
        "a word",
        "words in capitals",
        "lists where words belong",
        "true where words belong",
    )
}


def verification_claimed_by(liar: Behaviour) -> Played:
    """Play postsync-verify where every look at the health is answered by a liar."""
    oms = Oms(mode="standby")
    with Peer(oms.answers(health=liar)) as peer:
        return Played(run("postsync-verify", given(peer, times=BRIEF), within=2), peer, oms)


@pytest.mark.parametrize("scene", scenes(verification_claimed_by, {**LIARS, **STRANGE_HEALTH}))
def test_a_claim_of_health_verifies_nothing(scene: Scene, play: Play) -> None:
    """A target that is not healthy in so many words, in a document, stays in standby."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.modes_told) == (3, [])


def standby_claimed_by(liar: Behaviour) -> Played:
    """Play presync-standby where an OMS that is stuck in trading is spoken for by a liar once it was read."""
    oms = Oms(stuck=True)
    with Peer(oms.answers(mode=in_turn(oms.read_mode, liar))) as peer:
        return Played(run("presync-standby", given(peer, times=BRIEF), within=3), peer, oms)


@pytest.mark.parametrize("scene", scenes(standby_claimed_by, LIARS))
def test_a_claim_that_is_no_document_confirms_nothing(scene: Scene, play: Play) -> None:
    """A target that was moved is not believed to be in standby, nor to have been returned."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.modes_told[0]) == (4, "standby")


def standby_with_an_answer_too_many() -> Played:
    """Play presync-standby where each document of an OMS that is stuck is followed by one that nobody asked for."""
    oms = Oms(stuck=True)

    def mode(connection: Connection, request: Request) -> None:
        oms.read_mode(connection, request)
        reply(200, CLAIM)(connection, request)

    with Peer(oms.answers(mode=mode)) as peer:
        return Played(run("presync-standby", given(peer, times=BRIEF), within=3), peer, oms)


@pytest.mark.parametrize("scene", [pytest.param(standby_with_an_answer_too_many, id="behind each answer")])
def test_an_answer_that_nobody_asked_for_is_none(scene: Scene, play: Play) -> None:
    """What follows an answer on its connection answers no later question."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.mode) == (3, "active")


def through(oms: Oms, blip: Behaviour) -> Behaviour:
    """Answer as an OMS does, but for the first look and one after the switch."""
    return oms.answers(mode=in_turn(blip, oms.read_mode, blip, oms.read_mode))


@pytest.mark.parametrize(
    "scene",
    [pytest.param(partial(crowd, "presync-standby", LIARS, through, times=PATIENT), id="all at once")],
)
def test_a_blip_is_asked_again(scene: Callable[[], Crowd], play: Play) -> None:
    """What passes costs nothing but time."""
    played = play(scene)
    assert played.ending.code == 0
    assert {oms.mode for oms in played.all_oms.values()} == {"standby"}


def standby_told_by(body: bytes, *headers: tuple[str, str]) -> Played:
    """Play presync-standby where the OMS tells its mode in such a document."""
    oms = Oms()

    def mode(connection: Connection, request: Request) -> None:
        reply(200, body.replace(b"MODE", oms.mode.encode()), headers)(connection, request)

    with Peer(oms.answers(mode=mode)) as peer:
        return Played(run("presync-standby", given(peer), within=10), peer, oms)


PLAIN = b'{"mode": "MODE"}'
READABLE = [
    pytest.param(partial(standby_told_by, PLAIN), id="without a content type"),
    pytest.param(partial(standby_told_by, PLAIN, ("Content-Type", "text/html")), id="called HTML"),
    pytest.param(partial(standby_told_by, PLAIN, ("Set-Cookie", "session=1; Path=/")), id="with a cookie"),
    pytest.param(partial(standby_told_by, b"\xef\xbb\xbf" + PLAIN), id="with a byte order mark"),
    pytest.param(partial(standby_told_by, b'\r\n {"mode":\t"MODE"}\r\n'), id="with white space"),
    pytest.param(partial(standby_told_by, b'{"mode": "MODE", "n": "\\ud800"}'), id="with half a character"),
    pytest.param(
        partial(standby_told_by, '{"mode": "MODE", "n": "Größe 🏦"}'.encode()), id="in any language"
    ),
    pytest.param(
        partial(standby_told_by, b'{"mode": "MODE", "n": ' + b"9" * 100 + b"}"), id="with a long number"
    ),
    pytest.param(
        partial(standby_told_by, b'{"mode": "MODE", "n": "' + b"x" * 1_000_000 + b'"}'),
        id="just small enough",
    ),
]


@pytest.mark.parametrize("scene", READABLE)
def test_a_document_is_read_for_what_it_says(scene: Scene, play: Play) -> None:
    """Content type, cookies and what else it holds do not matter, and no cookie is sent back."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (0, "standby")
    assert all(request.header("cookie") is None for request in peer.requests)
