"""SIGTERM at any moment: what was moved is returned, what must be sent is sent, and nothing is half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile.environment import PATIENT, given
from tests.hostile.oms import HEALTH, MODE, STARTING, SWITCH, Oms
from tests.hostile.pages import DELIVERED, EVENT, trigger
from tests.hostile.peer import (
    Behaviour,
    Connection,
    Peer,
    Request,
    both,
    held,
    in_turn,
    reply,
    reply_json,
    routes,
    silence,
)
from tests.hostile.process import COMMANDS, Process
from tests.hostile.scene import Played, Scene

if TYPE_CHECKING:
    from tests.hostile.scene import Play

SOON = 10.0
"""Far less than any time-out that is set here, and enough on a loaded machine."""

ENDLESS = PATIENT | {
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "60",
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "60",
    "STANDBY_TIMEOUT_SECONDS": "60",
    "VERIFY_TIMEOUT_SECONDS": "60",
    "ALERT_TIMEOUT_SECONDS": "60",
    "ALERT_GATHER_SECONDS": "60",
}
"""Only SIGTERM ends anything."""

Moment = Callable[[Peer], None]


def asked(route: str, times: int = 1) -> Moment:
    """Return the moment at which a route was asked so often."""
    return lambda peer: peer.wait_for(route, times)


def terminated(
    command: str,
    oms: Oms,
    behaviour: Behaviour,
    *moments: Moment,
    release: threading.Event | None = None,
    **settings: str,
) -> Played:
    """Play a command that gets SIGTERM at each of these moments; then `release` lets held answers go."""
    with Peer(behaviour) as peer, Process(command, given(peer, times=ENDLESS | settings)) as process:
        for moment in moments:
            moment(peer)
            process.terminate()
        if release:
            release.set()
        return Played(process.ends(SOON + 5), peer, oms)


def while_looking() -> Played:
    """Terminate presync-standby before the first answer."""
    oms = Oms()
    return terminated("presync-standby", oms, oms.answers(mode=silence), asked(MODE))


def while_verifying(command: str) -> Played:
    """Terminate a command that waits for health."""
    oms = Oms(mode="standby", reason="argocd-sync", health=STARTING)
    return terminated(command, oms, oms.answers(), asked(HEALTH, 3))


def while_asking_for_health(command: str) -> Played:
    """Terminate a command before its first answer about health."""
    oms = Oms(mode="standby", reason="argocd-sync")
    return terminated(command, oms, oms.answers(health=silence), asked(HEALTH))


BEFORE_ANYTHING_MOVED = [
    pytest.param(while_looking, id="presync-standby, before the first answer"),
    *(
        pytest.param(partial(scene, command), id=f"{command}, {when}")
        for command in ("postsync-verify", "return-to-active")
        for when, scene in (
            ("unhealthy", while_verifying),
            ("before the first answer", while_asking_for_health),
        )
    ),
]


@pytest.mark.parametrize("scene", BEFORE_ANYTHING_MOVED)
def test_before_anything_is_moved_it_just_ends(scene: Scene, play: Play) -> None:
    """No switch was sent, and none is."""
    ending, peer, _ = play(scene)
    assert (ending.code, peer.asked(SWITCH)) == (143, [])


def while_switching(*, taken: bool) -> Played:
    """Terminate presync-standby while the OMS has its request and does not answer."""
    oms = Oms()
    first = both(oms.take, silence) if taken else silence
    return terminated("presync-standby", oms, oms.answers(switch=in_turn(first, oms.switch)), asked(SWITCH))


def while_draining(on_failure: str = "return") -> Played:
    """Terminate presync-standby while the OMS drains."""
    oms = Oms(drains_for=10**9)

    def draining(peer: Peer) -> None:
        peer.wait_for(SWITCH)
        peer.wait_for(MODE, len(peer.asked(MODE)) + 3)

    return terminated("presync-standby", oms, oms.answers(), draining, STANDBY_ON_FAILURE=on_failure)


def twice_in_the_undo() -> Played:
    """Terminate presync-standby while the OMS drains, and again twice while the way back is not answered."""
    oms = Oms(drains_for=10**9)
    release = threading.Event()
    switch = in_turn(oms.switch, both(oms.take, held(release, reply(200))), oms.switch)
    moments = (asked(SWITCH), asked(SWITCH, 2), lambda _: None)
    return terminated("presync-standby", oms, oms.answers(switch=switch), *moments, release=release)


def twice_at_once() -> Played:
    """Terminate presync-standby twice in the same moment while the OMS drains."""
    oms = Oms(drains_for=10**9)
    return terminated("presync-standby", oms, oms.answers(), asked(SWITCH), lambda _: None)


MOVED = [
    pytest.param(partial(while_switching, taken=True), id="the switch has arrived"),
    pytest.param(partial(while_switching, taken=False), id="the switch is under way"),
    pytest.param(while_draining, id="the OMS drains"),
    pytest.param(twice_in_the_undo, id="twice more in the undo"),
    pytest.param(twice_at_once, id="twice at once"),
]


@pytest.mark.parametrize("scene", MOVED)
def test_what_was_moved_is_returned(scene: Scene, play: Play) -> None:
    """The last that the OMS is told is to trade, it does, and nothing of it took long."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (143, "active")
    assert peer.asked(SWITCH)[-1].document["mode"] == "active"


