"""postsync-verify, promise by promise, on a turned clock; its far ends are in memory, or real at the very end."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from structlog.testing import capture_logs

from hooks import settings
from hooks.postsync_verify import decide
from hooks.verdict import Cause, Verdict
from rehearsal.mock_oms import MockOms
from rehearsal.mock_pagerduty import MockPagerDuty
from tests.conftest import Loading, Serving
from tests.hostile import oms as hostile
from tests.hostile.certificates import Authorities
from tests.network import (
    HEALTHY,
    STARTING,
    Behaviour,
    Network,
    Oms,
    PagerDuty,
    Reply,
    Request,
    answering,
    hung_up,
    in_turn,
    lost,
    silent,
    when,
)

pytestmark = pytest.mark.looptime(noop_cycles=3)

ME = "argocd-sync/run-2"
PRESYNC = "argocd-sync/run-1"
OPERATOR = "operator/alice"
SWITCH = "/admin/mode"
MODE = "/health/mode"
HEALTH = "/health/deep"

RETURNED = ("active", ME)
KEY = "r0ut1ngkeyr0ut1ngkeyr0ut1ngkey99"


class Postsync(Protocol):
    """Plays the command against these targets, named oms-1, oms-2, … unless OMS_URL says otherwise."""

    async def __call__(
        self, *targets: Oms, stop: asyncio.Event | None = None, **variables: str
    ) -> Verdict: ...


@pytest.fixture
def postsync(network: Network, loading: Loading) -> Postsync:
    """Play the command, as run-2."""

    async def play(*targets: Oms, stop: asyncio.Event | None = None, **variables: str) -> Verdict:
        names = [f"oms-{number}" for number, _ in enumerate(targets, 1)]
        for name, target in zip(names, targets, strict=True):
            network.add(name, target)
        given = {"OMS_URL": ",".join(f"http://{name}" for name in names), "HOOK_RUN_ID": "run-2", **variables}
        return await decide(loading(settings.Postsync, **given), stop or asyncio.Event())

    return play


@pytest.fixture
def every_pod(network: Network, postsync: Postsync) -> Postsync:
    """Play it against all addresses of the one name oms."""

    async def play(*targets: Oms, stop: asyncio.Event | None = None, **variables: str) -> Verdict:
        network.add("oms", *targets)
        return await postsync(stop=stop, OMS_URL="http://oms", OMS_EVERY_POD="true", **variables)

    return play


@pytest.fixture
def pagerduty(network: Network, monkeypatch: pytest.MonkeyPatch) -> PagerDuty:
    """Be told of events, with all that a page needs in the environment."""
    told = PagerDuty()
    network.add("events.test", told)
    monkeypatch.setenv("PAGERDUTY_EVENTS_URL", "http://events.test/v2/enqueue")
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", KEY)
    monkeypatch.setenv("ARGOCD_APP_NAME", "orders")
    return told


def waiting(reason: str | None = PRESYNC, health: Any = HEALTHY) -> Oms:
    """Return a target as the roll-out left it: in standby."""
    oms = Oms("standby", reason)
    oms.health = health
    return oms


def clock() -> float:
    """Tell how many seconds passed since the test began."""
    return asyncio.get_running_loop().time()


def stopped_after(seconds: float) -> asyncio.Event:
    """Receive SIGTERM so many seconds from now."""
    stop = asyncio.Event()
    when(seconds, stop.set)
    return stop


def is_(expected: float, give: float = 0.3) -> Any:
    """Expect a time, as exactly as polls and their jitter allow."""
    return pytest.approx(expected, abs=give)


def answers(outcomes: str) -> Behaviour:
    """Be healthy (+) or not (-), one look after the other; the last outcome stays."""
    return in_turn(*[answering(200, HEALTHY if outcome == "+" else STARTING) for outcome in outcomes])


class TestVerification:
    """VERIFY_CONDITION held on all targets VERIFY_CONSECUTIVE times in a row."""

    async def test_a_healthy_oms_is_verified_and_returned(self, postsync: Postsync) -> None:
        """Three looks in a row, then it is asked to trade, and seen to."""
        oms = waiting()
        verdict = await postsync(oms)
        expected = Verdict(
            None,
            "every target is verified: oms-1:80 is active",
            {
                "oms-1:80": {
                    "mode": "active",
                    "owner": ME,
                    "mode_document": {"mode": "active", "reason": ME},
                    "health_document": HEALTHY,
                }
            },
        )
        assert expected == verdict
        assert ([RETURNED], 3) == (oms.told, len(oms.asked(HEALTH)))

    @pytest.mark.parametrize("consecutive", [1, 2, 5])
    async def test_so_many_looks_are_taken(self, postsync: Postsync, consecutive: int) -> None:
        """VERIFY_CONSECUTIVE of them, VERIFY_POLL_SECONDS apart."""
        oms = waiting()
        verdict = await postsync(oms, VERIFY_CONSECUTIVE=str(consecutive), VERIFY_POLL_SECONDS="1")
        assert verdict.cause is None
        assert oms.asked(HEALTH) == [is_(number, 0.1 * number) for number in range(consecutive)]

    async def test_a_no_begins_anew(self, postsync: Postsync) -> None:
        """Two that were healthy before it do not count."""
        oms = waiting()
        oms.health_answer = answers("++-++-+")
        verdict = await postsync(oms)
        assert (verdict.cause, len(oms.asked(HEALTH))) == (None, 9)

    async def test_all_targets_have_to_be_healthy(self, postsync: Postsync) -> None:
        """None is returned as long as one of them blips."""
        good, blips = waiting(), waiting()
        blips.health_answer = answers("++-+-+")
        verdict = await postsync(good, blips)
        assert (None, [RETURNED], [RETURNED]) == (verdict.cause, good.told, blips.told)
        assert good.asked(SWITCH) == blips.asked(SWITCH)
        assert len(blips.asked(HEALTH)) == 8

    NOES: dict[str, Behaviour] = {  # noqa: RUF012
        "starting": answering(200, STARTING),
        "healthy, but unavailable": answering(503, HEALTHY),
        "healthy, but elsewhere": answering(302, HEALTHY, Location="http://oms-2/health/deep"),
        "healthy, but not found": answering(404, HEALTHY),
        "not JSON": answering(200, b"healthy"),
        "nothing": answering(200, b""),
        "a name twice": answering(200, b'{"status":"healthy","status":"healthy"}'),
        "an error in the expression": answering(200, ["healthy"]),
        "null": answering(200, None),
        "hung up": hung_up,
        "silent": silent,
    }

    @pytest.mark.parametrize("no", NOES.values(), ids=NOES)
    async def test_a_no_is_waited_for(self, postsync: Postsync, no: Behaviour) -> None:
        """It is returned only after the answers became what they should be."""
        oms = waiting()
        oms.health_answer = no
        when(3, lambda: setattr(oms, "health_answer", oms.tell_health))
        verdict = await postsync(oms, OMS_ATTEMPT_TIMEOUT_SECONDS="1")
        assert (verdict.cause, oms.told) == (None, [RETURNED])
        assert 3 <= oms.asked(SWITCH)[0] < 5

    @pytest.mark.parametrize("no", NOES.values(), ids=NOES)
    async def test_a_no_that_stays_times_out(self, postsync: Postsync, no: Behaviour) -> None:
        """Nothing is ever returned to active before it is verified."""
        oms = waiting()
        oms.health_answer = no
        verdict = await postsync(oms, VERIFY_TIMEOUT_SECONDS="4", OMS_ATTEMPT_TIMEOUT_SECONDS="1")
        assert (Cause.TIMED_OUT, [], "standby") == (verdict.cause, oms.told, oms.mode)
        assert verdict.reason.startswith("not healthy within 4 s: oms-1:80 ")
        assert clock() == is_(4)

    @pytest.mark.parametrize("condition", [".status", "1", "empty", "true, true", '"true"', "error", ".[0]"])
    async def test_only_true_is_true(self, postsync: Postsync, condition: str) -> None:
        """An expression that errors, or yields anything but one `true`, is a no."""
        oms = waiting()
        verdict = await postsync(oms, VERIFY_CONDITION=condition, VERIFY_TIMEOUT_SECONDS="2")
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [])

    async def test_a_condition_may_read_the_environment(
        self, postsync: Postsync, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`env.NAME`: the version that is expected, say."""
        monkeypatch.setenv("EXPECTED_VERSION", "2")
        old, new = waiting(health={"version": "1"}), waiting(health={"version": "2"})
        given = {"VERIFY_CONDITION": ".version == env.EXPECTED_VERSION", "VERIFY_TIMEOUT_SECONDS": "2"}
        assert (await postsync(new, stop=None, **given)).cause is None
        assert (await postsync(old, stop=None, **given)).cause is Cause.TIMED_OUT

    async def test_the_reason_says_what_is_doubted(self, postsync: Postsync) -> None:
        """Only those that were not verified are named, each with what it said."""
        good, starting, down = waiting(), waiting(health=STARTING), waiting()
        down.health_answer = answering(503, b"starting up\n")
        verdict = await postsync(good, starting, down, VERIFY_TIMEOUT_SECONDS="2")
        assert verdict.reason == (
            "not healthy within 2 s: oms-2:80 is not what VERIFY_CONDITION asks for; oms-3:80 answered 503 starting up"
        )

    async def test_a_health_that_never_answers_is_told_so(self, postsync: Postsync) -> None:
        """It was asked, though the time ended before an attempt did."""
        oms = waiting()
        oms.health_answer = silent
        verdict = await postsync(oms, VERIFY_TIMEOUT_SECONDS="3", OMS_ATTEMPT_TIMEOUT_SECONDS="5")
        assert verdict.reason == "not healthy within 3 s: oms-1:80 not answered within 3 s"

    async def test_a_target_that_cannot_be_reached_is_waited_for(self, postsync: Postsync) -> None:
        """It restarts: its connections are refused meanwhile."""
        oms = waiting()
        oms.port = "closed"
        when(5, lambda: setattr(oms, "port", "open"))
        verdict = await postsync(oms)
        assert (verdict.cause, oms.told) == (None, [RETURNED])

    async def test_one_answer_is_one_look(self, postsync: Postsync) -> None:
        """A mode that asks to be left alone does not make one healthy answer count for three."""
        oms = waiting()
        oms.mode_answer = answering(503, Retry_After="5")
        verdict = await postsync(oms, VERIFY_RETURN_TO_ACTIVE="false")
        assert (verdict.cause, len(oms.asked(HEALTH))) == (None, 3)

    @pytest.mark.parametrize(("told", "pause"), [("3", 3), ("60", 5), ("0", 0.2), ("later", 0.2)])
    async def test_a_poll_is_paused_when_it_was_told_to(
        self, postsync: Postsync, told: str, pause: float
    ) -> None:
        """Retry-After is honoured up to 5 s."""
        oms = waiting()
        oms.health_answer = in_turn(answering(503, Retry_After=told), oms.tell_health)
        verdict = await postsync(oms)
        assert verdict.cause is None
        assert oms.asked(HEALTH)[1] == is_(pause)


