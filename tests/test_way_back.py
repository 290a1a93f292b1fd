"""The way back to trading, step by step; what the commands make of it is in their own tests."""

from __future__ import annotations

import pytest

from hooks import settings
from hooks.expression import Expression
from hooks.oms.documents import Ownership
from hooks.oms.fleet import Fleet, Requests
from hooks.oms.way_back import WayBack, trading_or_left
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline
from tests.conftest import Loading
from tests.network import HEALTHY, STARTING, Network, Oms, answering, in_turn, when

pytestmark = pytest.mark.looptime(noop_cycles=3)

US = Ownership("argocd-sync", None, unnamed_is_ours=True)
OURS = "argocd-sync/run-1"
OPERATOR = "operator/alice"
RETURNED = ("active", "argocd-sync")
BODY = Expression('. as $reason | {"mode":"active","reason":$reason}')


@pytest.fixture
def fleet(network: Network, loading: Loading) -> Fleet:
    """Be every address of the name oms."""
    return Fleet(loading(settings.Oms, OMS_URL="http://oms", OMS_EVERY_POD="true"))


def way_of(fleet: Fleet, consecutive: int = 2) -> WayBack:
    return WayBack(
        fleet,
        healthy=Expression('.status == "healthy"'),
        hopeless=None,
        consecutive=consecutive,
        poll_seconds=1,
    )


async def test_verified_then_returned(network: Network, fleet: Fleet) -> None:
    """Each step that did not fail lets the next begin."""
    ours, held = Oms("standby", OURS), Oms("standby", OPERATOR)
    network.add("oms", ours, held)
    way, requests = way_of(fleet), Requests(BODY, "argocd-sync")
    failures = [await way.verify(Deadline(9)), await way.bring_back(requests, US.is_ours, Deadline(9))]
    assert ([None, None], [RETURNED], []) == (failures, ours.told, held.told)
    assert [OPERATOR] == [target.mode.mode.owner for target in way.left if target.mode and target.mode.mode]


async def test_what_is_no_longer_held_is_no_longer_left(network: Network, fleet: Fleet) -> None:
    """`left` tells who is held at the end, not who was."""
    slow, released = Oms("draining", OURS), Oms("standby", OPERATOR)
    network.add("oms", slow, released)
    when(3, lambda: released.held_by(OPERATOR, "active"))
    when(6, lambda: slow.restart("active"))
    way = way_of(fleet, consecutive=0)
    failed = await way.bring_back(Requests(BODY, "argocd-sync"), US.is_ours, Deadline(9))
    assert (None, set()) == (failed, way.left)


async def test_no_targets_are_never_verified(network: Network, fleet: Fleet) -> None:
    """Nobody is not everybody."""
    failed = await way_of(fleet).verify(Deadline(3))
    assert failed == Verdict(
        Cause.TIMED_OUT, "not healthy within 3 s: oms is not resolved (name or service not known)"
    )


async def test_nothing_is_settled_while_the_name_is_not_resolved(network: Network, fleet: Fleet) -> None:
    """Not all targets are known."""
    oms = Oms()
    network.add("oms", oms)
    way = way_of(fleet, consecutive=0)
    await fleet.resolve(Deadline(9))
    network.names["oms"] = -3
    failed = await way.bring_back(Requests(BODY, "argocd-sync"), US.is_ours, Deadline(3))
    assert failed is not None
    assert failed.reason == (
        "not returned to trading within 3 s: 10.0.0.1:80 is active;"
        " oms is not resolved (temporary failure in name resolution)"
    )


async def test_health_is_not_asked_again_once_it_was_verified(network: Network, fleet: Fleet) -> None:
    """While it is returned only its mode is looked at."""
    oms = Oms("standby", OURS)
    oms.health_answer = in_turn(answering(200, HEALTHY), answering(200, HEALTHY), answering(200, STARTING))
    network.add("oms", oms)
    way = way_of(fleet)
    await way.verify(Deadline(9))
    failed = await way.bring_back(Requests(BODY, "argocd-sync"), US.is_ours, Deadline(9))
    assert (failed, len(oms.asked("/health/deep"))) == (None, 2)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        pytest.param([Oms()], True, id="one that trades"),
        pytest.param([Oms(), Oms("standby", OPERATOR)], True, id="one that somebody else holds"),
        pytest.param([Oms("draining", OPERATOR)], True, id="one that drains for somebody else"),
        pytest.param([Oms(), Oms("standby", OURS)], False, id="not one that we hold"),
        pytest.param([Oms("standby")], False, id="not one that nobody holds"),
        pytest.param([Oms("starting")], False, id="not one that is starting"),
        pytest.param([], False, id="not where nobody is known"),
    ],
)
async def test_trading_or_left(network: Network, fleet: Fleet, targets: list[Oms], expected: bool) -> None:  # noqa: FBT001
    """Every target trades or is held by somebody else, as it was last seen."""
    network.add("oms", *targets)
    await fleet.resolve(Deadline(9))
    await fleet.modes(fleet.targets, Deadline(9))
    assert expected is trading_or_left(fleet.targets, US.is_foreign)


async def test_what_was_not_seen_does_not_trade(network: Network, fleet: Fleet) -> None:
    """Nor does what could not be read."""
    unseen, unreadable = Oms(), Oms()
    unreadable.mode_answer = answering(503)
    network.add("oms", unseen, unreadable)
    await fleet.resolve(Deadline(9))
    await fleet.modes(fleet.targets[1:], Deadline(9))
    assert [False, False] == [trading_or_left([target], US.is_foreign) for target in fleet.targets]
