"""presync-standby, promise by promise, on a turned clock; its far ends are in memory, or real at the very end."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from structlog.testing import capture_logs

from hooks import settings
from hooks.presync_standby import decide
from hooks.verdict import Cause, Verdict
from rehearsal.mock_oms import Faults, MockOms
from tests.conftest import Loading, Serving
from tests.hostile import oms as hostile
from tests.hostile.certificates import Authorities
from tests.network import (
    Behaviour,
    Network,
    Oms,
    Reply,
    Request,
    answered_late,
    answering,
    hung_up,
    in_turn,
    lost,
    silent,
    under_way,
    when,
)

pytestmark = pytest.mark.looptime(noop_cycles=3)

ME = "argocd-sync/run-2"
EARLIER_RUN = "argocd-sync/run-1"
OPERATOR = "operator/alice"
SWITCH = "/admin/mode"
MODE = "/health/mode"
HEALTH = "/health/deep"

ASKED = ("standby", ME)
RETURNED = ("active", ME)

UNREADABLE: dict[str, Behaviour] = {
    "unavailable": answering(503, b"not now"),
    "not found": answering(404),
    "redirected": answering(302, b"", Location="http://oms-2/health/mode"),
    "not JSON": answering(200, b"<html>"),
    "nothing at all": answering(200, b""),
    "NaN": answering(200, b'{"mode":NaN}'),
    "an owner that cannot be told": answering(200, ["active"]),
    "hung up": hung_up,
    "silent": silent,
}


class Presync(Protocol):
    """Plays the command against these targets, named oms-1, oms-2, … unless OMS_URL says otherwise."""

    async def __call__(
        self, *targets: Oms, stop: asyncio.Event | None = None, **variables: str
    ) -> Verdict: ...


class FirstSync(Protocol):
    """Plays the command where there may be no OMS yet."""

    async def __call__(self, url: str = "http://oms", **variables: str) -> Verdict: ...


@pytest.fixture
def presync(network: Network, loading: Loading) -> Presync:
    """Play the command, as run-2."""

    async def play(*targets: Oms, stop: asyncio.Event | None = None, **variables: str) -> Verdict:
        names = [f"oms-{number}" for number, _ in enumerate(targets, 1)]
        for name, target in zip(names, targets, strict=True):
            network.add(name, target)
        given = {
            "OMS_URL": ",".join(f"http://{name}" for name in names),
            "HOOK_RUN_ID": "run-2",
            "STANDBY_POLL_SECONDS": "0.25",
            **variables,
        }
        return await decide(loading(settings.Standby, **given), stop or asyncio.Event())

    return play


@pytest.fixture
def every_pod(network: Network, presync: Presync) -> Presync:
    """Play it against all addresses of the one name oms."""

    async def play(*targets: Oms, stop: asyncio.Event | None = None, **variables: str) -> Verdict:
        network.add("oms", *targets)
        return await presync(stop=stop, OMS_URL="http://oms", OMS_EVERY_POD="true", **variables)

    return play


def clock() -> float:
    """Tell how many seconds passed since the test began."""
    return asyncio.get_running_loop().time()


def modes(*targets: Oms) -> list[tuple[str, str | None]]:
    return [(target.mode, target.reason) for target in targets]


def stopped_after(seconds: float) -> asyncio.Event:
    """SIGTERM, so many seconds from now."""
    stop = asyncio.Event()
    when(seconds, stop.set)
    return stop


def is_(expected: float, give: float = 0.6) -> Any:
    """Expect a time, as exactly as polls and their jitter allow."""
    return pytest.approx(expected, abs=give)


class TestTheGate:
    """Nothing is sent before every target can be read."""

    async def test_every_target_goes_into_standby(self, presync: Presync) -> None:
        """All that trade are asked in this run's name, drain, and confirm."""
        first, second = Oms(drains_for=2), Oms(drains_for=5)
        verdict = await presync(first, second)
        expected = Verdict(
            None,
            f"every target is in standby: oms-1:80, oms-2:80 are standby ({ME})",
            {
                label: {
                    "mode": "standby",
                    "owner": ME,
                    "mode_document": {"mode": "standby", "reason": ME},
                }
                for label in ("oms-1:80", "oms-2:80")
            },
        )
        assert expected == verdict
        assert (first.told, second.told) == ([ASKED], [ASKED])
        assert clock() == is_(5)

    @pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
    async def test_what_cannot_be_read_is_waited_for(self, presync: Presync, unreadable: Behaviour) -> None:
        """As long as one target cannot be read, none is asked; then all are, at the same time."""
        good, bad = Oms(), Oms()
        bad.mode_answer = unreadable
        when(2, lambda: setattr(bad, "mode_answer", bad.tell_mode))
        verdict = await presync(good, bad, OMS_ATTEMPT_TIMEOUT_SECONDS="1")
        assert verdict.cause is None
        assert good.asked(SWITCH) == bad.asked(SWITCH)
        assert 2 <= good.asked(SWITCH)[0] < 3.5

    @pytest.mark.parametrize("port", ["closed", "silent"])
    async def test_a_target_that_cannot_be_reached_is_waited_for(self, presync: Presync, port: Any) -> None:
        """A refused or unanswered connection is no reason to begin without it."""
        good, bad = Oms(), Oms()
        bad.port = port
        when(2, lambda: setattr(bad, "port", "open"))
        verdict = await presync(good, bad, OMS_ATTEMPT_TIMEOUT_SECONDS="1")
        assert verdict.cause is None
        assert good.asked(SWITCH) == bad.asked(SWITCH)
        assert 2 <= good.asked(SWITCH)[0] < 3.5

    @pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
    async def test_one_that_stays_unreadable_lets_nothing_be_sent(
        self, presync: Presync, unreadable: Behaviour
    ) -> None:
        """It times out, and nobody stopped trading for it."""
        good, bad = Oms(), Oms()
        bad.mode_answer = unreadable
        verdict = await presync(good, bad, STANDBY_TIMEOUT_SECONDS="3", OMS_ATTEMPT_TIMEOUT_SECONDS="2")
        assert (verdict.cause, good.told, bad.told) == (Cause.TIMED_OUT, [], [])
        assert verdict.reason.endswith("; nothing had been moved")
        assert "oms-1:80 is active; oms-2:80 cannot be read (" in verdict.reason
        assert clock() == is_(3)

    async def test_fewer_targets_than_wanted_are_not_begun_with(
        self, every_pod: Presync, network: Network
    ) -> None:
        """Nothing is sent until OMS_MIN_TARGETS addresses are there; then all are asked at the same time."""
        first, second = Oms(), Oms()
        when(3, lambda: network.add("oms", first, second))
        verdict = await every_pod(first, OMS_MIN_TARGETS="2")
        assert verdict.cause is None
        assert first.asked(SWITCH) == second.asked(SWITCH) == [is_(3)]

    async def test_too_few_targets_time_out(self, every_pod: Presync) -> None:
        """It says how many are there, and nothing was sent."""
        alone = Oms()
        verdict = await every_pod(alone, OMS_MIN_TARGETS="2", STANDBY_TIMEOUT_SECONDS="5")
        assert alone.told == []
        assert (verdict.cause, verdict.reason) == (
            Cause.TIMED_OUT,
            (
                "no standby of every target within 5 s: 10.0.0.1:80 is active; 1 of at least 2 addresses are there;"
                " nothing had been moved"
            ),
        )

    @pytest.mark.parametrize("mode", ["starting", "maintenance", ""])
    async def test_one_that_neither_trades_nor_stands_by_is_asked(self, presync: Presync, mode: str) -> None:
        """What can be read can be asked, whatever its word for what it does."""
        oms = Oms(mode)
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])