class TestHopeless:
    """VERIFY_FAIL_CONDITION, true of a JSON body, ends it at once."""

    BROKEN = {"status": "broken"}  # noqa: RUF012
    IS_BROKEN = '.status == "broken"'

    @pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 404, 418, 500, 503])
    async def test_whatever_the_status(self, postsync: Postsync, status: int) -> None:
        """The body says it."""
        good, broken = waiting(), waiting()
        broken.health_answer = answering(status, self.BROKEN)
        verdict = await postsync(good, broken, VERIFY_FAIL_CONDITION=self.IS_BROKEN)
        assert (Cause.REFUSED, [], [], 0) == (verdict.cause, good.told, broken.told, clock())
        assert verdict.reason == "VERIFY_FAIL_CONDITION is true of oms-2:80"

    @pytest.mark.parametrize(
        ("condition", "answer"),
        [
            pytest.param('.status != "healthy"', answering(200, b"broken"), id="not JSON"),
            pytest.param('.status != "healthy"', answering(500, b"broken"), id="not JSON, and a failure"),
            pytest.param('.status != "healthy"', hung_up, id="no answer"),
            pytest.param('error("x")', answering(200, BROKEN), id="an error"),
            pytest.param(".status", answering(200, BROKEN), id="something else than true"),
            pytest.param("true, true", answering(200, BROKEN), id="true twice"),
            pytest.param("empty", answering(200, BROKEN), id="nothing"),
        ],
    )
    async def test_what_is_not_true_is_waited_for(
        self, postsync: Postsync, condition: str, answer: Behaviour
    ) -> None:
        """Without a JSON body of which it is true, it goes on looking."""
        oms = waiting()
        oms.health_answer = in_turn(answer, answer, oms.tell_health)
        verdict = await postsync(oms, VERIFY_FAIL_CONDITION=condition)
        assert verdict.cause is None

    async def test_it_is_asked_during_the_return_too(self, every_pod: Postsync, network: Network) -> None:
        """A pod that appears late may be hopeless as well."""
        first, late = waiting(), waiting(health=self.BROKEN)
        first.switch_answer = answering(503)
        when(2, lambda: network.add("oms", first, late))
        verdict = await every_pod(first, VERIFY_FAIL_CONDITION=self.IS_BROKEN)
        assert (verdict.cause, late.told) == (Cause.REFUSED, [])