@pytest.mark.parametrize("scene", [pytest.param(partial(while_draining, "hold"), id="while the OMS drains")])
def test_what_is_to_be_held_is_held(scene: Scene, play: Play) -> None:
    """With STANDBY_ON_FAILURE=hold nothing is returned."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.modes_told) == (143, ["standby"])


def with_no_way_back(refusal: Behaviour) -> Played:
    """Terminate presync-standby while the OMS drains, which then does not take the way back."""
    oms = Oms(drains_for=10**9)
    switch = in_turn(oms.switch, refusal)
    return terminated(
        "presync-standby",
        oms,
        oms.answers(switch=switch),
        asked(SWITCH),
        STANDBY_UNDO_SECONDS="1",
        OMS_ATTEMPT_TIMEOUT_SECONDS="0.4",
    )


NO_WAY_BACK = {
    "refused": reply(403, b"not now"),
    "busy": reply(503),
    "silent": silence,
    "accepted, not done": reply(200),
    "lost": lambda connection, _: connection.reset(),
}


@pytest.mark.parametrize(
    "scene", [pytest.param(partial(with_no_way_back, told), id=name) for name, told in NO_WAY_BACK.items()]
)
def test_an_undo_that_fails_calls_for_a_person(scene: Scene, play: Play) -> None:
    """Also after SIGTERM: its own exit code, and the target is named."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode) == (4, "standby")
    assert peer.address in ending.reason


def among_others() -> Played:
    """Terminate presync-standby with one target in standby, one draining, and one that an operator holds."""
    quick, slow = Oms(), Oms(drains_for=10**9)
    operators = Oms(mode="standby", reason="maintenance by ada")
    with (
        Peer(quick.answers()) as first,
        Peer(slow.answers()) as second,
        Peer(operators.answers()) as third,
        Process("presync-standby", given(first, second, third, times=ENDLESS)) as process,
    ):
        first.wait_for(SWITCH)
        second.wait_for(SWITCH)
        process.terminate()
        ending = process.ends(SOON + 5)
        assert (quick.modes_told[-1], operators.told) == ("active", [])
        return Played(ending, second, slow)


@pytest.mark.parametrize("scene", [pytest.param(among_others, id="three targets")])
def test_each_target_is_returned_but_an_operators(scene: Scene, play: Play) -> None:
    """Who holds a target keeps it."""
    ending, _, slow = play(scene)
    assert (ending.code, slow.modes_told) == (143, ["standby", "active"])
    assert len(ending.verdict["targets"]) == 3


def while_soaking() -> Played:
    """Terminate postsync-verify after it returned the OMS to trading."""
    oms = Oms(mode="standby", reason="argocd-sync")

    def soaking(peer: Peer) -> None:
        peer.wait_for(SWITCH)
        peer.wait_for(HEALTH, len(peer.asked(HEALTH)) + 5)

    return terminated("postsync-verify", oms, oms.answers(), soaking, VERIFY_SOAK_SECONDS="60")