class TestTheGuard:
    """STANDBY_GUARD_CONDITION must be true of every target's health before anything is sent."""

    CLOSED = '.session == "closed"'
    IS_CLOSED: dict[str, Any] = {"session": "closed"}  # noqa: RUF012
    IS_OPEN: dict[str, Any] = {"session": "open"}  # noqa: RUF012

    async def test_a_guard_that_is_true_lets_it_begin(self, presync: Presync) -> None:
        """The health is read before the first request."""
        oms = Oms()
        oms.health = self.IS_CLOSED
        verdict = await presync(oms, STANDBY_GUARD_CONDITION=self.CLOSED)
        paths = [request.path for request in oms.requests]
        assert (verdict.cause, oms.told) == (None, [ASKED])
        assert paths.index(HEALTH) < paths.index(SWITCH)

    @pytest.mark.parametrize(
        "condition",
        [
            pytest.param(CLOSED, id="false"),
            pytest.param(".session", id="something else than true"),
            pytest.param("empty", id="nothing"),
            pytest.param("true, true", id="true twice"),
            pytest.param('.session | error("x")', id="an error"),
        ],
    )
    async def test_a_guard_that_is_not_true_refuses(self, presync: Presync, condition: str) -> None:
        """It ends at once, and nothing was sent to any target."""
        good, bad = Oms(), Oms()
        good.health, bad.health = self.IS_CLOSED, self.IS_OPEN
        verdict = await presync(good, bad, STANDBY_GUARD_CONDITION=condition)
        assert (verdict.cause, good.told, bad.told, clock()) == (Cause.REFUSED, [], [], 0)

    async def test_the_reason_names_the_guard_and_the_target(self, presync: Presync) -> None:
        """So that a person knows what to change."""
        good, bad = Oms(), Oms()
        good.health, bad.health = self.IS_CLOSED, self.IS_OPEN
        verdict = await presync(good, bad, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert verdict.reason == "STANDBY_GUARD_CONDITION is not true of oms-2:80; nothing had been moved"

    @pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
    async def test_a_health_that_cannot_be_read_is_waited_for(
        self, presync: Presync, unreadable: Behaviour
    ) -> None:
        """Nothing is sent to any target until the guard was true of all."""
        if unreadable is UNREADABLE["an owner that cannot be told"]:
            unreadable = answering(500, self.IS_CLOSED)
        good, bad = Oms(), Oms()
        good.health = bad.health = self.IS_CLOSED
        bad.health_answer = unreadable
        when(2, lambda: setattr(bad, "health_answer", bad.tell_health))
        verdict = await presync(
            good, bad, STANDBY_GUARD_CONDITION=self.CLOSED, OMS_ATTEMPT_TIMEOUT_SECONDS="1"
        )
        assert verdict.cause is None
        assert good.asked(SWITCH) == bad.asked(SWITCH)
        assert 2 <= good.asked(SWITCH)[0] < 3.5

    async def test_it_must_be_true_when_the_requests_go_out(self, presync: Presync) -> None:
        """What was true while another target was still waited for may have changed."""
        first, late = Oms(), Oms()
        first.health = late.health = self.IS_CLOSED
        late.mode_answer = UNREADABLE["unavailable"]
        when(2, lambda: setattr(first, "health", self.IS_OPEN))
        verdict = await presync(first, late, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert (verdict.cause, first.told, late.told) == (Cause.REFUSED, [], [])

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_health_that_is_denied_is_refused(self, presync: Presync, status: int) -> None:
        """The guard cannot be asked; it says what was answered."""
        oms = Oms()
        oms.health_answer = answering(status, b"who are you?")
        verdict = await presync(oms, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            f"oms-1:80 does not tell its health: answered {status} who are you?; nothing had been moved",
        )

    async def test_a_pod_that_appears_later_is_asked_too(self, every_pod: Presync, network: Network) -> None:
        """Where its guard is not true, it is sent nothing, and what was moved is undone."""
        first, later = Oms(drains_for=10), Oms()
        first.health, later.health = self.IS_CLOSED, self.IS_OPEN
        when(2, lambda: network.add("oms", first, later))
        verdict = await every_pod(first, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert (verdict.cause, first.told, later.told) == (Cause.REFUSED, [ASKED, RETURNED], [])

    async def test_a_later_pod_whose_guard_is_true_follows(
        self, every_pod: Presync, network: Network
    ) -> None:
        """It is asked once its guard could be read and was true."""
        first, later = Oms(drains_for=10), Oms()
        first.health = later.health = self.IS_CLOSED
        later.health_answer = UNREADABLE["unavailable"]
        when(2, lambda: network.add("oms", first, later))
        when(4, lambda: setattr(later, "health_answer", later.tell_health))
        verdict = await every_pod(first, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert (verdict.cause, later.told) == (None, [ASKED])
        assert later.asked(SWITCH) == [is_(4)]

    async def test_who_was_asked_already_is_not_guarded_again(self, presync: Presync) -> None:
        """Draining changes the health; the guard is for before."""
        oms = Oms(drains_for=3)
        oms.health = self.IS_CLOSED
        when(1, lambda: setattr(oms, "health", self.IS_OPEN))
        verdict = await presync(oms, STANDBY_GUARD_CONDITION=self.CLOSED)
        assert (verdict.cause, oms.told) == (None, [ASKED])

    async def test_without_a_guard_no_health_is_read(self, presync: Presync) -> None:
        """Nothing is asked that nobody wants to know."""
        oms = Oms()
        await presync(oms)
        assert oms.asked(HEALTH) == []


class TestSomebodyElses:
    """A target that is not active and names somebody else is left as it is."""

    async def test_it_counts_as_confirmed_with_a_warning(self, presync: Presync) -> None:
        """STANDBY_IF_FOREIGN=proceed, the default: nothing is sent to it, the others are asked."""
        ours, held = Oms(), Oms("standby", OPERATOR)
        with capture_logs() as lines:
            verdict = await presync(ours, held)
        warnings = [line for line in lines if line["event"] == "held_by_somebody_else"]
        assert (verdict.cause, ours.told, held.told) == (None, [ASKED], [])
        assert modes(held) == [("standby", OPERATOR)]
        assert warnings == [
            {
                "event": "held_by_somebody_else",
                "log_level": "warning",
                "target": "oms-2:80",
                "mode": f"oms-2:80 is standby ({OPERATOR})",
                "policy": "proceed",
            }
        ]

    async def test_when_somebody_holds_all_nothing_is_sent(self, presync: Presync) -> None:
        """An operator holds the whole OMS while a fix is deployed: that is a success at once."""
        first, second = Oms("standby", OPERATOR), Oms("standby", "trading-desk")
        verdict = await presync(first, second)
        assert (verdict.cause, first.told, second.told, clock()) == (None, [], [], 0)

    async def test_it_counts_only_once_in_standby(self, presync: Presync) -> None:
        """One that drains for an operator is waited for."""
        held = Oms("draining", OPERATOR)
        when(4, lambda: held.held_by(OPERATOR))
        verdict = await presync(held)
        assert (verdict.cause, held.told) == (None, [])
        assert clock() == is_(4)

    async def test_one_that_never_reaches_standby_times_out(self, presync: Presync) -> None:
        """What this run moved meanwhile is undone; the operator's is left as it is."""
        ours, held = Oms(), Oms("draining", OPERATOR)
        verdict = await presync(ours, held, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, ours.told, held.told) == (Cause.TIMED_OUT, [ASKED, RETURNED], [])

    async def test_it_is_asked_once_nobody_holds_it_any_more(self, presync: Presync) -> None:
        """Nothing is sent as long as it is so held, and no longer."""
        held = Oms("draining", OPERATOR)
        when(4, lambda: held.held_by(OPERATOR, "active"))
        verdict = await presync(held)
        assert (verdict.cause, held.told) == (None, [ASKED])
        assert held.asked(SWITCH) == [is_(4)]

    async def test_one_that_trades_is_asked_whomever_it_names(self, presync: Presync) -> None:
        """An operator who returned it to trading holds it no longer."""
        oms = Oms("active", OPERATOR)
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])

    async def test_a_name_that_only_begins_as_ours_is_somebody_else(self, presync: Presync) -> None:
        """Ours is OMS_REASON itself and everything under it, after a slash."""
        held = Oms("standby", "argocd-sync2/run-2")
        verdict = await presync(held)
        assert (verdict.cause, held.told) == (None, [])

    async def test_a_name_that_is_no_text_is_somebody_else(self, presync: Presync) -> None:
        """Whatever it is, it is not us."""
        held = Oms("standby")
        held.mode_answer = answering(200, {"mode": "standby", "reason": {"by": "argocd-sync"}})
        verdict = await presync(held)
        assert (verdict.cause, held.told) == (None, [])

    async def test_wait_sends_nothing_until_nobody_else_holds_one(self, presync: Presync) -> None:
        """STANDBY_IF_FOREIGN=wait: then all are asked at the same time."""
        ours, held = Oms(), Oms("standby", OPERATOR)
        when(6, lambda: held.held_by(OPERATOR, "active"))
        verdict = await presync(ours, held, STANDBY_IF_FOREIGN="wait")
        assert (verdict.cause, ours.told, held.told) == (None, [ASKED], [ASKED])
        assert ours.asked(SWITCH) == held.asked(SWITCH) == [is_(6)]

    async def test_wait_does_not_count_it_as_confirmed(self, presync: Presync) -> None:
        """As long as another application holds it, there is no success, and nothing is sent."""
        ours, held = Oms("standby"), Oms("standby", OPERATOR)
        verdict = await presync(ours, held, STANDBY_IF_FOREIGN="wait", STANDBY_TIMEOUT_SECONDS="9")
        assert (verdict.cause, ours.told, held.told) == (Cause.TIMED_OUT, [], [])
        assert verdict.reason.endswith("; nothing had been moved")

    async def test_wait_holds_also_where_somebody_holds_all(self, presync: Presync) -> None:
        """With no target left to ask, it still waits for them to be released."""
        held = Oms("standby", OPERATOR)
        verdict = await presync(held, STANDBY_IF_FOREIGN="wait", STANDBY_TIMEOUT_SECONDS="9")
        assert (verdict.cause, held.told) == (Cause.TIMED_OUT, [])

    @pytest.mark.parametrize("policy", ["wait", "refuse"])
    @pytest.mark.parametrize("state", ["standby", "draining"])
    async def test_a_target_that_another_application_takes_in_the_same_moment_is_refused(
        self, presync: Presync, policy: str, state: str
    ) -> None:
        """Our request and theirs cross: theirs stays, what was moved is undone."""
        ours, taken = Oms(drains_for=3), Oms()

        async def theirs_comes_after(request: Request) -> Reply:
            reply = await taken.switch(request)
            taken.held_by("other-app/run-7", state)
            return reply

        taken.switch_answer = theirs_comes_after
        verdict = await presync(ours, taken, STANDBY_IF_FOREIGN=policy)
        assert (verdict.cause, ours.told, taken.told) == (Cause.REFUSED, [ASKED, RETURNED], [ASKED])
        assert modes(ours, taken) == [("active", ME), (state, "other-app/run-7")]
        assert f"somebody else holds the OMS: oms-2:80 is {state} (other-app/run-7)" in verdict.reason

    async def test_refuse_ends_at_once(self, presync: Presync) -> None:
        """STANDBY_IF_FOREIGN=refuse: nothing is sent to any target; the reason names who holds it."""
        ours, held = Oms(), Oms("standby", OPERATOR)
        verdict = await presync(ours, held, STANDBY_IF_FOREIGN="refuse")
        assert (verdict.cause, ours.told, held.told, clock()) == (Cause.REFUSED, [], [], 0)
        assert verdict.reason == (
            f"somebody else holds the OMS: oms-2:80 is standby ({OPERATOR}); nothing had been moved"
        )

    async def test_one_that_was_taken_while_another_was_slow_is_left(self, presync: Presync) -> None:
        """Seconds pass while the slowest answers: what was seen before is looked at again before it is asked."""
        slow, taken = Oms(), Oms()
        slow.mode_answer = answered_late(3, slow.tell_mode)
        when(1, lambda: taken.held_by(OPERATOR))
        verdict = await presync(slow, taken)
        assert (None, [ASKED], []) == (verdict.cause, slow.told, taken.told)

    async def test_what_another_run_took_over_is_that_runs(self, presync: Presync) -> None:
        """It counts as confirmed once in standby, and nothing more is sent to it."""
        ours, taken = Oms(drains_for=5), Oms()
        when(2, lambda: taken.held_by("argocd-sync/run-3"))
        verdict = await presync(ours, taken)
        assert (verdict.cause, ours.told, taken.told) == (None, [ASKED], [ASKED])

    @pytest.mark.parametrize("policy", ["wait", "refuse"])
    @pytest.mark.parametrize("owner", ["argocd-sync/run-3", OPERATOR])
    async def test_what_was_moved_and_taken_over_is_refused(
        self, presync: Presync, policy: str, owner: str
    ) -> None:
        """With `wait` and `refuse` it ends as soon as one that this run moved has come to name another."""
        ours, taken = Oms(drains_for=20), Oms()
        when(2, lambda: taken.held_by(owner))
        verdict = await presync(ours, taken, STANDBY_IF_FOREIGN=policy)
        assert (verdict.cause, ours.told, taken.told) == (Cause.REFUSED, [ASKED, RETURNED], [ASKED])
        assert clock() == is_(2)


class TestOurEarlierStandby:
    """The same OMS_REASON, another run: taken over, so that the reason names this run."""

    @pytest.mark.parametrize("owner", [EARLIER_RUN, "argocd-sync", ME, None])
    async def test_it_is_sent_again(self, presync: Presync, owner: str | None) -> None:
        """A standby of an earlier run, of an earlier pod of this run, or of nobody, comes to name this run."""
        oms = Oms("standby", owner)
        verdict = await presync(oms)
        assert (verdict.cause, oms.told, modes(oms)) == (None, [ASKED], [("standby", ME)])

    @pytest.mark.parametrize("policy", ["wait", "refuse"])
    async def test_it_is_nobody_elses(self, presync: Presync, policy: str) -> None:
        """Whatever is done about others, our own earlier run is no other."""
        oms = Oms("standby", EARLIER_RUN)
        verdict = await presync(oms, STANDBY_IF_FOREIGN=policy)
        assert (verdict.cause, oms.told) == (None, [ASKED])

    @pytest.mark.parametrize("owner", [EARLIER_RUN, "argocd-sync", None])
    async def test_what_was_found_in_standby_stays_in_standby(
        self, presync: Presync, owner: str | None
    ) -> None:
        """For a failed run it may be a version that nobody verified."""
        found, stuck = Oms("standby", owner), Oms(drains_for=99)
        verdict = await presync(found, stuck, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, found.told, stuck.told) == (Cause.TIMED_OUT, [ASKED], [ASKED, RETURNED])
        assert modes(found, stuck) == [("standby", ME), ("active", ME)]

    async def test_what_an_earlier_pod_of_this_run_moved_is_undone(self, presync: Presync) -> None:
        """A Job's second pod carries on where the first broke off."""
        found, stuck = Oms("standby", ME), Oms(drains_for=99)
        verdict = await presync(found, stuck, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, found.told) == (Cause.TIMED_OUT, [ASKED, RETURNED])

    async def test_without_a_run_id_no_earlier_pod_is_known(self, presync: Presync) -> None:
        """Our bare name may be any run's: what it holds stays in standby."""
        found, stuck = Oms("standby", "argocd-sync"), Oms(drains_for=99)
        verdict = await presync(found, stuck, STANDBY_TIMEOUT_SECONDS="5", HOOK_RUN_ID="")
        assert (verdict.cause, found.told) == (Cause.TIMED_OUT, [("standby", "argocd-sync")])
        assert stuck.told == [("standby", "argocd-sync"), ("active", "argocd-sync")]

    async def test_an_oms_that_tells_no_reason_confirms(self, presync: Presync) -> None:
        """A standby that names nobody is treated as ours."""
        oms = Oms()
        oms.mode_answer = lambda _: _just({"mode": oms.mode})
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])

    async def test_where_unnamed_is_not_ours_it_confirms_nothing(self, presync: Presync) -> None:
        """OMS_UNNAMED_IS_OURS=false: it times out, and what was moved is undone all the same."""
        oms = Oms()
        oms.mode_answer = lambda _: _just({"mode": oms.mode})
        verdict = await presync(oms, OMS_UNNAMED_IS_OURS="false", STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.told, oms.mode) == (Cause.TIMED_OUT, [ASKED, RETURNED], "active")

    async def test_where_unnamed_is_not_ours_it_is_asked_in_our_name(self, presync: Presync) -> None:
        """Once it names us it confirms."""
        oms = Oms("standby")
        verdict = await presync(oms, OMS_UNNAMED_IS_OURS="false")
        assert (verdict.cause, oms.told, modes(oms)) == (None, [ASKED], [("standby", ME)])