class TestRefusedHealth:
    """401 and 403 are refusals, but a version that is only starting gets 10 s."""

    @pytest.mark.parametrize("status", [401, 403])
    async def test_after_ten_seconds_of_nothing_else(self, postsync: Postsync, status: int) -> None:
        """It ends before its time is over, and says what was answered."""
        oms = waiting()
        oms.health_answer = answering(status, b"who are you?")
        verdict = await postsync(oms)
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            f"oms-1:80 does not tell its health: answered {status} who are you?",
        )
        assert clock() == is_(10)

    async def test_a_start_may_take_that_long(self, postsync: Postsync) -> None:
        """Nine seconds of it are waited for."""
        oms = waiting()
        oms.health_answer = answering(401)
        when(9, lambda: setattr(oms, "health_answer", oms.tell_health))
        verdict = await postsync(oms)
        assert verdict.cause is None

    @pytest.mark.parametrize("other", [answering(503), hung_up, answering(200, STARTING)])
    async def test_anything_else_in_between_begins_anew(self, postsync: Postsync, other: Behaviour) -> None:
        """It is starting."""
        oms = waiting()
        oms.health_answer = denied = answering(403)

        async def once(request: Request) -> Reply:
            oms.health_answer = denied
            return await other(request)

        when(8, lambda: setattr(oms, "health_answer", once))
        when(16, lambda: setattr(oms, "health_answer", oms.tell_health))
        verdict = await postsync(oms)
        assert verdict.cause is None


class TestTradingTooEarly:
    """A target that is active at the first look trades before it is verified."""

    async def test_it_is_a_warning(self, postsync: Postsync) -> None:
        """And no failure: it is left trading."""
        standing_by, trading = waiting(), Oms()
        with capture_logs() as lines:
            verdict = await postsync(standing_by, trading)
        warned = [(line["event"], line["target"]) for line in lines if line["log_level"] == "warning"]
        assert (verdict.cause, warned) == (None, [("trades_before_it_is_verified", "oms-2:80")])
        assert trading.told == []

    async def test_the_first_look_is_the_first_that_could_be_read(self, postsync: Postsync) -> None:
        """A target that was down at first is looked at when it comes up."""
        oms = Oms()
        oms.mode_answer = in_turn(answering(503), answering(503), oms.tell_mode)
        with capture_logs() as lines:
            await postsync(oms)
        assert [line["event"] for line in lines if line["event"] == "trades_before_it_is_verified"] == [
            "trades_before_it_is_verified"
        ]

    async def test_what_is_returned_later_is_no_warning(self, postsync: Postsync) -> None:
        """Once is enough, and only at the first look."""
        oms = waiting()
        oms.health_answer = answers("----+")
        when(0.3, lambda: oms.held_by(OPERATOR, "active"))
        with capture_logs() as lines:
            await postsync(oms)
        assert [line for line in lines if line["log_level"] == "warning"] == []