def while_resolving() -> Played:
    """Terminate postsync-verify while PagerDuty does not answer."""
    oms = Oms()
    with (
        Peer(oms.answers()) as peer,
        Peer(silence) as pagerduty,
        Process("postsync-verify", given(peer, pagerduty=pagerduty, times=ENDLESS)) as process,
    ):
        pagerduty.wait_for(EVENT)
        process.terminate()
        return Played(process.ends(SOON - 2), peer, oms)


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(while_soaking, 143, id="while it soaks"),
        pytest.param(while_resolving, 0, id="while the incident is resolved"),
    ],
)
def test_what_was_verified_goes_on_trading(scene: Scene, code: int, play: Play) -> None:
    """Nothing is put back into standby; an incident that is not resolved fails nothing."""
    ending, _, oms = play(scene)
    assert (ending.code, oms.mode) == (code, "active")


def alert_terminated(pagerduty: Behaviour, until: Moment, oms: Behaviour, **settings: str) -> Played:
    """Play syncfail-alert that gets SIGTERM at a moment of the OMS and PagerDuty, which are one peer here."""

    def either(connection: Connection, request: Request) -> None:
        (pagerduty if request.route == EVENT else oms)(connection, request)

    with (
        Peer(either) as peer,
        Process("syncfail-alert", given(peer, pagerduty=peer, times=ENDLESS | settings)) as process,
    ):
        until(peer)
        process.terminate()
        return Played(process.ends(SOON + 5), peer, Oms())


HELD_STANDBY = Oms(mode="standby", reason="argocd-sync", health=STARTING)
PAGES = [
    pytest.param(partial(alert_terminated, DELIVERED, asked(MODE), silence), id="while it gathers"),
    pytest.param(
        partial(
            alert_terminated,
            DELIVERED,
            asked(HEALTH, 3),
            HELD_STANDBY.answers(),
            ALERT_RECOVERY="return-to-active",
        ),
        id="while it recovers",
    ),
    pytest.param(
        partial(
            alert_terminated,
            in_turn(reply(503), reply(503), reply(503), DELIVERED),
            asked(EVENT),
            reply_json({"mode": "active"}),
        ),
        id="while PagerDuty is busy",
    ),
    pytest.param(
        partial(
            alert_terminated,
            in_turn(silence, DELIVERED),
            asked(EVENT),
            reply_json({"mode": "active"}),
            PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS="1",
        ),
        id="while PagerDuty does not answer",
    ),
]


@pytest.mark.parametrize("scene", PAGES)
def test_a_page_that_can_be_sent_is_sent(scene: Scene, play: Play) -> None:
    """SIGTERM shortens what comes before the page, never the page."""
    ending, peer, _ = play(scene)
    assert ending.code == 0
    trigger(peer.asked(EVENT)[-1])


def terminated_after(command: str, milliseconds: int) -> tuple[int, bool, Oms, Peer]:
    """Send SIGTERM so long after the start, wherever the command is then; tell whether it told anything."""
    oms = Oms()
    with (
        Peer(routes({EVENT: DELIVERED}, otherwise=oms.answers())) as peer,
        Process(command, given(peer, pagerduty=peer, times=ENDLESS)) as process,
    ):
        threading.Event().wait(milliseconds / 1000)
        process.terminate()
        code = process.exit_code(SOON)
        told = bool(process.told().strip())
        if told:
            process.ends(1)
        return code, told, oms, peer


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(terminated_after, command, milliseconds), id=f"{command} after {milliseconds} ms"
        )
        for command, delays in zip(
            COMMANDS, ((0, 50, 100, 200, 300, 400), (0, 200), (0, 200), (0, 200)), strict=True
        )
        for milliseconds in delays
    ],
)
def test_nothing_is_half_done_however_early_it_comes(
    scene: Callable[[], tuple[int, bool, Oms, Peer]], play: Play
) -> None:
    """It ended before it began, or with a verdict; a standby stands only where it was confirmed."""
    code, told, oms, peer = play(scene)
    if not told:
        assert (code, peer.requests) == (143, [])
    if oms.told:
        assert oms.mode == ("standby" if code == 0 else "active")