class TestConfirmation:
    """All in the same round, each by an answer to a question asked after its switch was accepted."""

    async def test_a_standby_that_was_seen_before_the_switch_confirms_nothing(self, presync: Presync) -> None:
        """Found in standby, asked, and only then looked at for confirmation."""
        oms = Oms("standby")
        await presync(oms)
        assert [request.path for request in oms.requests] == [MODE, SWITCH, MODE]

    async def test_a_standby_whose_switch_was_never_accepted_confirms_nothing(self, presync: Presync) -> None:
        """It takes effect, but says 503 each time: nobody knows what it will do next."""
        oms = Oms()

        async def done_but_denied(request: Request) -> Reply:
            await oms.switch(request)
            return Reply(503 if request.document["mode"] == "standby" else 202)

        oms.switch_answer = done_but_denied
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.told[-1]) == (Cause.TIMED_OUT, RETURNED)
        assert len(oms.told) > 3

    async def test_a_lost_answer_is_asked_again(self, presync: Presync) -> None:
        """It did what it was told, but the connection closed: it has to accept once more."""
        oms = Oms()
        oms.switch_answer = in_turn(lost(oms.switch), oms.switch)
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED, ASKED])

    async def test_all_confirm_in_the_same_round(self, presync: Presync) -> None:
        """One that confirmed and then forgot has to confirm again before it is a success."""
        forgetful, slow = Oms(), Oms(drains_for=4)
        when(2, lambda: forgetful.restart("starting"))
        when(6, lambda: forgetful.restart("standby"))
        verdict = await presync(forgetful, slow)
        assert verdict.cause is None
        assert clock() == is_(6)

    async def test_one_that_left_and_came_back_is_asked_again_at_once(self, presync: Presync) -> None:
        """It restarted and forgot: two seconds would be lost."""
        oms = Oms(drains_for=3)
        when(1, oms.restart)
        verdict = await presync(oms, STANDBY_POLL_SECONDS="0.1")
        assert (verdict.cause, oms.told) == (None, [ASKED, ASKED])
        assert oms.asked(SWITCH)[1] == is_(1, 0.15)

    async def test_one_that_never_left_is_asked_again_with_growing_patience(self, presync: Presync) -> None:
        """After 2, 4, 8 … seconds: draining cannot be told from forgetting when it goes on saying active."""
        oms = Oms()
        oms.switch_answer = answering(202)
        await presync(oms, STANDBY_TIMEOUT_SECONDS="20", STANDBY_ON_FAILURE="hold")
        assert oms.asked(SWITCH) == [is_(0), is_(2), is_(6), is_(14, 0.9)]

    async def test_one_that_drains_is_not_asked_again(self, presync: Presync) -> None:
        """However long it takes."""
        oms = Oms(drains_for=50)
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])

    async def test_one_that_cannot_be_read_for_a_while_is_waited_for(self, presync: Presync) -> None:
        """What was asked stands; it confirms when it can be read again."""
        oms = Oms(drains_for=1)
        when(0.5, lambda: setattr(oms, "mode_answer", UNREADABLE["unavailable"]))
        when(5, lambda: setattr(oms, "mode_answer", oms.tell_mode))
        verdict = await presync(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])
        assert clock() == is_(5)

    async def test_a_word_that_means_both_confirms_nothing(self, presync: Presync) -> None:
        """A document that is active and in standby at once is not understood."""
        oms = Oms()
        verdict = await presync(
            oms, OMS_ACTIVE_CONDITION="true", STANDBY_TIMEOUT_SECONDS="3", STANDBY_ON_FAILURE="hold"
        )
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [ASKED])

    async def test_what_was_asked_is_looked_for_at_once(self, presync: Presync) -> None:
        """One that need not drain does not cost a whole poll of trading."""
        await presync(Oms(), STANDBY_POLL_SECONDS="1")
        assert clock() < 0.1

    async def test_standby_is_noticed_at_the_pace_of_the_polls(self, presync: Presync) -> None:
        """A look every STANDBY_POLL_SECONDS, and no more than that."""
        oms = Oms(drains_for=10)
        await presync(oms, STANDBY_POLL_SECONDS="1")
        assert clock() == is_(10.5, 0.7)
        assert len(oms.asked(MODE)) == is_(12, 2)