class TestTheReturn:
    """Targets in standby that we own, or that name nobody, are returned, and that is confirmed."""

    @pytest.mark.parametrize("owner", [ME, PRESYNC, "argocd-sync", None])
    async def test_what_is_ours_is_returned(self, postsync: Postsync, owner: str | None) -> None:
        """Whichever run of ours put it there."""
        oms = waiting(owner)
        verdict = await postsync(oms)
        assert (None, [RETURNED], "active") == (verdict.cause, oms.told, oms.mode)

    @pytest.mark.parametrize("owner", [OPERATOR, "argocd-synchronised", "other-app/run-2"])
    async def test_somebody_elses_is_left_with_a_warning(self, postsync: Postsync, owner: str) -> None:
        """Nothing is sent to it, and the deployment is good all the same."""
        ours, held = waiting(), waiting(owner)
        with capture_logs() as lines:
            verdict = await postsync(ours, held)
        warnings = [line for line in lines if line["log_level"] == "warning"]
        assert (None, [RETURNED], []) == (verdict.cause, ours.told, held.told)
        assert warnings == [
            {
                "event": "left_to_its_owner",
                "log_level": "warning",
                "target": "oms-2:80",
                "mode": f"oms-2:80 is standby ({owner})",
            }
        ]

    async def test_somebody_elses_has_to_be_healthy_too(self, postsync: Postsync) -> None:
        """It is the same deployment."""
        ours, held = waiting(), waiting(OPERATOR, health=STARTING)
        verdict = await postsync(ours, held, VERIFY_TIMEOUT_SECONDS="3")
        assert (Cause.TIMED_OUT, []) == (verdict.cause, ours.told)

    async def test_unnamed_is_left_where_it_is_not_ours(self, postsync: Postsync) -> None:
        """OMS_UNNAMED_IS_OURS=false."""
        oms = waiting(None)
        verdict = await postsync(oms, OMS_UNNAMED_IS_OURS="false")
        assert (verdict.cause, oms.told) == (None, [])

    @pytest.mark.parametrize("mode", ["starting", "draining", "maintenance"])
    async def test_one_that_is_neither_is_waited_for(self, postsync: Postsync, mode: str) -> None:
        """A target that is neither in standby nor active may become either."""
        becoming, trading = waiting(), waiting()
        becoming.mode = trading.mode = mode
        when(4, lambda: setattr(becoming, "mode", "standby"))
        when(5, lambda: setattr(trading, "mode", "active"))
        verdict = await postsync(becoming, trading)
        assert (None, [RETURNED], []) == (verdict.cause, becoming.told, trading.told)
        assert clock() == is_(5)

    async def test_one_that_stays_neither_times_out(self, postsync: Postsync) -> None:
        """Within what is left of the time, and it says in which mode each target is."""
        ours, stuck = waiting(), waiting()
        stuck.mode = "draining"
        verdict = await postsync(ours, stuck, VERIFY_TIMEOUT_SECONDS="15")
        assert verdict.cause is Cause.TIMED_OUT
        assert f"oms-1:80 is active; oms-2:80 is draining ({PRESYNC})" in verdict.reason
        assert clock() == is_(15)

    async def test_it_has_what_is_left_of_the_time(self, postsync: Postsync) -> None:
        """VERIFY_TIMEOUT_SECONDS is for verification and return together."""
        oms = waiting()
        oms.switch_answer = answering(202)
        verdict = await postsync(oms, VERIFY_TIMEOUT_SECONDS="20")
        assert verdict.cause is Cause.TIMED_OUT
        assert clock() == is_(20)

    async def test_it_has_at_least_the_time_of_an_undo(self, postsync: Postsync) -> None:
        """A verification that took nearly all of the time leaves STANDBY_UNDO_SECONDS for the return."""
        oms = waiting(health=STARTING)
        when(4, lambda: setattr(oms, "health", HEALTHY))
        oms.switch_answer = answering(202)
        when(11, lambda: oms.enter("active"))
        verdict = await postsync(oms, VERIFY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="8")
        assert verdict.cause is None
        assert clock() == is_(11)

    async def test_and_not_for_ever(self, postsync: Postsync) -> None:
        """Then it times out."""
        oms = waiting(health=STARTING)
        when(4, lambda: setattr(oms, "health", HEALTHY))
        oms.switch_answer = answering(202)
        verdict = await postsync(oms, VERIFY_TIMEOUT_SECONDS="5", STANDBY_UNDO_SECONDS="8")
        assert verdict.cause is Cause.TIMED_OUT
        assert clock() == is_(12.5, 0.5)

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 501])
    async def test_a_refusal_ends_it_at_once(self, postsync: Postsync, status: int) -> None:
        """Status and first line are quoted."""
        oms = waiting()
        oms.switch_answer = answering(status, b"not now\n")
        verdict = await postsync(oms)
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            f"oms-1:80 refused to trade again: {status} not now",
        )

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_what_may_be_accepted_later_is_asked_again(self, postsync: Postsync, status: int) -> None:
        """Each time after a fresh look."""
        oms = waiting()
        oms.switch_answer = in_turn(*[answering(status)] * 3, oms.switch)
        verdict = await postsync(oms)
        assert (verdict.cause, oms.told) == (None, [RETURNED] * 4)

    async def test_a_lost_answer_is_made_up_for_by_a_look(self, postsync: Postsync) -> None:
        """It trades: that is what was wanted."""
        oms = waiting()
        oms.switch_answer = lost(oms.switch)
        verdict = await postsync(oms)
        assert (verdict.cause, oms.told) == (None, [RETURNED])

    async def test_one_that_forgets_is_asked_again(self, postsync: Postsync) -> None:
        """It accepted, and stays in standby: after two seconds it is asked once more."""
        oms = waiting()
        oms.switch_answer = in_turn(answering(202), oms.switch)
        verdict = await postsync(oms)
        first, second = oms.asked(SWITCH)
        assert verdict.cause is None
        assert second - first == is_(2)

    async def test_whoever_takes_it_between_two_tries_keeps_it(self, postsync: Postsync) -> None:
        """An operator's standby is never ended, whatever was asked before."""
        oms = waiting()
        oms.switch_answer = answering(503)
        when(3, lambda: oms.held_by(OPERATOR))
        verdict = await postsync(oms)
        assert (None, ("standby", OPERATOR)) == (verdict.cause, (oms.mode, oms.reason))
        assert [at for at in oms.asked(SWITCH) if at > 3] == []

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_mode_that_is_denied_is_refused(self, postsync: Postsync, status: int) -> None:
        """Who may not look cannot return it."""
        oms = waiting()
        oms.mode_answer = answering(status, b"who are you?")
        verdict = await postsync(oms)
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            f"oms-1:80 does not tell its mode: answered {status} who are you?",
        )

    async def test_a_mode_that_cannot_be_read_is_waited_for(self, postsync: Postsync) -> None:
        """Unknown is not trading, and not ours."""
        oms = waiting()
        oms.mode_answer = answering(200, b"?")
        when(3, lambda: setattr(oms, "mode_answer", oms.tell_mode))
        verdict = await postsync(oms)
        assert (verdict.cause, oms.told) == (None, [RETURNED])
        assert oms.asked(SWITCH)[0] >= 3

    async def test_nothing_is_returned_where_it_is_not_wanted(self, postsync: Postsync) -> None:
        """VERIFY_RETURN_TO_ACTIVE=false: it verifies, and leaves all as it is."""
        oms = waiting()
        verdict = await postsync(oms, VERIFY_RETURN_TO_ACTIVE="false")
        assert (None, [], "standby") == (verdict.cause, oms.told, oms.mode)

    async def test_one_that_restarts_is_verified_anew(self, postsync: Postsync) -> None:
        """It was down: what runs there now was not verified."""
        restarting, other = waiting(), waiting()
        restarting.switch_answer = in_turn(answering(503), restarting.switch)

        def go_down() -> None:
            restarting.port = "closed"

        def come_up() -> None:
            restarting.port = "open"
            restarting.restart("standby", STARTING)

        other.switch_answer = in_turn(*[answering(503)] * 6, other.switch)
        restarting.switch_answer = in_turn(*[answering(503)] * 2, restarting.switch)
        when(0.65, go_down)
        when(2, come_up)
        when(6, lambda: setattr(restarting, "health", HEALTHY))
        verdict = await postsync(restarting, other)
        assert (verdict.cause, restarting.mode) == (None, "active")
        assert [at for at in restarting.asked(SWITCH) if 0.65 < at < 6.3] == []

    async def test_a_pod_that_appears_unverified_is_verified_first(
        self, every_pod: Postsync, network: Network
    ) -> None:
        """It is returned only after so many healthy looks of its own, and waited for."""
        first, late = waiting(), waiting(health=STARTING)
        first.switch_answer = answering(202)
        when(1, lambda: network.add("oms", first, late))
        when(3, lambda: first.enter("active"))
        when(5, lambda: setattr(late, "health", HEALTHY))
        verdict = await every_pod(first)
        assert (verdict.cause, late.told) == (None, [RETURNED])
        assert late.asked(SWITCH) == [is_(5.5)]

    async def test_a_pod_that_goes_away_is_not_waited_for(
        self, every_pod: Postsync, network: Network
    ) -> None:
        """It left the name."""
        good, gone = waiting(), waiting(health=STARTING)
        when(4, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(good, gone)
        assert (None, [RETURNED], []) == (verdict.cause, good.told, gone.told)

    async def test_too_few_pods_are_not_verified(self, every_pod: Postsync) -> None:
        """Those that are missing may be the ones that do not start."""
        oms = waiting()
        verdict = await every_pod(oms, OMS_MIN_TARGETS="2", VERIFY_TIMEOUT_SECONDS="3")
        assert (verdict.cause, oms.told) == (Cause.TIMED_OUT, [])
        assert verdict.reason == "not healthy within 3 s: 1 of at least 2 addresses are there"


class TestTheSoak:
    """VERIFY_SOAK_SECONDS above 0: it goes on looking, beyond VERIFY_TIMEOUT_SECONDS."""

    async def test_it_lasts_that_long(self, postsync: Postsync) -> None:
        """And succeeds when nothing relapsed."""
        oms = waiting()
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="20", VERIFY_TIMEOUT_SECONDS="5")
        assert verdict.cause is None
        assert clock() == is_(20.5)

    async def test_without_it_nothing_more_is_asked(self, postsync: Postsync) -> None:
        """0 is off."""
        oms = waiting()
        await postsync(oms, VERIFY_SOAK_SECONDS="0")
        assert clock() == is_(0.5)

    async def test_as_many_noes_in_a_row_are_a_relapse(self, postsync: Postsync) -> None:
        """Not healthy any more: that fails it, refused, and the target is named."""
        good, ill = waiting(), waiting()
        when(5, lambda: setattr(ill, "health", STARTING))
        verdict = await postsync(good, ill, VERIFY_SOAK_SECONDS="20")
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            (
                "relapsed after it was verified: oms-2:80 is active;"
                " its health: is not what VERIFY_CONDITION asks for"
            ),
        )
        assert clock() == is_(5.5)

    async def test_fewer_noes_are_none(self, postsync: Postsync) -> None:
        """A blip is not a relapse, however often there is one."""
        oms = waiting()
        oms.health_answer = in_turn(
            *[answering(200, HEALTHY)] * 4,
            *[answering(503), answering(503), answering(200, HEALTHY)] * 5,
            oms.tell_health,
        )
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="10")
        assert verdict.cause is None

    async def test_noes_of_several_targets_are_not_added_up(self, postsync: Postsync) -> None:
        """In a row means of one target."""
        first, second = waiting(), waiting()
        first.health_answer = in_turn(*[first.tell_health] * 4, *[answering(503)] * 2, first.tell_health)
        second.health_answer = in_turn(*[second.tell_health] * 6, *[answering(503)] * 2, second.tell_health)
        verdict = await postsync(first, second, VERIFY_SOAK_SECONDS="10")
        assert verdict.cause is None

    @pytest.mark.parametrize("mode", ["standby", "draining"])
    async def test_one_that_no_longer_trades_is_a_relapse(self, postsync: Postsync, mode: str) -> None:
        """Healthy or not."""
        oms = waiting()
        when(5, lambda: oms.held_by(OPERATOR, mode))
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="20")
        assert verdict.cause is Cause.REFUSED
        assert f"oms-1:80 is {mode} ({OPERATOR})" in verdict.reason
        assert clock() == is_(5.5)

    async def test_one_that_stops_trading_as_soon_as_it_was_confirmed_is_a_relapse(
        self, postsync: Postsync
    ) -> None:
        """It was active, if only for a moment."""
        oms = waiting()

        async def for_a_moment(request: Request) -> Reply:
            reply = await oms.tell_mode(request)
            if oms.mode == "active":
                oms.held_by(PRESYNC)
            return reply

        oms.mode_answer = for_a_moment
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="5")
        assert verdict.cause is Cause.REFUSED

    async def test_one_that_cannot_be_read_no_longer_trades(self, postsync: Postsync) -> None:
        """Unknown is no."""
        oms = waiting()
        when(5, lambda: setattr(oms, "mode_answer", answering(503)))
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="20")
        assert verdict.cause is Cause.REFUSED

    async def test_one_that_never_traded_need_not(self, postsync: Postsync) -> None:
        """An operator's standby goes on through the soak."""
        ours, held = waiting(), waiting(OPERATOR)
        verdict = await postsync(ours, held, VERIFY_SOAK_SECONDS="5")
        assert (verdict.cause, held.told) == (None, [])

    @pytest.mark.parametrize("answer", ["health_answer", "mode_answer"])
    async def test_one_answer_is_one_no(self, postsync: Postsync, answer: str) -> None:
        """A single 503 that asks to be left alone for a while is not a relapse."""
        oms = waiting()
        good = getattr(oms, answer)

        async def once(_: Request) -> Reply:
            setattr(oms, answer, good)
            return Reply(503, b"", {"Retry-After": "3"})

        when(5, lambda: setattr(oms, answer, once))
        verdict = await postsync(oms, VERIFY_SOAK_SECONDS="20")
        assert verdict.cause is None

    async def test_fewer_pods_than_wanted_are_a_relapse(self, every_pod: Postsync, network: Network) -> None:
        """One that crashes leaves the name."""
        first, crashing = waiting(), waiting()
        when(5, lambda: network.names.update(oms=["10.0.0.1"]))
        verdict = await every_pod(first, crashing, OMS_MIN_TARGETS="2", VERIFY_SOAK_SECONDS="20")
        assert (verdict.cause, verdict.reason) == (
            Cause.REFUSED,
            "relapsed after it was verified: 1 of at least 2 addresses are there",
        )

    async def test_a_name_that_goes_away_is_a_relapse(
        self, every_pod: Postsync, network: Network, pagerduty: PagerDuty
    ) -> None:
        """Where nobody is known nobody trades, and nothing is resolved."""
        when(5, lambda: network.names.pop("oms"))
        verdict = await every_pod(waiting(), VERIFY_SOAK_SECONDS="20")
        assert (verdict.cause, pagerduty.events) == (Cause.REFUSED, [])

    async def test_a_resolver_that_fails_for_a_while_is_none(
        self, every_pod: Postsync, network: Network
    ) -> None:
        """Those that are known are looked at meanwhile."""
        when(5, lambda: network.names.update(oms=socket.EAI_AGAIN))
        verdict = await every_pod(waiting(), VERIFY_SOAK_SECONDS="20")
        assert verdict.cause is None

    async def test_it_is_cut_short_by_sigterm(self, postsync: Postsync) -> None:
        """What was not soaked is not verified."""
        verdict = await postsync(waiting(), VERIFY_SOAK_SECONDS="20", stop=stopped_after(5))
        assert (verdict.cause, clock()) == (Cause.TERMINATED, 5)


