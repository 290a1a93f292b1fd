"""return-to-active, promise by promise, on a turned clock; its far ends are in memory, or real at the very end."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
from structlog.testing import capture_logs

from hooks import settings
from hooks.return_to_active import decide
from hooks.verdict import Cause, Verdict
from rehearsal.mock_oms import MockOms
from tests.conftest import Loading, Serving
from tests.hostile import oms as hostile
from tests.hostile.certificates import Authorities
from tests.network import HEALTHY, STARTING, Behaviour, Network, Oms, answering, in_turn, silent, when

pytestmark = pytest.mark.looptime(noop_cycles=3)

OURS = "argocd-sync/run-1"
OPERATOR = "operator/alice"
SWITCH = "/admin/mode"
HEALTH = "/health/deep"

RETURNED = ("active", "argocd-sync")


class Returning(Protocol):
    """Plays the command against these targets, named oms-1, oms-2 and so on."""

    async def __call__(
        self,
        *targets: Oms,
        stop: asyncio.Event | None = None,
        skip_health: bool = False,
        owner: str | None = None,
        **variables: str,
    ) -> Verdict: ...


@pytest.fixture
def returning(network: Network, loading: Loading) -> Returning:
    """Play the command as a person does, with no run of its own."""

    async def play(
        *targets: Oms,
        stop: asyncio.Event | None = None,
        skip_health: bool = False,
        owner: str | None = None,
        **variables: str,
    ) -> Verdict:
        names = [f"oms-{number}" for number, _ in enumerate(targets, 1)]
        for name, target in zip(names, targets, strict=True):
            network.add(name, target)
        given = {"OMS_URL": ",".join(f"http://{name}" for name in names), **variables}
        loaded = loading(settings.Verification, **given)
        return await decide(loaded, stop or asyncio.Event(), skip_health=skip_health, owner=owner)

    return play


def clock() -> float:
    """Tell how many seconds passed since the test began."""
    return asyncio.get_running_loop().time()


def stopped_after(seconds: float) -> asyncio.Event:
    """Receive SIGTERM so many seconds from now."""
    stop = asyncio.Event()
    when(seconds, stop.set)
    return stop


class TestTheReturn:
    """It verifies health, returns what we own, and confirms."""

    @pytest.mark.parametrize("owner", [OURS, "argocd-sync", None])
    async def test_what_is_ours_is_verified_and_returned(
        self, returning: Returning, owner: str | None
    ) -> None:
        """Whichever run of ours put it into standby, or nobody."""
        oms = Oms("standby", owner)
        verdict = await returning(oms)
        expected = Verdict(
            None,
            "every target trades: oms-1:80 is active",
            {
                "oms-1:80": {
                    "mode": "active",
                    "owner": "argocd-sync",
                    "mode_document": {"mode": "active", "reason": "argocd-sync"},
                    "health_document": HEALTHY,
                }
            },
        )
        assert expected == verdict
        assert (oms.told, len(oms.asked(HEALTH))) == ([RETURNED], 3)

    async def test_what_trades_already_is_left_alone(self, returning: Returning) -> None:
        """Without a warning: there is no deployment."""
        oms = Oms()
        with capture_logs() as lines:
            verdict = await returning(oms)
        assert (verdict.cause, oms.told) == (None, [])
        assert [line for line in lines if line["log_level"] == "warning"] == []

    async def test_one_that_still_drains_is_waited_for(self, returning: Returning) -> None:
        """Until it is in standby."""
        oms = Oms("draining", OURS)
        when(3, lambda: setattr(oms, "mode", "standby"))
        verdict = await returning(oms)
        assert (verdict.cause, oms.told) == (None, [RETURNED])

    async def test_what_is_not_healthy_is_not_returned(self, returning: Returning) -> None:
        """It times out, and says why."""
        oms = Oms("standby", OURS)
        oms.health = STARTING
        verdict = await returning(oms, VERIFY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, verdict.reason, oms.told) == (
            Cause.TIMED_OUT,
            "not healthy within 5 s: oms-1:80 is not what VERIFY_CONDITION asks for",
            [],
        )

    async def test_one_that_is_hopeless_is_refused_at_once(self, returning: Returning) -> None:
        """VERIFY_FAIL_CONDITION is read here too."""
        oms = Oms("standby", OURS)
        oms.health = {"status": "broken"}
        verdict = await returning(oms, VERIFY_FAIL_CONDITION='.status == "broken"')
        assert (verdict.cause, oms.told, clock()) == (Cause.REFUSED, [], 0)

    async def test_one_that_refuses_to_trade_ends_it(self, returning: Returning) -> None:
        """The answer is quoted."""
        oms = Oms("standby", OURS)
        oms.switch_answer = answering(409, b"market closed")
        verdict = await returning(oms)
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            "oms-1:80 refused to trade again: 409 market closed",
        )

    async def test_it_has_at_least_the_time_of_an_undo(self, returning: Returning) -> None:
        """A verification that took nearly all of the time leaves STANDBY_UNDO_SECONDS for the return."""
        oms = Oms("standby", OURS)
        oms.health_answer = in_turn(*[answering(503)] * 20, oms.tell_health)
        oms.switch_answer = answering(202)
        when(12, lambda: oms.enter("active"))
        verdict = await returning(oms, VERIFY_TIMEOUT_SECONDS="5")
        assert verdict.cause is None


class TestSomebodyElses:
    """Any other standby of somebody else is left and its owner named."""

    async def test_ours_are_returned_first_then_it_is_refused(self, returning: Returning) -> None:
        """With several targets."""
        ours, held = Oms("standby", OURS), Oms("standby", OPERATOR)
        verdict = await returning(ours, held)
        assert (ours.told, held.told) == ([RETURNED], [])
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            f"left to its owner, who is not us (--owner NAME returns it): oms-2:80 is standby ({OPERATOR})",
        )

    async def test_unnamed_is_left_where_it_is_not_ours(self, returning: Returning) -> None:
        """OMS_UNNAMED_IS_OURS=false."""
        oms = Oms("standby")
        verdict = await returning(oms, OMS_UNNAMED_IS_OURS="false")
        assert (verdict.cause, oms.told) == (Cause.REFUSED, [])

    async def test_the_owner_that_is_named_is_returned_too(self, returning: Returning) -> None:
        """--owner NAME."""
        ours, held = Oms("standby", OURS), Oms("standby", OPERATOR)
        verdict = await returning(ours, held, owner=OPERATOR)
        assert (None, [RETURNED], [RETURNED]) == (verdict.cause, ours.told, held.told)

    @pytest.mark.parametrize(
        "owner", ["operator", "operator/", "operator/alice ", "Operator/Alice", "operator/alice/2"]
    )
    async def test_it_has_to_be_exactly_that_name(self, returning: Returning, owner: str) -> None:
        """Nothing that begins or reads like it."""
        held = Oms("standby", OPERATOR)
        verdict = await returning(held, owner=owner)
        assert (verdict.cause, held.told) == (Cause.REFUSED, [])

    async def test_an_owner_is_no_way_round_the_health(self, returning: Returning) -> None:
        """It is verified like any other."""
        held = Oms("standby", OPERATOR)
        held.health = STARTING
        verdict = await returning(held, owner=OPERATOR, VERIFY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, held.told) == (Cause.TIMED_OUT, [])


class TestSkipHealth:
    """--skip-health skips the health check and nothing else."""

    @pytest.mark.parametrize("health", [answering(200, STARTING), answering(503), answering(403), silent])
    async def test_it_is_returned_at_once(self, returning: Returning, health: Behaviour) -> None:
        """Its health is not even asked for."""
        oms = Oms("standby", OURS)
        oms.health_answer = health
        verdict = await returning(oms, skip_health=True)
        assert (None, [RETURNED], []) == (verdict.cause, oms.told, oms.asked(HEALTH))
        assert clock() < 1

    async def test_it_is_confirmed(self, returning: Returning) -> None:
        """It waits until it trades, within VERIFY_TIMEOUT_SECONDS."""
        oms = Oms("standby", OURS)
        oms.switch_answer = answering(202)
        verdict = await returning(oms, skip_health=True, VERIFY_TIMEOUT_SECONDS="20")
        assert (verdict.cause, verdict.reason) == (
            Cause.TIMED_OUT,
            f"not returned to trading within 20 s: oms-1:80 is standby ({OURS})",
        )

    async def test_somebody_elses_is_left_all_the_same(self, returning: Returning) -> None:
        """The owner is another question."""
        ours, held = Oms("standby", OURS), Oms("standby", OPERATOR)
        verdict = await returning(ours, held, skip_health=True)
        assert (Cause.REFUSED, [RETURNED], []) == (verdict.cause, ours.told, held.told)

    async def test_one_that_cannot_be_read_is_waited_for(self, returning: Returning) -> None:
        """Whose it is has to be known."""
        oms = Oms("standby", OURS)
        oms.mode_answer = in_turn(*[answering(503)] * 5, oms.tell_mode)
        verdict = await returning(oms, skip_health=True)
        assert (verdict.cause, oms.told) == (None, [RETURNED])
        assert oms.asked(SWITCH)[0] > 0.5


class TestSigterm:
    """SIGTERM ends it at once."""

    @pytest.mark.parametrize("skip_health", [True, False])
    async def test_it_says_what_it_left(self, returning: Returning, skip_health: bool) -> None:  # noqa: FBT001
        """In which mode each target was last seen."""
        oms = Oms("standby", OURS)
        oms.health = STARTING
        oms.switch_answer = answering(202)
        verdict = await returning(oms, skip_health=skip_health, stop=stopped_after(3))
        assert (verdict.cause, clock()) == (Cause.TERMINATED, 3)
        assert verdict.reason.startswith("SIGTERM before every target was returned: oms-1:80 ")


@pytest.mark.looptime(False)  # noqa: FBT003  # as the mark takes it
class TestOverSockets:
    """The same over real connections."""

    async def test_three_replicas_are_returned(self, loading: Loading) -> None:
        """All trade again."""
        with MockOms(replicas=3, token="t0ken") as oms:
            given = loading(settings.Verification, OMS_URL=oms.url, OMS_ADMIN_TOKEN="t0ken")
            verdict = await decide(given, asyncio.Event(), skip_health=False, owner=None)
            states = [replica.state.mode for replica in oms.replicas]
        assert (verdict.cause, states) == (None, ["active"] * 3)

    @pytest.mark.parametrize("skip_health", [True, False])
    async def test_a_certificate_that_does_not_verify_ends_it_at_once(
        self,
        loading: Loading,
        serving: Serving,
        authorities: Authorities,
        skip_health: bool,  # noqa: FBT001
    ) -> None:
        """Nothing is sent to whoever it is, health or no health."""
        peer = serving(hostile.Oms("standby").answers(), tls=authorities.server_of_unknown())
        given = loading(settings.Verification, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file))
        verdict = await decide(given, asyncio.Event(), skip_health=skip_health, owner=None)
        assert (verdict.cause, peer.requests) == (Cause.REFUSED, [])
        assert "its certificate does not verify" in verdict.reason