class TestEveryPod:
    """OMS_EVERY_POD: the name is resolved again every round."""

    async def test_every_address_is_spoken_to_by_the_name(self, every_pod: Presync) -> None:
        """Each gets its own requests, and the Host header of the name."""
        pods = [Oms(), Oms(), Oms()]
        verdict = await every_pod(*pods)
        assert verdict.cause is None
        assert [pod.told for pod in pods] == [[ASKED]] * 3
        assert {"oms"} == {request.headers["host"] for pod in pods for request in pod.requests}

    async def test_a_new_address_becomes_a_target(self, every_pod: Presync, network: Network) -> None:
        """It is asked as soon as it can be read, and there is no success without it."""
        first, new = Oms(drains_for=3), Oms(drains_for=3)
        when(2, lambda: network.add("oms", first, new))
        verdict = await every_pod(first)
        assert (verdict.cause, new.told) == (None, [ASKED])
        assert clock() == is_(5)

    async def test_a_gone_address_stops_being_a_target(self, every_pod: Presync, network: Network) -> None:
        """One that never drains and leaves the name is not waited for."""
        good, gone = Oms(), Oms(drains_for=99)
        when(4, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(good, gone)
        assert verdict.cause is None
        assert clock() == is_(4)

    async def test_fewer_than_wanted_is_not_success(self, every_pod: Presync, network: Network) -> None:
        """When one leaves, it waits until there are enough again."""
        good, gone, new = Oms(drains_for=2), Oms(drains_for=99), Oms()
        when(1, lambda: network.names.update(oms=["10.0.0.1"]))
        network.add("unused", new)
        when(6, lambda: network.names.update(oms=["10.0.0.1", "10.0.0.2"]))
        network.far_ends.clear()
        verdict = await every_pod(good, new, OMS_MIN_TARGETS="2")
        assert (verdict.cause, gone.told) == (None, [])
        assert clock() == is_(6)

    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(socket.EAI_NONAME, id="unknown"),
            pytest.param(socket.EAI_AGAIN, id="failing"),
            pytest.param(None, id="silent"),
        ],
    )
    async def test_a_name_that_is_not_resolved_for_a_while_is_waited_for(
        self, every_pod: Presync, network: Network, failure: int | None
    ) -> None:
        """Nobody knows who is there: no success meanwhile, though all that were known are in standby."""
        oms = Oms(drains_for=2)
        when(1, lambda: network.names.update(oms=failure))
        when(9, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(oms)
        assert (verdict.cause, oms.told) == (None, [ASKED])
        assert 9 <= clock() < 14.5

    async def test_a_name_that_stays_unresolved_times_out(self, every_pod: Presync, network: Network) -> None:
        """It says so, and nothing was sent."""
        when(0, lambda: network.names.update(oms=socket.EAI_AGAIN))
        oms = Oms()
        network.names["oms"] = socket.EAI_AGAIN
        verdict = await every_pod(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert verdict.cause is Cause.TIMED_OUT


class TestAbsence:
    """STANDBY_IF_ABSENT=skip: a first installation, no OMS yet."""

    @pytest.fixture(params=["false", "true"], ids=["one address", "every pod"])
    def first_sync(self, request: pytest.FixtureRequest, presync: Presync) -> FirstSync:
        """Play it with `skip`, with and without OMS_EVERY_POD, looking once a second."""

        async def play(url: str = "http://oms", **variables: str) -> Verdict:
            given = {"STANDBY_IF_ABSENT": "skip", "STANDBY_POLL_SECONDS": "1", "OMS_EVERY_POD": request.param}
            return await presync(stop=None, **{"OMS_URL": url, **given, **variables})

        return play

    async def test_a_name_that_dns_does_not_know_is_skipped(self, first_sync: FirstSync) -> None:
        """Unknown at every look for STANDBY_ABSENT_SECONDS is a success that says why."""
        verdict = await first_sync()
        assert (verdict.cause, verdict.reason) == (
            None,
            "there is no OMS: its name was unknown to DNS at every look for 35 s",
        )
        assert 35 <= clock() < 37.5

    async def test_by_default_it_fails(self, first_sync: FirstSync) -> None:
        """An unknown name is more often a mistake than a first installation."""
        verdict = await first_sync(STANDBY_IF_ABSENT="fail")
        assert verdict.cause is Cause.TIMED_OUT
        assert "name or service not known" in verdict.reason

    async def test_several_names_are_absent_together(self, first_sync: FirstSync) -> None:
        """None of them is known."""
        verdict = await first_sync("http://oms-a,http://oms-b")
        assert verdict.cause is None

    async def test_every_name_has_to_be_unknown(self, first_sync: FirstSync, network: Network) -> None:
        """One name that is known, though nobody answers there, is an OMS."""
        down = Oms()
        down.port = "closed"
        network.add("oms-b", down)
        verdict = await first_sync("http://oms-a,http://oms-b")
        assert verdict.cause is Cause.TIMED_OUT

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param(socket.EAI_AGAIN, id="a resolver that fails for now"),
            pytest.param(socket.EAI_FAIL, id="a resolver that fails for good"),
            pytest.param(socket.EAI_NODATA, id="a name without addresses"),
            pytest.param(socket.EAI_MEMORY, id="no memory"),
            pytest.param(None, id="silence"),
        ],
    )
    async def test_no_other_answer_of_the_resolver_is_absence(
        self, first_sync: FirstSync, network: Network, error: int | None
    ) -> None:
        """Only that DNS does not know the name is the answer that there is nobody."""
        network.names["oms"] = error
        verdict = await first_sync()
        assert verdict.cause is Cause.TIMED_OUT

    @pytest.mark.parametrize("port", ["closed", "silent"])
    async def test_a_connection_that_is_refused_is_never_absence(
        self, first_sync: FirstSync, network: Network, port: Any
    ) -> None:
        """It has a name: it is an OMS that is down."""
        down = Oms()
        down.port = port
        network.add("oms", down)
        verdict = await first_sync()
        assert verdict.cause is Cause.TIMED_OUT

    async def test_it_must_be_unknown_at_every_look(self, first_sync: FirstSync, network: Network) -> None:
        """Any other answer in between begins the time anew."""
        when(20, lambda: network.names.update(oms=socket.EAI_AGAIN))
        when(23, lambda: network.names.pop("oms"))
        verdict = await first_sync(STANDBY_TIMEOUT_SECONDS="90")
        assert verdict.cause is None
        assert 58 <= clock() < 60.5

    async def test_an_oms_that_was_asked_is_not_absent_later(
        self, first_sync: FirstSync, network: Network
    ) -> None:
        """It was there once: that its name goes away is not that there is none."""
        oms = Oms(drains_for=99)
        network.add("oms", oms)
        when(2, lambda: network.names.pop("oms"))
        verdict = await first_sync()
        assert verdict.cause in {Cause.TIMED_OUT, Cause.UNDO_FAILED}

    async def test_an_oms_that_appears_in_time_is_asked(
        self, first_sync: FirstSync, network: Network
    ) -> None:
        """A name that was only not yet known becomes a target like any other."""
        oms = Oms()
        when(20, lambda: network.add("oms", oms))
        verdict = await first_sync()
        assert (verdict.cause, oms.told) == (None, [ASKED])


