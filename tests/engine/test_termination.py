"""SIGTERM and SIGKILL to the first process of a container: what was begun is ended, by this run or the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engine.container import Container
from tests.hostile.environment import PATIENT, given
from tests.hostile.oms import MODE, SWITCH, Oms
from tests.hostile.pages import DELIVERED, EVENT, trigger
from tests.hostile.peer import Peer, both, held, in_turn, reply, silence

if TYPE_CHECKING:
    from tests.engine.container import Play
    from tests.hostile.process import Ending

ENDLESS = PATIENT | {
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "60",
    "STANDBY_TIMEOUT_SECONDS": "60",
    "ALERT_TIMEOUT_SECONDS": "60",
    "ALERT_GATHER_SECONDS": "60",
}
"""Only a signal ends anything."""
SOON = 10.0
FOR_EVER = 10**9


class Played(NamedTuple):
    """How the last container ended, and what the OMS was asked and had become."""

    ending: Ending
    peer: Peer
    oms: Oms


Course = Callable[[], Played]


def presync(peer: Peer, run_id: str = "first") -> Container:
    """Start presync-standby against a peer."""
    return Container("presync-standby", given(peer, times=ENDLESS, HOOK_RUN_ID=run_id))


def before_the_first_request() -> Played:
    """Terminate it while python still loads modules."""
    oms = Oms()
    with Peer(oms.answers()) as peer, presync(peer) as container:
        container.wait_until_it_listens()
        container.signal("TERM")
        return Played(container.ends(SOON), peer, oms)


def during_the_switch() -> Played:
    """Terminate it when the OMS has taken its request and does not answer."""
    oms = Oms()
    switch = in_turn(both(oms.take, silence), oms.switch)
    with Peer(oms.answers(switch=switch)) as peer, presync(peer) as container:
        peer.wait_for(SWITCH)
        container.signal("TERM")
        return Played(container.ends(SOON), peer, oms)


def during_the_drain(times: int = 1) -> Played:
    """Terminate it while the OMS drains."""
    oms = Oms(drains_for=FOR_EVER)
    with Peer(oms.answers()) as peer, presync(peer) as container:
        peer.wait_for(SWITCH)
        peer.wait_for(MODE, len(peer.asked(MODE)) + 3)
        for _ in range(times):
            container.signal("TERM")
        return Played(container.ends(SOON), peer, oms)


def during_the_undo() -> Played:
    """Terminate it while the OMS drains, and again while the way back is not answered."""
    oms = Oms(drains_for=FOR_EVER)
    release = threading.Event()
    switch = in_turn(oms.switch, both(oms.take, held(release, reply(200))), oms.switch)
    with Peer(oms.answers(switch=switch)) as peer, presync(peer) as container:
        peer.wait_for(SWITCH)
        container.signal("TERM")
        peer.wait_for(SWITCH, 2)
        container.signal("TERM")
        release.set()
        return Played(container.ends(SOON), peer, oms)


@pytest.mark.parametrize(
    ("course", "told"),
    [
        pytest.param(before_the_first_request, [], id="before the first request"),
        pytest.param(during_the_switch, ["standby", "active"], id="during the switch"),
        pytest.param(during_the_drain, ["standby", "active"], id="during the drain"),
        pytest.param(partial(during_the_drain, 2), ["standby", "active"], id="twice during the drain"),
        pytest.param(during_the_undo, ["standby", "active"], id="during the undo"),
    ],
)
def test_sigterm_returns_what_was_moved(course: Course, told: list[str], play: Play) -> None:
    """Exit code 143 from the first process itself, nothing killed; the OMS was told this, and trades."""
    ending, _, oms = play(course)
    assert (ending.code, oms.modes_told, oms.mode) == (143, told, "active")


def killed_and_started_anew() -> Played:
    """Kill one run while the OMS drains, and let the next one find what it left."""
    oms = Oms(drains_for=FOR_EVER)
    with Peer(oms.answers()) as peer:
        with presync(peer) as first:
            peer.wait_for(SWITCH)
            first.signal("KILL")
            assert first.exit_code(SOON) == 137
            assert first.termination_log == ""
        with presync(peer, "second") as second:
            peer.wait_for(SWITCH, 2)
            oms.drains_for = 1
            return Played(second.ends(SOON), peer, oms)


@pytest.mark.parametrize("course", [pytest.param(killed_and_started_anew, id="during the drain")])
def test_after_sigkill_the_next_run_takes_over(course: Course, play: Play) -> None:
    """It asks again, so that the reason names it, and confirms the standby."""
    ending, _, oms = play(course)
    assert ending.code == 0
    assert [("standby", "argocd-sync/first"), ("standby", "argocd-sync/second")] == [
        (order["mode"], order["reason"]) for order in oms.told
    ]


def while_it_gathers() -> Played:
    """Terminate syncfail-alert while the OMS does not answer."""
    oms = Oms()
    with Peer(oms.answers(mode=silence, health=silence)) as peer, Peer(DELIVERED) as pagerduty:
        with Container("syncfail-alert", given(peer, pagerduty=pagerduty, times=ENDLESS)) as container:
            peer.wait_for(MODE)
            container.signal("TERM")
            ending = container.ends(SOON)
        trigger(pagerduty.asked(EVENT)[0])
        return Played(ending, pagerduty, oms)


@pytest.mark.parametrize("course", [pytest.param(while_it_gathers, id="while it gathers")])
def test_sigterm_sends_the_page(course: Course, play: Play) -> None:
    """The page went out at once, and that is success."""
    ending, pagerduty, _ = play(course)
    assert (ending.code, len(pagerduty.asked(EVENT))) == (0, 1)
