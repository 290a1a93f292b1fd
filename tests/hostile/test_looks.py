"""What a look is answered beside documents: refusals, wishes to be left alone, and ways elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.hostile.answers import BROKEN, ENDLESS, LARGE, NO_DOCUMENT, NOT_YET_STATUS
from tests.hostile.environment import AT_ONCE_SECONDS, BRIEF, PATIENT, given
from tests.hostile.oms import HEALTH, MODE, STARTING, SWITCH, Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE
from tests.hostile.peer import Behaviour, Connection, Peer, Request, in_turn, redirect, reply, routes
from tests.hostile.process import COMMANDS, Ending, run
from tests.hostile.scene import Played

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.scene import Play, Scene

ALL_IS_WELL = Oms(mode="standby", reason="argocd-sync")


def played(
    command: str,
    oms: Oms,
    *,
    times: Mapping[str, str] = PATIENT,
    mode: Behaviour | None = None,
    health: Behaviour | None = None,
    switch: Behaviour | None = None,
) -> Played:
    """Play a command against an OMS that answers as told where it is told."""
    with Peer(oms.answers(mode=mode, health=health, switch=switch)) as peer:
        return Played(run(command, given(peer, times=times), within=20), peer, oms)


def ours() -> Oms:
    """Return an OMS that an earlier hook of ours put into standby."""
    return Oms(mode="standby", reason="argocd-sync")


UNAUTHORIZED = reply(401, b"who are you?\n")
FORBIDDEN = reply(403, b"not you\n")


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(played, "presync-standby", Oms(), mode=UNAUTHORIZED), id="presync-standby, 401"),
        pytest.param(partial(played, "presync-standby", Oms(), mode=FORBIDDEN), id="presync-standby, 403"),
        pytest.param(partial(played, "return-to-active", ours(), mode=FORBIDDEN), id="return-to-active, 403"),
        pytest.param(
            partial(played, "postsync-verify", ours(), mode=UNAUTHORIZED), id="postsync-verify, 401"
        ),
    ],
)
def test_who_may_not_ask_for_the_mode_is_refused_at_once(scene: Scene, play: Play) -> None:
    """A token does not get better by waiting; nothing was sent."""
    ending, peer, _ = play(scene)
    assert (ending.code, peer.asked(SWITCH)) == (1, [])
    assert ending.seconds < AT_ONCE_SECONDS
    assert "40" in ending.reason


def refused_while_draining() -> Played:
    """Play presync-standby that may no longer ask for the mode while the OMS drains, until it is to undo."""
    oms = Oms(drains_for=10**9)

    def mode(connection: Connection, request: Request) -> None:
        drains = oms.modes_told == ["standby"]
        (refusing if drains else oms.read_mode)(connection, request)

    refusing = in_turn(oms.read_mode, oms.read_mode, FORBIDDEN, oms.read_mode)
    return played("presync-standby", oms, mode=mode)


@pytest.mark.parametrize("scene", [pytest.param(refused_while_draining, id="403")])
def test_what_was_moved_before_a_refusal_is_returned(scene: Scene, play: Play) -> None:
    """A refusal in the middle undoes what was begun."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.modes_told) == (1, ["standby", "active"])