class TestRefusals:
    """What will not change by itself ends it at once; what may is asked again."""

    @pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 422, 451, 501])
    async def test_a_switch_that_is_refused_ends_it_at_once(self, presync: Presync, status: int) -> None:
        """Status and first line are quoted, and what was moved is undone."""
        good, bad = Oms(drains_for=5), Oms()
        bad.switch_answer = answering(status, b"\nnot you\nreally not", Location="http://oms-1/admin/mode")
        verdict = await presync(good, bad, STANDBY_UNDO_SECONDS="2")
        assert (verdict.cause, good.told) == (Cause.REFUSED, [ASKED, RETURNED])
        assert verdict.reason.startswith(f"oms-2:80 refused to go into standby: {status} not you; ")
        assert clock() < 1

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
    async def test_a_switch_that_may_be_accepted_later_is_asked_again(
        self, presync: Presync, status: int
    ) -> None:
        """With a growing back-off, each time after a fresh look."""
        oms = Oms()
        oms.switch_answer = in_turn(*[answering(status)] * 4, oms.switch)
        verdict = await presync(oms)
        paths = [request.path for request in oms.requests]
        assert (verdict.cause, oms.told) == (None, [ASKED] * 5)
        assert (SWITCH, SWITCH) not in itertools.pairwise(paths)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_look_that_is_denied_ends_it_at_once(self, presync: Presync, status: int) -> None:
        """Who may not look will not be told later either."""
        good, bad = Oms(), Oms()
        bad.mode_answer = answering(status, b"who are you?")
        verdict = await presync(good, bad)
        assert (verdict.cause, good.told, clock()) == (Cause.REFUSED, [], 0)
        assert verdict.reason == (
            f"oms-2:80 does not tell its mode: answered {status} who are you?; nothing had been moved"
        )

    async def test_a_look_that_is_denied_later_undoes_what_was_moved(self, presync: Presync) -> None:
        """The denied target cannot be confirmed as returned: a person is needed."""
        good, bad = Oms(drains_for=9), Oms(drains_for=9)
        when(2, lambda: setattr(bad, "mode_answer", answering(403)))
        verdict = await presync(good, bad, STANDBY_UNDO_SECONDS="3")
        assert (verdict.cause, good.told[-1], good.mode) == (Cause.UNDO_FAILED, RETURNED, "active")
        assert "oms-2:80 cannot be read (answered 403)" in verdict.reason
        assert "oms-1" not in verdict.reason.partition("It began with")[0]

    async def test_time_out(self, presync: Presync) -> None:
        """The reason names every target and its state, and how it was left."""
        good, stuck = Oms(), Oms(drains_for=99)
        verdict = await presync(good, stuck, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, verdict.reason) == (
            Cause.TIMED_OUT,
            (
                f"no standby of every target within 5 s: oms-1:80 is standby ({ME}); oms-2:80 is draining ({ME});"
                " what had been moved is returned: oms-1:80, oms-2:80 are active"
            ),
        )
        assert clock() == is_(5)