RESOLVED = {
    "routing_key": KEY,
    "event_action": "resolve",
    "dedup_key": "argocd-sync/argocd/orders",
}


class TestTheIncident:
    """What syncfail-alert would have opened is resolved, best effort."""

    async def test_it_is_resolved_with_the_same_key(self, postsync: Postsync, pagerduty: PagerDuty) -> None:
        """When every target trades."""
        verdict = await postsync(waiting())
        assert (verdict.cause, pagerduty.events) == (None, [RESOLVED])

    async def test_the_key_may_be_given(self, postsync: Postsync, pagerduty: PagerDuty) -> None:
        """PAGERDUTY_DEDUP_KEY is the same for trigger and resolve."""
        await postsync(waiting(), PAGERDUTY_DEDUP_KEY="orders", ARGOCD_URL="https://argo.test")
        assert [{**RESOLVED, "dedup_key": "orders"}] == pagerduty.events

    async def test_the_key_names_the_instance(self, postsync: Postsync, pagerduty: PagerDuty) -> None:
        """ARGOCD_URL's host, where it is set."""
        await postsync(waiting(), ARGOCD_URL="https://argo.test:8443/ui", ARGOCD_APP_NAMESPACE="trading")
        assert [{**RESOLVED, "dedup_key": "argocd-sync/argo.test/trading/orders"}] == pagerduty.events

    async def test_an_operators_standby_does_not_hold_it_open(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """Every target is active or held by somebody else."""
        await postsync(waiting(), waiting(OPERATOR))
        assert [RESOLVED] == pagerduty.events

    @pytest.mark.parametrize(
        "variables", [{"VERIFY_RETURN_TO_ACTIVE": "false"}, {"OMS_UNNAMED_IS_OURS": "false"}]
    )
    async def test_it_stays_open_while_a_target_does_not_trade(
        self, postsync: Postsync, pagerduty: PagerDuty, variables: dict[str, str]
    ) -> None:
        """Verified, but in standby for us or for nobody."""
        verdict = await postsync(waiting(None), stop=None, **variables)
        assert (verdict.cause, pagerduty.events) == (None, [])

    async def test_it_goes_by_what_the_targets_are_now(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """One that traded at the first look and does not any more holds it open."""
        oms = Oms()
        oms.health = STARTING
        when(2, lambda: oms.restart("standby"))
        verdict = await postsync(oms, VERIFY_RETURN_TO_ACTIVE="false")
        assert (verdict.cause, pagerduty.events) == (None, [])

    async def test_what_was_returned_by_an_operator_meanwhile_closes_it(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """One that did not trade at the first look, and does now."""
        oms = waiting(health=STARTING)
        when(2, lambda: oms.restart("active"))
        verdict = await postsync(oms, VERIFY_RETURN_TO_ACTIVE="false")
        assert (verdict.cause, pagerduty.events) == (None, [RESOLVED])

    async def test_a_deployment_that_failed_closes_nothing(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """Somebody is needed."""
        verdict = await postsync(waiting(health=STARTING), VERIFY_TIMEOUT_SECONDS="2")
        assert (verdict.cause, pagerduty.events) == (Cause.TIMED_OUT, [])

    async def test_a_relapse_closes_nothing(self, postsync: Postsync, pagerduty: PagerDuty) -> None:
        """Nor does what was healthy for a while."""
        oms = waiting()
        when(3, lambda: setattr(oms, "health", STARTING))
        await postsync(oms, VERIFY_SOAK_SECONDS="9")
        assert pagerduty.events == []

    async def test_without_a_routing_key_nobody_is_told(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """It is optional here."""
        verdict = await postsync(waiting(), PAGERDUTY_ROUTING_KEY="")
        assert (verdict.cause, pagerduty.events) == (None, [])

    async def test_it_is_tried_again_for_ten_seconds(self, postsync: Postsync, pagerduty: PagerDuty) -> None:
        """PagerDuty may only be busy."""
        pagerduty.answer = in_turn(answering(429), answering(503), answering(202))
        await postsync(waiting())
        assert [RESOLVED] * 3 == pagerduty.events

    DOWN: dict[str, Behaviour] = {  # noqa: RUF012
        "busy": answering(429, Retry_After="3600"),
        "failing": answering(500),
        "silent": silent,
        "hung up": hung_up,
        "a captive portal": answering(200, b"<html>"),
        "refusing": answering(400, {"status": "invalid event"}),
        "denying": answering(403),
    }

    @pytest.mark.parametrize("answer", DOWN.values(), ids=DOWN)
    async def test_a_good_deployment_never_fails_because_pagerduty_is_down(
        self, postsync: Postsync, pagerduty: PagerDuty, answer: Behaviour
    ) -> None:
        """It succeeds, ten seconds later at most, and says that the incident may be open."""
        pagerduty.answer = answer
        with capture_logs() as lines:
            verdict = await postsync(waiting())
        assert (verdict.cause, lines[-1]["event"]) == (None, "incident_not_resolved")
        assert clock() < 11

    @pytest.mark.parametrize("port", ["closed", "silent"])
    async def test_nor_because_it_cannot_be_reached(
        self, postsync: Postsync, pagerduty: PagerDuty, port: Any
    ) -> None:
        """No route, no failure."""
        pagerduty.port = port
        verdict = await postsync(waiting())
        assert verdict.cause is None
        assert clock() < 11

    async def test_nor_because_its_name_is_not_known(
        self, postsync: Postsync, pagerduty: PagerDuty, network: Network
    ) -> None:
        """No name, no failure."""
        del network.names["events.test"]
        verdict = await postsync(waiting())
        assert verdict.cause is None

    async def test_sigterm_while_it_is_resolved_ends_it_with_success(
        self, postsync: Postsync, pagerduty: PagerDuty
    ) -> None:
        """The deployment is verified; at once."""
        pagerduty.answer = silent
        verdict = await postsync(waiting(), stop=stopped_after(3))
        assert (verdict.cause, clock()) == (None, 3)


class TestSigterm:
    """SIGTERM ends it; nothing is to be undone: what is in standby stays there."""

    async def test_before_anything_is_asked(self, postsync: Postsync) -> None:
        """It asks nothing any more."""
        stop = asyncio.Event()
        stop.set()
        oms = waiting()
        verdict = await postsync(oms, stop=stop)
        assert (Cause.TERMINATED, []) == (verdict.cause, oms.requests)

    @pytest.mark.parametrize("answer", [silent, answering(503), answering(200, STARTING)])
    async def test_while_it_verifies(self, postsync: Postsync, answer: Behaviour) -> None:
        """At once, and nothing was returned."""
        oms = waiting()
        oms.health_answer = answer
        verdict = await postsync(oms, stop=stopped_after(2))
        assert (Cause.TERMINATED, [], 2) == (verdict.cause, oms.told, clock())
        assert verdict.reason == (
            f"SIGTERM before the deployment was verified and returned: oms-1:80 is standby ({PRESYNC})"
        )

    async def test_while_it_returns(self, postsync: Postsync) -> None:
        """At once."""
        oms = waiting()
        oms.switch_answer = silent
        verdict = await postsync(oms, stop=stopped_after(2))
        assert (Cause.TERMINATED, 2) == (verdict.cause, clock())


class Witness(Oms):
    """A target of a roll-out to which anything may happen; it notes what must not."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(
            chance.choice(["standby", "standby", "standby", "active", "starting", "draining"]),
            chance.choice([PRESYNC, PRESYNC, None, OPERATOR]),
        )
        self.chance = chance
        self.streak = 0
        """How many times in a row it said that it was healthy."""
        self.wronged: list[str] = []
        self.health_answer = self.tell
        self.switch_answer = self.take
        for _ in range(chance.randrange(6)):
            when(chance.uniform(0, 12), chance.choice(self.events()))

    def events(self) -> list[Callable[[], None]]:
        """Return what may happen to it."""
        return [
            self.restart_visibly,
            lambda: self.held_by(OPERATOR),
            lambda: self.held_by(OPERATOR, "active"),
            lambda: setattr(self, "mode", "standby"),
            lambda: setattr(self, "health", STARTING),
            lambda: setattr(self, "health", HEALTHY),
            lambda: setattr(self, "mode_answer", answering(503)),
            lambda: setattr(self, "mode_answer", self.tell_mode),
        ]

    def restart_visibly(self) -> None:
        """Be down for longer than looks are apart, then start with another version."""
        self.port = "closed"
        self.restart("standby", STARTING)
        when(1, lambda: setattr(self, "port", "open"))
        when(self.chance.uniform(1, 4), lambda: setattr(self, "health", HEALTHY))

    async def tell(self, request: Request) -> Reply:
        """Tell its health, and count."""
        self.streak = self.streak + 1 if self.health == HEALTHY else 0
        return await self.tell_health(request)

    async def take(self, request: Request) -> Reply:
        """Trade again, or not; note a request that should not have come."""
        if self.mode != "standby" or self.reason == OPERATOR or self.streak < 3:
            self.wronged.append(f"{self.mode} ({self.reason}), {self.streak} times healthy")
        well: list[Behaviour] = [self.switch] * 6
        badly = [lost(self.switch), answering(503), answering(202)]
        return await self.chance.choice(well + badly)(request)


class TestWhateverHappens:
    """Restarts, operators, illness and lost answers, at random."""

    @pytest.mark.parametrize("seed", range(40))
    async def test_nothing_is_returned_that_is_not_ours_and_verified(
        self, postsync: Postsync, seed: int
    ) -> None:
        """And a success means that every target trades or is held by somebody else."""
        random.seed(seed)  # the jitter of the looks
        chance = random.Random(seed)
        targets = [Witness(chance) for _ in range(chance.randint(1, 3))]
        verdict = await postsync(
            *targets,
            stop=stopped_after(chance.choice([99, 99, chance.uniform(0, 10)])),
            VERIFY_TIMEOUT_SECONDS="10",
            STANDBY_UNDO_SECONDS="5",
        )
        assert [] == [wrong for target in targets for wrong in target.wronged]
        if verdict.cause is None:
            assert [] == [
                (target.mode, target.reason)
                for target in targets
                if not (target.mode == "active" or (target.mode == "standby" and target.reason == OPERATOR))
            ]


@pytest.mark.looptime(False)  # noqa: FBT003  # as the mark takes it
class TestOverSockets:
    """The same over real connections."""

    async def test_three_replicas_start(self, loading: Loading) -> None:
        """All trade again, and the incident is closed."""
        with MockOms(replicas=3, startup_seconds=0.5, token="t0ken") as oms, MockPagerDuty() as pagerduty:
            given = loading(
                settings.Postsync,
                OMS_URL=oms.url,
                OMS_ADMIN_TOKEN="t0ken",
                PAGERDUTY_EVENTS_URL=pagerduty.url,
                PAGERDUTY_ROUTING_KEY=KEY,
                ARGOCD_APP_NAME="orders",
            )
            verdict = await decide(given, asyncio.Event())
            states = [replica.state.mode for replica in oms.replicas]
        assert (verdict.cause, states) == (None, ["active"] * 3)

    async def test_a_certificate_that_does_not_verify_ends_it_at_once(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """It will not become another while it is waited for."""
        peer = serving(hostile.Oms("standby").answers(), tls=authorities.server_of_unknown())
        given = loading(settings.Postsync, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file))
        verdict = await decide(given, asyncio.Event())
        assert (verdict.cause, peer.requests) == (Cause.REFUSED, [])
        assert "its certificate does not verify" in verdict.reason