LONG = PATIENT | {"VERIFY_TIMEOUT_SECONDS": "40"}


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(
            partial(played, "postsync-verify", ours(), health=FORBIDDEN, times=LONG),
            1,
            id="for more than ten seconds",
        ),
        pytest.param(
            partial(played, "postsync-verify", ours(), health=FORBIDDEN, times=BRIEF),
            3,
            id="for all the time there is",
        ),
        pytest.param(
            partial(
                played,
                "postsync-verify",
                ours(),
                health=in_turn(*[UNAUTHORIZED] * 10, ALL_IS_WELL.read_health),
            ),
            0,
            id="for a moment",
        ),
    ],
)
def test_a_version_that_starts_may_refuse_its_health_for_a_while(scene: Scene, code: int, play: Play) -> None:
    """Ten seconds of nothing but 401 and 403 are a refusal; less is a version that is starting."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.mode) == (code, "active" if code == 0 else "standby")
    assert code != 1 or ending.seconds > 9.5


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(partial(played, command, ours(), switch=switch), code, id=f"{command}, {name}")
        for command in ("postsync-verify", "return-to-active")
        for name, switch, code in (("refused", FORBIDDEN, 1), ("redirected", redirect(307, "/elsewhere"), 1))
    ],
)
def test_a_return_that_is_refused_is_told(scene: Scene, code: int, play: Play) -> None:
    """It was asked once, and the OMS stays where it was."""
    ending, peer, oms = play(scene)
    assert (ending.code, len(peer.asked(SWITCH)), oms.mode) == (code, 1, "standby")
    assert ending.seconds < AT_ONCE_SECONDS


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(played, command, oms, switch=in_turn(reply(503), oms.switch)), id=command)
        for command, oms in (("postsync-verify", ours()), ("return-to-active", ours()))
    ],
)
def test_a_return_that_may_pass_is_asked_again(scene: Scene, play: Play) -> None:
    """A busy OMS trades again a moment later."""
    ending, peer, oms = play(scene)
    assert (ending.code, len(peer.asked(SWITCH)), oms.mode) == (0, 2, "active")


def asked_to_wait(retry_after: str) -> Played:
    """Play presync-standby whose first look meets a 503 with this Retry-After."""
    oms = Oms()
    return played(
        "presync-standby", oms, mode=in_turn(reply(503, b"", [("Retry-After", retry_after)]), oms.read_mode)
    )


@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        pytest.param(partial(asked_to_wait, "1"), 0.9, 10, id="for a second"),
        pytest.param(partial(asked_to_wait, "3600"), 4.5, 15, id="for an hour"),
        pytest.param(partial(asked_to_wait, "soon"), 0, 4, id="for nobody knows how long"),
    ],
)
def test_a_look_waits_as_it_is_asked_to_but_never_long(
    scene: Scene, least: float, most: float, play: Play
) -> None:
    """Retry-After is honoured up to five seconds."""
    ending, peer, _ = play(scene)
    first, second, *_ = peer.asked(MODE)
    assert ending.code == 0
    assert least <= second.arrived - first.arrived <= most


class Elsewhere(NamedTuple):
    """How a command ended, and how often the place was visited to which it was sent on."""

    ending: Ending
    visits: int


def sent_elsewhere(command: str, status: int, *sent_on: str) -> Elsewhere:
    """Play a command that is sent to another host by some of the answers it gets."""
    oms = Oms() if command == "presync-standby" else ours()
    answers = {
        MODE: oms.read_mode,
        HEALTH: oms.read_health,
        SWITCH: oms.switch,
        EVENT: in_turn(reply(403), DELIVERED),
        MESSAGE: reply(200),
    }
    with Peer(
        routes({EVENT: DELIVERED, MESSAGE: reply(200)}, otherwise=oms.answers()), host="127.0.0.2"
    ) as elsewhere:
        away = {route: redirect(status, f"{elsewhere.url}{route.partition(' ')[2]}") for route in sent_on}
        if EVENT in sent_on:
            away[EVENT] = in_turn(away[EVENT], away[EVENT], DELIVERED)
        with Peer(routes(answers | away)) as peer:
            pager = peer if command == "syncfail-alert" else None
            times = BRIEF | {"ALERT_TIMEOUT_SECONDS": "10", "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "2"}
            ending = run(command, given(peer, pagerduty=pager, fallback=pager, times=times), within=15)
        return Elsewhere(ending, elsewhere.connections)


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(
            partial(sent_elsewhere, command, status, *sent_on), code, id=f"{command} {status} {sent_on[0]}"
        )
        for command, status, sent_on, code in (
            ("presync-standby", 302, (MODE,), 3),
            ("presync-standby", 307, (SWITCH,), 1),
            ("postsync-verify", 301, (HEALTH,), 3),
            ("return-to-active", 308, (SWITCH,), 1),
            ("syncfail-alert", 303, (MODE, HEALTH, EVENT, MESSAGE), 0),
            ("syncfail-alert", 307, (EVENT, MESSAGE), 0),
        )
    ],
)
def test_nobody_is_sent_elsewhere(scene: Callable[[], Elsewhere], code: int, play: Play) -> None:
    """No redirect is followed: the other host gets not even a connection, let alone a token."""
    ending, visits = play(scene)
    assert (ending.code, visits) == (code, 0)


CHECKED: Mapping[str, tuple[dict[str, Behaviour], int]] = {
    "good": ({"good": ALL_IS_WELL.answers()}, 0),
    "unhealthy": ({"unhealthy": Oms(health=STARTING).answers()}, 0),
    "refused": ({"403": FORBIDDEN}, 1),
    "endless": (ENDLESS, 3),
    "large": (LARGE, 3),
    "broken": (BROKEN, 3),
    "no documents": (NO_DOCUMENT, 3),
    "of another status": (NOT_YET_STATUS, 3),
}


def checked(command: str, table: Mapping[str, Behaviour]) -> Ending:
    """Play --check against targets that answer everything like this, with a pager that must hear nothing."""
    with ExitStack() as stack, Peer(DELIVERED) as pager:
        peers = [stack.enter_context(Peer(behaviour)) for behaviour in table.values()]
        ending = run(
            command, given(*peers, pagerduty=pager, fallback=pager, times=BRIEF), "--check", within=10
        )
        assert [request.route for peer in peers for request in peer.requests if request.method != "GET"] == []
        assert pager.connections == 0
        return ending


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(partial(checked, command, table), code, id=f"{command}, {name}")
        for number, (name, (table, code)) in enumerate(CHECKED.items())
        for command in (COMMANDS if name == "good" else [COMMANDS[number % 4]])
    ],
)
def test_a_check_changes_nothing_and_ends(scene: Callable[[], Ending], code: int, play: Play) -> None:
    """--check reads what it can, sends no switch, pages nobody, and says what it could not read."""
    assert play(scene).code == code