class TestPauses:
    """Retry-After is honoured: by a poll up to 5 s, by a switch never so long that no attempt is left."""

    @pytest.mark.parametrize(
        ("told", "pause"),
        [("3", 3), ("5", 5), ("60", 5), ("0", 0.1), ("soon", 0.1), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.1)],
    )
    async def test_a_poll_leaves_the_target_alone(self, presync: Presync, told: str, pause: float) -> None:
        """For as long as it was asked to, but not for longer than 5 s."""
        oms = Oms()
        oms.mode_answer = in_turn(answering(503, Retry_After=told), oms.tell_mode)
        await presync(oms, STANDBY_POLL_SECONDS="0.1")
        assert oms.asked(MODE)[1] == is_(pause, 0.2)

    @pytest.mark.parametrize(
        ("told", "pause", "give"), [("3", 3, 0.3), ("3600", 10, 0.5), ("0", 0.1, 0.15), ("x", 0.1, 0.15)]
    )
    async def test_a_switch_is_repeated_when_it_was_told_to_be(
        self, presync: Presync, told: str, pause: float, give: float
    ) -> None:
        """A pause beyond the deadline is cut: half of the time is left for another attempt."""
        oms = Oms()
        oms.switch_answer = in_turn(answering(503, Retry_After=told), oms.switch)
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="20", STANDBY_POLL_SECONDS="0.1")
        assert (verdict.cause, oms.told) == (None, [ASKED, ASKED])
        assert oms.asked(SWITCH)[1] == is_(pause, give)

    async def test_looks_go_on_while_a_switch_is_paused(self, presync: Presync) -> None:
        """Only the switch was told to wait."""
        oms = Oms()
        oms.switch_answer = in_turn(answering(429, Retry_After="3"), oms.switch)
        await presync(oms, STANDBY_POLL_SECONDS="0.1")
        assert len([at for at in oms.asked(MODE) if at < 3]) > 20


class TestUndo:
    """What this run moved, and that still names it or nobody, is returned, and that is confirmed."""

    async def test_it_is_confirmed(self, presync: Presync) -> None:
        """An OMS that takes its time to trade again is waited for."""
        oms = Oms(drains_for=99)

        async def slowly(request: Request) -> Reply:
            when(3, lambda: oms.enter("active", ME))
            return Reply(202)

        oms.switch_answer = lambda request: oms.switch_to("standby", slowly, request)
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.mode) == (Cause.TIMED_OUT, "active")
        assert clock() == is_(8)

    async def test_one_that_forgets_to_return_is_asked_again(self, presync: Presync) -> None:
        """It accepts and does nothing about it: after two seconds it is asked once more."""
        oms = Oms(drains_for=99)
        oms.switch_answer = in_turn(oms.switch, answering(202), oms.switch)
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [ASKED, RETURNED, RETURNED])
        assert clock() == is_(7)

    async def test_a_standby_request_that_is_still_under_way_is_answered_by_one_to_trade(
        self, presync: Presync
    ) -> None:
        """It trades and names nobody, as far as one can see: it is asked once, in case the request arrives yet."""
        oms = Oms()
        oms.switch_answer = lambda request: oms.switch_to("active", silent, request)
        verdict = await presync(oms, stop=stopped_after(1))
        assert (verdict.cause, oms.told) == (Cause.TERMINATED, [ASKED, RETURNED])

    async def test_one_that_does_not_name_us_need_not_accept(self, presync: Presync) -> None:
        """It trades already: that it refuses to is no failure."""
        oms = Oms()

        async def refuses_to_trade(request: Request) -> Reply:
            return await (answering(409) if request.document["mode"] == "active" else silent)(request)

        oms.switch_answer = refuses_to_trade
        verdict = await presync(oms, stop=stopped_after(1))
        assert (verdict.cause, oms.told) == (Cause.TERMINATED, [ASKED, RETURNED])

    async def test_one_that_names_us_has_to_accept(self, presync: Presync) -> None:
        """It says active while it drains for us: only its acceptance tells that it will go on trading."""
        oms = Oms(drains_for=99)
        oms.mode_answer = lambda _: _just({"mode": "active", "reason": oms.reason})
        oms.switch_answer = lambda request: oms.switch_to("standby", answering(409), request)
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="1", STANDBY_UNDO_SECONDS="3")
        assert (verdict.cause, oms.mode) == (Cause.UNDO_FAILED, "draining")

    @pytest.mark.parametrize("owner", ["argocd-sync/run-3", "argocd-sync", OPERATOR])
    @pytest.mark.parametrize("state", ["standby", "draining"])
    async def test_what_was_taken_over_meanwhile_is_left(
        self, presync: Presync, owner: str, state: str
    ) -> None:
        """Another run, application or operator owns the way back now."""
        taken, stuck = Oms(), Oms(drains_for=99)
        when(2, lambda: taken.held_by(owner, state))
        verdict = await presync(taken, stuck, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, taken.told, stuck.told) == (Cause.TIMED_OUT, [ASKED], [ASKED, RETURNED])

    async def test_what_is_taken_over_between_two_tries_is_left(self, presync: Presync) -> None:
        """Each repetition follows a fresh look."""
        oms = Oms(drains_for=99)
        oms.switch_answer = lambda request: oms.switch_to("standby", answering(503), request)
        when(7, lambda: oms.held_by(OPERATOR))
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, modes(oms)[0]) == (Cause.TIMED_OUT, ("standby", OPERATOR))
        assert [at for at in oms.asked(SWITCH) if at > 7] == []

    async def test_an_operator_who_trades_again_is_no_failure(self, presync: Presync) -> None:
        """It trades, and need not accept a request of ours."""
        oms = Oms(drains_for=99)
        oms.switch_answer = lambda request: oms.switch_to("standby", answering(409), request)
        when(2.4, lambda: oms.held_by(OPERATOR, "active"))
        verdict = await presync(oms, stop=stopped_after(2.6), STANDBY_POLL_SECONDS="1")
        assert (verdict.cause, oms.told) == (Cause.TERMINATED, [ASKED, RETURNED])

    async def test_an_address_that_has_left_the_name_is_undone_too(
        self, every_pod: Presync, network: Network
    ) -> None:
        """It may well come back: it gets the request, and that is confirmed."""
        stuck, gone = Oms(drains_for=99), Oms()
        when(2, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(stuck, gone, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, gone.told, gone.mode) == (Cause.TIMED_OUT, [ASKED, RETURNED], "active")

    @pytest.mark.parametrize("port", ["closed", "silent"])
    async def test_that_nobody_answers_there_is_no_failure(
        self, every_pod: Presync, network: Network, port: Any
    ) -> None:
        """A pod that is gone trades nowhere."""
        stuck, gone = Oms(drains_for=99), Oms()
        when(2, lambda: network.names.update(oms=["10.0.0.1"]))
        when(2, lambda: setattr(gone, "port", port))
        verdict = await every_pod(stuck, gone, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, gone.told) == (Cause.TIMED_OUT, [ASKED])

    async def test_one_that_left_the_name_and_will_not_return_is_a_failure(
        self, every_pod: Presync, network: Network
    ) -> None:
        """Somebody answers there and stays in standby."""
        stuck, gone = Oms(drains_for=99), Oms()
        gone.switch_answer = lambda request: gone.switch_to("standby", answering(503), request)
        when(2, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(stuck, gone, STANDBY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="3")
        assert verdict.cause is Cause.UNDO_FAILED
        assert f"within 3 s: 10.0.0.2:80 is standby ({ME}); a person is needed" in verdict.reason

    @pytest.mark.parametrize("status", [400, 401, 403, 409, 500, 503])
    async def test_a_return_that_is_refused_is_tried_to_the_end(self, presync: Presync, status: int) -> None:
        """Then it has its own ending, which says which target is in which state."""
        oms = Oms(drains_for=99)
        oms.switch_answer = lambda request: oms.switch_to("standby", answering(status), request)
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="4")
        assert (verdict.cause, verdict.reason) == (
            Cause.UNDO_FAILED,
            (
                f"not returned to trading within 4 s: oms-1:80 is draining ({ME}); a person is needed now."
                f" It began with: no standby of every target within 5 s: oms-1:80 is draining ({ME})"
            ),
        )
        assert oms.told.count(RETURNED) > 1
        assert clock() == is_(9)

    async def test_one_that_cannot_be_read_is_waited_for(self, presync: Presync) -> None:
        """Until it can be told whose it is, nothing is sent."""
        oms = Oms(drains_for=99)
        when(4, lambda: setattr(oms, "mode_answer", UNREADABLE["unavailable"]))
        when(9, lambda: setattr(oms, "mode_answer", oms.tell_mode))
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [ASKED, RETURNED])
        assert oms.asked(SWITCH)[1] == is_(9)

    @pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
    async def test_one_that_stays_unreadable_is_a_failure(
        self, presync: Presync, unreadable: Behaviour
    ) -> None:
        """Unknown is not returned."""
        oms = Oms(drains_for=99)
        when(4, lambda: setattr(oms, "mode_answer", unreadable))
        verdict = await presync(
            oms, STANDBY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="3", OMS_ATTEMPT_TIMEOUT_SECONDS="1"
        )
        assert verdict.cause is Cause.UNDO_FAILED
        assert verdict.reason.startswith("not returned to trading within 3 s: oms-1:80 cannot be read (")
        assert clock() == is_(8)

    async def test_one_that_is_silent_does_not_hold_up_the_others(self, presync: Presync) -> None:
        """They trade again at once; only the silent one is left for a person."""
        good, mute = Oms(), Oms(drains_for=99)
        when(3, lambda: setattr(mute, "mode_answer", silent))
        verdict = await presync(good, mute, STANDBY_TIMEOUT_SECONDS="5")
        assert verdict.cause is Cause.UNDO_FAILED
        assert good.asked(SWITCH)[1] == is_(5)
        assert "oms-1" not in verdict.reason.partition("It began with")[0]

    async def test_a_known_address_that_does_not_answer_is_a_failure(self, every_pod: Presync) -> None:
        """As long as its name has it, somebody may be there."""
        oms = Oms(drains_for=99)
        when(4, lambda: setattr(oms, "port", "closed"))
        verdict = await every_pod(oms, STANDBY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="2")
        assert verdict.cause is Cause.UNDO_FAILED

    @pytest.mark.parametrize("failure", [socket.EAI_AGAIN, None])
    async def test_it_does_not_wait_for_a_resolver(
        self, every_pod: Presync, network: Network, failure: int | None
    ) -> None:
        """Where they were is known: those that can be returned are, at once."""
        first, second = Oms(drains_for=99), Oms()
        when(2, lambda: network.names.update(oms=failure))
        verdict = await every_pod(first, second, stop=stopped_after(3))
        assert (Cause.TERMINATED, "active", "active") == (verdict.cause, first.mode, second.mode)
        assert clock() == is_(3)

    async def test_where_nobody_answers_a_name_that_is_not_resolved_tells_nothing(
        self, every_pod: Presync, network: Network
    ) -> None:
        """It is not known to have left: unknown is not returned."""
        oms = Oms(drains_for=99)
        when(2, lambda: network.names.update(oms=None))
        when(2, lambda: setattr(oms, "port", "closed"))
        verdict = await every_pod(oms, stop=stopped_after(3))
        assert verdict.cause is Cause.UNDO_FAILED

    async def test_a_bug_undoes_what_was_moved(self, presync: Presync) -> None:
        """Whatever it was: the OMS trades again, and the verdict says that it was a bug."""
        oms = Oms(drains_for=99)

        async def breaks(_: Request) -> Reply:
            oms.mode_answer = oms.tell_mode
            raise ZeroDivisionError("no such thing")

        when(2, lambda: setattr(oms, "mode_answer", breaks))
        verdict = await presync(oms)
        assert (Cause.CRASHED, [ASKED, RETURNED], "active") == (verdict.cause, oms.told, oms.mode)
        assert verdict.reason == (
            "a bug: ZeroDivisionError: no such thing; what had been moved is returned: oms-1:80 is active"
        )

    @pytest.mark.parametrize("cause", [Cause.TIMED_OUT, Cause.TERMINATED, Cause.REFUSED])
    async def test_hold_leaves_all_as_it_is(self, presync: Presync, cause: Cause) -> None:
        """STANDBY_ON_FAILURE=hold: whatever it was that failed."""
        oms = Oms(drains_for=99)
        stop = stopped_after(2 if cause is Cause.TERMINATED else 99)
        if cause is Cause.REFUSED:
            when(2, lambda: setattr(oms, "mode_answer", answering(401)))
        verdict = await presync(oms, stop=stop, STANDBY_TIMEOUT_SECONDS="5", STANDBY_ON_FAILURE="hold")
        assert (cause, [ASKED], "draining") == (verdict.cause, oms.told, oms.mode)

    async def test_what_was_never_reached_is_not_returned(self, presync: Presync) -> None:
        """A request that cannot have arrived moved nothing."""
        oms = Oms()

        async def last_answer(request: Request) -> Reply:
            oms.port = "closed"
            return await oms.tell_mode(request)

        oms.mode_answer = last_answer
        when(3, lambda: setattr(oms, "port", "open"))
        when(3, lambda: setattr(oms, "mode_answer", UNREADABLE["unavailable"]))
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [])
        assert verdict.reason.endswith("; nothing had been moved")

    @pytest.mark.parametrize("answer", ["lost", "denied", "late"])
    async def test_what_may_have_arrived_is_returned(self, presync: Presync, answer: str) -> None:
        """The request was done and the answer was lost, denied it, or never came in time: it counts as moved."""
        oms = Oms(drains_for=99)
        answers: dict[str, Callable[[Behaviour], Behaviour]] = {
            "lost": lost,
            "denied": lambda done: _then(done, Reply(400)),
            "late": lambda done: answered_late(60, done),
        }
        spoilt = answers[answer](oms.switch)
        oms.switch_answer = lambda request: (spoilt if request.document["mode"] == "standby" else oms.switch)(
            request
        )
        verdict = await presync(oms, STANDBY_TIMEOUT_SECONDS="8")
        assert verdict.cause in {Cause.TIMED_OUT, Cause.REFUSED}
        assert (oms.told[-1], oms.mode) == (RETURNED, "active")

    async def test_a_success_undoes_nothing(self, presync: Presync) -> None:
        """All is left in standby for the roll-out."""
        oms = Oms()
        await presync(oms)
        assert (oms.told, oms.mode) == ([ASKED], "standby")


class TestSigterm:
    """SIGTERM at any moment: what was to be undone is undone."""

    @pytest.mark.parametrize("at", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 2, 3, 3.8, 4.1])
    async def test_whenever_it_comes(self, presync: Presync, at: float) -> None:
        """Every answer takes 0.4 s, the drain 3: either all confirmed, or all trade again and it says so."""
        slow, slower = Oms(drains_for=2), Oms(drains_for=3)
        for oms in (slow, slower):
            oms.mode_answer = answered_late(0.4, oms.tell_mode)
            oms.switch_answer = under_way(0.4, oms.switch)
        verdict = await presync(slow, slower, stop=stopped_after(at))
        await asyncio.sleep(10)
        assert (verdict.cause, slow.mode, slower.mode) == (Cause.TERMINATED, "active", "active")

    async def test_after_the_confirmation_it_is_a_success(self, presync: Presync) -> None:
        """What is confirmed stays confirmed."""
        oms = Oms(drains_for=1)
        verdict = await presync(oms, stop=stopped_after(2))
        assert (verdict.cause, oms.mode) == (None, "standby")

    async def test_before_anything_is_asked(self, presync: Presync) -> None:
        """It asks nothing any more."""
        stop = asyncio.Event()
        stop.set()
        oms = Oms()
        verdict = await presync(oms, stop=stop)
        assert (verdict.cause, oms.requests) == (Cause.TERMINATED, [])

    async def test_while_a_look_hangs(self, presync: Presync) -> None:
        """It does not wait for the answer."""
        oms = Oms()
        oms.mode_answer = silent
        verdict = await presync(oms, stop=stopped_after(1))
        assert (verdict.cause, clock()) == (Cause.TERMINATED, 1)

    async def test_while_the_resolver_hangs(self, presync: Presync, network: Network) -> None:
        """Nor for a name."""
        network.names["oms"] = None
        verdict = await presync(OMS_URL="http://oms", OMS_EVERY_POD="true", stop=stopped_after(1))
        assert (verdict.cause, clock()) == (Cause.TERMINATED, 1)

    async def test_while_it_undoes(self, presync: Presync) -> None:
        """The undo of another failure is not cut short; the ending is that of the failure."""
        oms = Oms(drains_for=99)
        oms.switch_answer = in_turn(oms.switch, answering(503), answering(503), oms.switch)
        verdict = await presync(oms, stop=stopped_after(5.1), STANDBY_TIMEOUT_SECONDS="5")
        assert (verdict.cause, oms.mode) == (Cause.TIMED_OUT, "active")

    async def test_an_undo_that_fails_is_worse_than_sigterm(self, presync: Presync) -> None:
        """It has its own ending, and says what it began with."""
        oms = Oms(drains_for=99)
        oms.switch_answer = lambda request: oms.switch_to("standby", answering(503), request)
        verdict = await presync(oms, stop=stopped_after(1), STANDBY_UNDO_SECONDS="2")
        assert verdict.cause is Cause.UNDO_FAILED
        assert "It began with: SIGTERM before every target confirmed: oms-1:80 is draining" in verdict.reason

    async def test_the_reason_says_what_became_of_it(self, presync: Presync) -> None:
        """Which target was in which state, and that it was returned."""
        verdict = await presync(Oms(drains_for=99), stop=stopped_after(1))
        assert verdict.reason == (
            f"SIGTERM before every target confirmed: oms-1:80 is draining ({ME});"
            " what had been moved is returned: oms-1:80 is active"
        )


class Witness(Oms):
    """An OMS to which anything may happen; it notes what must not."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(
            chance.choice(["active", "active", "active", "standby", "starting"]),
            chance.choice([None, None, EARLIER_RUN, OPERATOR]),
            drains_for=chance.choice([0, 0.5, 3, 99]),
        )
        self.chance = chance
        self.found: str | None = None
        """Its mode when the first request came: what it was when it was last looked at."""
        self.wronged: list[str] = []
        self.switch_answer = self.take
        for _ in range(chance.randrange(6)):
            when(chance.uniform(0, 12), chance.choice(self.events()))

    def events(self) -> list[Callable[[], None]]:
        """Return what may happen to it."""
        return [
            lambda: self.restart("active"),
            lambda: self.restart("standby"),
            lambda: self.restart("starting"),
            lambda: self.held_by(OPERATOR),
            lambda: self.held_by(OPERATOR, "draining"),
            lambda: self.held_by(OPERATOR, "active"),
            lambda: self.held_by("argocd-sync/run-3"),
            lambda: setattr(self, "port", "closed"),
            lambda: setattr(self, "port", "open"),
            lambda: setattr(self, "mode_answer", self.chance.choice([hung_up, answering(503)])),
            lambda: setattr(self, "mode_answer", self.tell_mode),
        ]

    async def take(self, request: Request) -> Reply:
        """Do as it is told, or not; note a request that should not have come."""
        if self.mode != "active" and self.reason == OPERATOR:
            self.wronged.append(f"{self.mode} ({self.reason}) was told {request.document}")
        self.found = self.found or self.mode
        well: list[Behaviour] = [self.switch] * 6
        badly = [lost(self.switch), answering(503), answering(202)]
        return await self.chance.choice(well + badly)(request)

    @property
    def is_in_standby(self) -> bool:
        """Whether a success may count it."""
        return self.mode == "standby"

    @property
    def is_left_behind(self) -> bool:
        """Whether this run took it out of trading, and it still stands there in this run's name."""
        return self.found not in {None, "standby"} and self.mode != "active" and self.reason == ME


class TestWhateverHappens:
    """Restarts, operators, other runs, lost answers, silence and SIGTERM, at random."""

    @pytest.mark.parametrize("seed", range(40))
    async def test_nobody_is_wronged_and_nothing_is_left_behind(self, presync: Presync, seed: int) -> None:
        """All stand by and it says so, or what it moved trades again, or it says that a person is needed."""
        random.seed(seed)  # the jitter of the looks
        chance = random.Random(seed)
        targets = [Witness(chance) for _ in range(chance.randint(1, 3))]
        verdict = await presync(
            *targets,
            stop=stopped_after(chance.choice([99, 99, chance.uniform(0, 10)])),
            STANDBY_TIMEOUT_SECONDS="10",
            STANDBY_UNDO_SECONDS="5",
            OMS_ATTEMPT_TIMEOUT_SECONDS="1",
            STANDBY_IF_FOREIGN=chance.choice(["proceed", "wait", "refuse"]),
        )
        assert [] == [wrong for target in targets for wrong in target.wronged]
        if verdict.cause is None:
            assert [True for _ in targets] == [target.is_in_standby for target in targets]
        elif verdict.cause is not Cause.UNDO_FAILED:
            assert [False for _ in targets] == [target.is_left_behind for target in targets]


@pytest.mark.looptime(False)  # noqa: FBT003  # as the mark takes it
class TestOverSockets:
    """The same over real connections."""

    async def test_three_replicas_drain(self, loading: Loading) -> None:
        """All are in standby in this run's name when it succeeds."""
        with MockOms(replicas=3, start_mode="active", drain_seconds=0.3, token="t0ken") as oms:
            given = loading(settings.Standby, OMS_URL=oms.url, OMS_ADMIN_TOKEN="t0ken", HOOK_RUN_ID="run-2")
            verdict = await decide(given, asyncio.Event())
            states = [replica.state for replica in oms.replicas]
        assert verdict.cause is None
        assert [(state.mode, state.reason) for state in states] == [("standby", ME)] * 3

    async def test_one_never_drains(self, loading: Loading) -> None:
        """All are returned."""
        with MockOms(replicas=3, start_mode="active", drain_seconds=0.1) as oms:
            oms.replicas[1].faults = Faults(never_drain=True)
            given = loading(settings.Standby, OMS_URL=oms.url, STANDBY_TIMEOUT_SECONDS="1")
            verdict = await decide(given, asyncio.Event())
            states = [replica.state.mode for replica in oms.replicas]
        assert (verdict.cause, states) == (Cause.TIMED_OUT, ["active"] * 3)

    @pytest.mark.parametrize("fault", [Faults(drop_answer=True, count=1), Faults(reset=True, count=2)])
    async def test_answers_are_lost(self, loading: Loading, fault: Faults) -> None:
        """It asks again until it is answered."""
        with MockOms(start_mode="active") as oms:
            oms.replicas[0].faults = fault
            verdict = await decide(loading(settings.Standby, OMS_URL=oms.url), asyncio.Event())
            state = oms.replicas[0].state
        assert (verdict.cause, state.mode) == (None, "standby")

    async def test_a_certificate_that_does_not_verify_ends_it_at_once(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """Nothing is sent to whoever it is."""
        oms = hostile.Oms()
        peer = serving(oms.answers(), tls=authorities.server_of_unknown())
        given = loading(settings.Standby, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file))
        verdict = await decide(given, asyncio.Event())
        assert (verdict.cause, peer.requests) == (Cause.REFUSED, [])
        assert "its certificate does not verify" in verdict.reason

    async def test_with_a_certificate_that_verifies_it_succeeds(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """The private authority is trusted."""
        oms = hostile.Oms()
        peer = serving(oms.answers(), tls=authorities.server())
        given = loading(settings.Standby, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file))
        verdict = await decide(given, asyncio.Event())
        assert (verdict.cause, oms.modes_told) == (None, ["standby"])


async def _just(document: Any) -> Reply:
    return Reply(200, document)


def _then(behaviour: Behaviour, reply: Reply) -> Behaviour:
    async def behave(request: Request) -> Reply:
        await behaviour(request)
        return reply

    return behave
