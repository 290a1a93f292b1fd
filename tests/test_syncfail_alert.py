"""syncfail-alert: what it gathers, recovers and says, and that nothing on the way costs the page; on a turned clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
import structlog

from hooks import syncfail_alert
from hooks.verdict import Cause, Verdict
from rehearsal.mock_pagerduty import errors_in
from tests.network import (
    HEALTHY,
    STARTING,
    Network,
    Oms,
    answered_late,
    answering,
    in_turn,
    silent,
    when,
)
from tests.network import PagerDuty as Receiver

pytestmark = pytest.mark.looptime

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "admin-token-Zx81kQ"
MINE = "argocd-sync/run-7"
FAILED = "oms: Argo CD sync failed"


class Alerted(NamedTuple):
    """How it ended, and what PagerDuty was told when; the event was held to PagerDuty's own rules."""

    verdict: Verdict
    event: Any
    at: float

    @property
    def summary(self) -> str:
        """What is read first."""
        return str(self.event["payload"]["summary"])

    @property
    def details(self) -> Any:
        """What is read next."""
        return self.event["payload"]["custom_details"]


class Alert(Protocol):
    """Plays the whole command about these targets, called oms-1, oms-2 and so on."""

    async def __call__(self, *targets: Oms, **variables: str) -> Alerted: ...


@pytest.fixture
def pagerduty(network: Network) -> Receiver:
    """Accept every event."""
    receiver = Receiver()
    network.add("pagerduty.test", receiver)
    return receiver


@pytest.fixture
def chat(network: Network) -> Receiver:
    """Take every message."""
    receiver = Receiver()
    network.add("chat.test", receiver)
    return receiver


@pytest.fixture
def stop() -> asyncio.Event:
    """Return what SIGTERM sets."""
    return asyncio.Event()


@pytest.fixture
def alert(
    network: Network, pagerduty: Receiver, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> Alert:
    """Alert as the process does, but for the process."""

    async def alert(*targets: Oms, **variables: str) -> Alerted:
        names = [f"oms-{number}" for number in range(1, len(targets) + 1)]
        for name, target in zip(names, targets, strict=True):
            network.add(name, target)
        environment = {
            "PAGERDUTY_ROUTING_KEY": KEY,
            "PAGERDUTY_EVENTS_URL": "http://pagerduty.test/v2/enqueue",
            "ARGOCD_APP_NAME": "oms",
            "OMS_URL": ",".join(f"http://{name}" for name in names),
            "OMS_ADMIN_TOKEN": TOKEN,
            "HOOK_RUN_ID": "run-7",
            # Longer than whatever is to bound it.
            "OMS_ATTEMPT_TIMEOUT_SECONDS": "60",
        }
        for name, value in (environment | variables).items():
            monkeypatch.setenv(name, value)
        verdict = await syncfail_alert.decide(syncfail_alert.load(), stop)
        event = pagerduty.events[-1] if pagerduty.events else None
        assert event is None or errors_in(event) == []
        return Alerted(verdict, event, round(pagerduty.requests[0].at, 3) if event else -1)

    return alert


def modes_of(alerted: Alerted) -> list[str]:
    """Return in which mode each target was seen last, as the details tell."""
    return [told["mode"] for told in alerted.details["targets"].values()]


# What it gathers


async def test_mode_and_health_of_every_target_are_asked_for_all_at_once(alert: Alert) -> None:
    """The page waits for the slowest answer, not for the sum of them."""
    targets = [Oms(), Oms("standby", MINE), Oms("draining", MINE)]
    for target in targets:
        target.mode_answer = answered_late(2, target.tell_mode)
        target.health_answer = answered_late(3, target.tell_health)

    alerted = await alert(*targets)

    for target in targets:
        assert sorted((request.at, request.path) for request in target.requests) == [
            (0, "/health/deep"),
            (0, "/health/mode"),
        ]
    assert alerted.verdict.cause is None
    assert alerted.at == 3
    assert alerted.verdict.targets == {
        "oms-1:80": {
            "mode": "active",
            "owner": None,
            "mode_document": {"mode": "active", "reason": None},
            "health_document": HEALTHY,
        },
        "oms-2:80": {
            "mode": "standby",
            "owner": MINE,
            "mode_document": {"mode": "standby", "reason": MINE},
            "health_document": HEALTHY,
        },
        "oms-3:80": {
            "mode": "other",
            "owner": MINE,
            "mode_document": {"mode": "draining", "reason": MINE},
            "health_document": HEALTHY,
        },
    }


def _hanging_name(network: Network, _: Oms) -> None:
    network.names["oms-1"] = None


def _hanging_connection(_: Network, target: Oms) -> None:
    target.port = "silent"


def _hanging_mode(_: Network, target: Oms) -> None:
    target.mode_answer = silent


def _hanging_health(_: Network, target: Oms) -> None:
    target.health_answer = silent


NOT_READ = "oms-1:80 cannot be read: not known to trade"


@pytest.mark.parametrize(
    ("hangs", "every_pod", "told"),
    [
        pytest.param(_hanging_name, "false", NOT_READ, id="the resolver, as part of the connection"),
        pytest.param(_hanging_name, "true", "oms-1 is not resolved", id="the resolver, for every pod"),
        pytest.param(_hanging_connection, "false", NOT_READ, id="the connection"),
        pytest.param(_hanging_mode, "false", NOT_READ, id="the mode"),
        pytest.param(_hanging_health, "false", "oms-1:80 is in standby: not trading", id="the health"),
    ],
)
@pytest.mark.parametrize(("given", "seconds"), [("", 5), ("2", 2)], ids=["by default", "as it is set"])
async def test_gathering_is_bounded_whatever_hangs(
    given: str,
    seconds: float,
    hangs: Callable[[Network, Oms], None],
    every_pod: str,
    told: str,
    network: Network,
    alert: Alert,
) -> None:
    """After ALERT_GATHER_SECONDS the page goes out, with what is known by then."""
    target = Oms("standby", MINE)
    network.add("oms-1", target)
    hangs(network, target)

    alerted = await alert(OMS_URL="http://oms-1", OMS_EVERY_POD=every_pod, ALERT_GATHER_SECONDS=given)

    assert alerted.verdict.cause is None
    assert alerted.at == seconds
    assert alerted.summary.startswith(f"{FAILED}; {told}")


async def test_a_target_that_hangs_takes_no_fact_of_another(alert: Alert) -> None:
    """What can be known of the others is known."""
    hanging, other = Oms(), Oms("standby", MINE)
    hanging.port = "silent"

    alerted = await alert(hanging, other)

    assert alerted.at == 5
    assert alerted.summary == f"{FAILED}; {NOT_READ}; oms-2:80 is in standby: not trading"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(401), id="401"),
        pytest.param(answering(403), id="403"),
        pytest.param(answering(404), id="404"),
        pytest.param(answering(429, Retry_After="60"), id="429"),
        pytest.param(answering(503), id="503"),
        pytest.param(answering(200, b"<html>"), id="no JSON"),
        pytest.param(answering(200, b'{"mode": NaN}'), id="NaN"),
        pytest.param(answering(200, 5000 * b"[" + 5000 * b"]"), id="nested too deeply"),
        pytest.param(answering(200, b'"' + 2_000_000 * b"x" + b'"'), id="too long"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_told_and_not_waited_for(alert: Alert, answer: Any) -> None:
    """Nothing that the OMS answers stops or delays the page; it is asked once."""
    target = Oms()
    target.mode_answer = target.health_answer = answer

    alerted = await alert(target)

    assert alerted.verdict.cause is None
    assert alerted.at == 0
    assert alerted.summary == f"{FAILED}; {NOT_READ}"
    assert alerted.details["targets"]["oms-1:80"]["mode"].startswith("unreadable: answered ")
    assert len(target.requests) == 2


async def test_a_closed_port_and_an_unknown_name_are_told(network: Network, alert: Alert) -> None:
    """Who reads the page sees which of them it is."""
    closed = Oms()
    closed.port = "closed"
    network.add("closed", closed)

    alerted = await alert(OMS_URL="http://closed,http://unknown")

    assert "cannot be read: not known to trade" in alerted.summary
    assert {name: told["mode"] for name, told in alerted.details["targets"].items()} == {
        "closed:80": "unreadable: connection refused",
        "unknown:80": "unreadable: its name is not resolved: name or service not known",
    }


async def test_every_pod_of_a_name_is_asked(network: Network, alert: Alert) -> None:
    """With OMS_EVERY_POD each address is a target of its own, called by its address."""
    network.add("oms", Oms("standby", MINE), Oms("active"))

    alerted = await alert(OMS_URL="http://oms:8080", OMS_EVERY_POD="true")

    standing, trading = network.names["oms"]  # type: ignore[misc]  # two addresses
    assert alerted.summary == (
        f"{FAILED}; {standing}:8080 is in standby: not trading; {trading}:8080 is active: trading"
    )


async def test_a_name_that_is_not_resolved_is_told(network: Network, alert: Alert) -> None:
    """There is no target to say anything of: the page says why."""
    alerted = await alert(OMS_URL="http://oms", OMS_EVERY_POD="true")

    assert alerted.at == 0
    assert "oms is not resolved (name or service not known)" in alerted.summary


async def test_fewer_addresses_than_there_should_be_are_told(network: Network, alert: Alert) -> None:
    """A pod that has left its name may hold orders all the same."""
    network.add("oms", Oms())

    alerted = await alert(OMS_URL="http://oms", OMS_EVERY_POD="true", OMS_MIN_TARGETS="3")

    assert "1 of at least 3 addresses are there" in alerted.details["notes"]


async def test_without_an_oms_the_page_says_so(alert: Alert) -> None:
    """OMS_URL is optional here: a page that lacks a fact beats no page."""
    alerted = await alert()

    assert alerted.at == 0
    assert alerted.summary.startswith(f"{FAILED}; OMS_URL is unset")
    assert "targets" not in alerted.details


async def test_without_a_name_it_pages_for_an_unknown_application(alert: Alert) -> None:
    """And says which variable is unset."""
    alerted = await alert(Oms(), ARGOCD_APP_NAME="")

    assert alerted.verdict.cause is None
    assert alerted.summary == (
        "unknown (ARGOCD_APP_NAME is unset): Argo CD sync failed; oms-1:80 is active: trading"
    )
    assert alerted.event["dedup_key"] == "argocd-sync/argocd/unknown"
    assert alerted.details["application"] == "argocd/unknown"


# A faulty environment


FAULTS = {
    "OMS_URL": "ftp://oms",
    "OMS_MIN_TARGETS": "none",
    "OMS_ADMIN_TOKEN": "töken",
    "OMS_CA_FILE": "/does/not/exist",
    "OMS_CLIENT_CERT_FILE": "/does/not/exist",
    "OMS_MODE_PATH": "health",
    "OMS_STANDBY_CONDITION": ".mode ==",
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "0",
    "VERIFY_CONDITION": "](",
    "VERIFY_CONSECUTIVE": "0",
    "STANDBY_UNDO_SECONDS": "inf",
    "ALERT_TIMEOUT_SECONDS": "-1",
    "ALERT_GATHER_SECONDS": "soon",
    "ALERT_RECOVERY": "yes please",
    "ALERT_RUNBOOK_URL": "runbook",
    "ALERT_FALLBACK_URL": "slack",
    "ALERT_FALLBACK_AFTER_SECONDS": "nan",
    "PAGERDUTY_SEVERITY": "high",
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "10s",
    "ARGOCD_URL": "argocd.example",
    "SECRETS_DIR": "/does/not/exist",
    "LOG_LEVEL": "loud",
    "LOG_FORMAT": "xml",
}


@pytest.mark.parametrize(
    "faults",
    [
        *(pytest.param({name: value}, id=name) for name, value in FAULTS.items()),
        pytest.param(FAULTS, id="all at once"),
        pytest.param({"OMS_CLIENT_KEY_FILE": "/does/not/exist"}, id="OMS_CLIENT_KEY_FILE"),
    ],
)
async def test_a_fault_becomes_the_default_and_is_named(faults: dict[str, str], alert: Alert) -> None:
    """In the page, and in the log; the page goes out with the default severity and in the default time."""
    with structlog.testing.capture_logs() as lines:
        alerted = await alert(Oms("standby", MINE), **faults)

    assert alerted.verdict.cause is None
    assert alerted.at == 0
    assert alerted.event["payload"]["severity"] == "critical"
    told = alerted.details["faults_of_the_environment"]
    assert told.keys() == faults.keys()
    logged = [line for line in lines if line["event"] == "variable_not_usable"]
    assert {line["variable"]: line["reason"] for line in logged} == told
    assert {line["log_level"] for line in logged} == {"error"}
    assert not any(faults[name] in fault for name, fault in told.items() if len(faults[name]) > 4)


async def test_an_environment_that_is_not_utf8_costs_no_page(
    monkeypatch: pytest.MonkeyPatch, alert: Alert
) -> None:
    """Such bytes arrive as lone surrogates, in which no event can be written."""
    for name in ("PAGERDUTY_DEDUP_KEY", "PAGERDUTY_SOURCE", "ARGOCD_URL", "OMS_URL", "ALERT_FALLBACK_URL"):
        monkeypatch.setenv(name, f"http://us\udcff:er@{300 * 'h'}")

    alerted = await alert(ARGOCD_APP_NAME="oms\udcff", OMS_URL="http://us\udcff:er@oms-1")

    assert alerted.verdict.cause is None
    assert {"ARGOCD_APP_NAME", "PAGERDUTY_DEDUP_KEY", "OMS_URL"} <= alerted.details[
        "faults_of_the_environment"
    ].keys()


@pytest.mark.parametrize("name", ["ARGOCD_URL", "PAGERDUTY_SOURCE", "ALERT_GATHER_SECONDS"])
async def test_a_fault_rules_recovery_out(name: str, alert: Alert) -> None:
    """Nobody meant this environment: nothing is returned to trading in it."""
    target = Oms("standby", MINE)

    alerted = await alert(target, **{name: "http://\udcff"}, ALERT_RECOVERY="return-to-active")

    assert target.told == []
    assert alerted.details["recovery"] == f"not tried: the environment has faults: {name}"


NO_PAGE = {
    "the key is missing": ({"PAGERDUTY_ROUTING_KEY": ""}, "PAGERDUTY_ROUTING_KEY: is missing"),
    "the address is none": (
        {"PAGERDUTY_EVENTS_URL": "events.pagerduty.com"},
        "PAGERDUTY_EVENTS_URL: is not an http(s) address",
    ),
    "both": (
        {"PAGERDUTY_ROUTING_KEY": "", "PAGERDUTY_EVENTS_URL": "ftp://x"},
        "PAGERDUTY_EVENTS_URL: is not an http(s) address",
    ),
}
UNPAGEABLE = [pytest.param(*case, id=name) for name, case in NO_PAGE.items()]


@pytest.mark.parametrize(("faults", "named"), UNPAGEABLE)
async def test_without_pagerduty_a_fallback_is_told_before_it_ends_as_misconfigured(
    faults: dict[str, str], named: str, pagerduty: Receiver, chat: Receiver, alert: Alert
) -> None:
    """Somebody hears of the failed sync at once, and of what is wrong with the pager."""
    alerted = await alert(Oms("standby", MINE), **faults, ALERT_FALLBACK_URL="http://chat.test/x")

    assert alerted.verdict.cause is Cause.MISCONFIGURED
    assert named in alerted.verdict.reason
    assert "the page was delivered to fallback" in alerted.verdict.reason
    assert pagerduty.requests == []
    (message,) = chat.requests
    assert message.at == 0
    assert message.document["text"].startswith(f"{FAILED}; oms-1:80 is in standby: not trading\n")
    for name in faults:
        assert name in message.document["text"]


@pytest.mark.parametrize(("faults", "named"), UNPAGEABLE)
async def test_without_any_way_it_ends_at_once_as_misconfigured(
    faults: dict[str, str], named: str, pagerduty: Receiver, alert: Alert
) -> None:
    """There is nobody to tell, and the reason says what is to be set."""
    alerted = await alert(**faults)

    assert alerted.verdict.cause is Cause.MISCONFIGURED
    assert named in alerted.verdict.reason
    assert "nobody was told" in alerted.verdict.reason
    assert pagerduty.requests == []
    assert asyncio.get_running_loop().time() == 0


async def test_a_fallback_that_fails_is_named_with_the_misconfiguration(chat: Receiver, alert: Alert) -> None:
    """It was tried to the end of the time."""
    chat.answer = answering(404, b"no_team")

    alerted = await alert(PAGERDUTY_ROUTING_KEY="", ALERT_FALLBACK_URL="http://chat.test/x")

    assert alerted.verdict.cause is Cause.MISCONFIGURED
    assert "PAGERDUTY_ROUTING_KEY: is missing" in alerted.verdict.reason
    assert "fallback: 404 no_team" in alerted.verdict.reason
    assert 299 < asyncio.get_running_loop().time() <= 300


# Recovery


RECOVER = {"ALERT_RECOVERY": "return-to-active"}


async def test_by_default_nothing_is_recovered(alert: Alert) -> None:
    """It only tells."""
    target = Oms("standby", MINE)

    alerted = await alert(target)

    assert target.told == []
    assert "recovery" not in alerted.details


async def test_what_is_ours_and_healthy_is_returned_to_trading(alert: Alert) -> None:
    """Each target in standby is told once, by our name; the page waits for it and says how it ended."""
    standing, other, trading = Oms("standby", MINE), Oms("standby", "argocd-sync/run-6"), Oms()

    alerted = await alert(standing, other, trading, **RECOVER)

    assert (standing.told, other.told, trading.told) == ([("active", MINE)], [("active", MINE)], [])
    assert modes_of(alerted) == ["active", "active", "active"]
    assert "not trading" not in alerted.summary
    assert alerted.details["recovery"].startswith("returned ")
    assert alerted.details["recovery"] in alerted.summary
    assert 0.3 < alerted.at < 2


async def test_healthy_means_so_many_looks_in_a_row(alert: Alert) -> None:
    """VERIFY_CONSECUTIVE is obeyed: two healthy looks are none."""
    target = Oms("standby", MINE)
    healths = [HEALTHY, HEALTHY, STARTING, HEALTHY, HEALTHY, HEALTHY]
    target.health_answer = in_turn(*(answering(200, health) for health in [HEALTHY, *healths]))

    alerted = await alert(target, **RECOVER, VERIFY_POLL_SECONDS="1")

    assert target.told == [("active", MINE)]
    assert 4 < alerted.at < 8
    assert len(target.asked("/health/deep")) >= 7


async def test_the_page_waits_for_a_confirmation_until_its_time_is_over(alert: Alert) -> None:
    """An OMS that says yes and does nothing does not trade."""
    target = Oms("standby", MINE)
    target.switch_answer = answering(202)

    alerted = await alert(target, **RECOVER)

    assert alerted.verdict.cause is None
    assert alerted.at == 10
    assert modes_of(alerted) == ["standby"]
    assert alerted.details["recovery"].startswith("failed: not returned to trading within ")


@pytest.mark.parametrize(("given", "seconds"), [("", 10), ("3", 3)], ids=["by default", "as it is set"])
async def test_what_is_not_healthy_is_not_returned(given: str, seconds: float, alert: Alert) -> None:
    """One target that is starting keeps all in standby; recovery is over within STANDBY_UNDO_SECONDS."""
    healthy, starting = Oms("standby", MINE), Oms("standby", MINE)
    starting.health = STARTING

    alerted = await alert(healthy, starting, **RECOVER, STANDBY_UNDO_SECONDS=given)

    assert (healthy.told, starting.told) == ([], [])
    assert alerted.at == seconds
    assert alerted.details["recovery"] == (
        f"failed: not healthy within {seconds} s: oms-2:80 is not what VERIFY_CONDITION asks for"
    )


async def test_recovery_as_a_whole_is_bounded(alert: Alert) -> None:
    """What health has used up of STANDBY_UNDO_SECONDS is gone."""
    target = Oms("standby", MINE)
    target.health = STARTING
    target.switch_answer = silent
    when(8, lambda: setattr(target, "health", HEALTHY))

    alerted = await alert(target, **RECOVER)

    assert target.told == [("active", MINE)]
    assert alerted.at == 10


async def test_a_refused_switch_is_told(alert: Alert) -> None:
    """The page says what the OMS said."""
    target = Oms("standby", MINE)
    target.switch_answer = answering(409, b"not now")

    alerted = await alert(target, **RECOVER)

    assert alerted.at < 2
    assert alerted.details["recovery"] == "failed: oms-1:80 refused to trade again: 409 not now"
    assert modes_of(alerted) == ["standby"]


@pytest.mark.parametrize(
    ("owner", "variables"),
    [
        pytest.param("operator/jane", {}, id="an operator"),
        pytest.param("argocd-synchronous", {}, id="an owner that only begins like us"),
        pytest.param(None, {"OMS_UNNAMED_IS_OURS": "false"}, id="nobody, where that is not us"),
    ],
)
async def test_where_somebody_else_holds_one_nothing_is_returned(
    owner: str | None, variables: dict[str, str], alert: Alert
) -> None:
    """Not even what is ours: a person is at it already. The page names which."""
    ours, other = Oms("standby", MINE), Oms("standby", owner)

    alerted = await alert(ours, other, **RECOVER, **variables)

    assert (ours.told, other.told) == ([], [])
    assert alerted.at == 0
    assert alerted.details["recovery"] == "not tried: somebody else holds oms-2:80"


async def test_a_standby_that_names_nobody_is_ours(alert: Alert) -> None:
    """An OMS that starts in standby names nobody."""
    target = Oms("standby")

    await alert(target, **RECOVER)

    assert target.told == [("active", MINE)]


async def test_where_one_cannot_be_read_nothing_is_returned(alert: Alert) -> None:
    """Unknown is no."""
    ours, unreadable = Oms("standby", MINE), Oms()
    unreadable.mode_answer = answering(503, b"later")

    alerted = await alert(ours, unreadable, **RECOVER)

    assert (ours.told, unreadable.told) == ([], [])
    assert alerted.details["recovery"] == "not tried: oms-2:80 cannot be read (answered 503 later)"


async def test_where_addresses_are_missing_nothing_is_returned(network: Network, alert: Alert) -> None:
    """What is not known to be all is not verified."""
    ours = Oms("standby", MINE)
    network.add("oms", ours)

    alerted = await alert(OMS_URL="http://oms", OMS_EVERY_POD="true", OMS_MIN_TARGETS="2", **RECOVER)

    assert ours.told == []
    assert alerted.details["recovery"].endswith("1 of at least 2 addresses are there")


@pytest.mark.parametrize("url", ["", "http://unknown"], ids=["no OMS_URL", "no address"])
async def test_without_a_target_there_is_nothing_to_return(url: str, alert: Alert) -> None:
    """And the page says so."""
    alerted = await alert(OMS_URL=url, OMS_EVERY_POD="true", **RECOVER)

    assert alerted.at == 0
    assert alerted.details["recovery"] == "not tried: no target is known"


async def test_where_all_trade_nothing_is_sent_and_nothing_is_claimed(alert: Alert) -> None:
    """A person must not read that something was returned which never stood."""
    target = Oms()

    alerted = await alert(target, **RECOVER)

    assert target.told == []
    assert "returned" not in alerted.details["recovery"]


async def test_what_an_operator_takes_meanwhile_is_left_and_told(alert: Alert) -> None:
    """Nothing is sent to it, and the page does not say that it trades."""
    target, taken = Oms("standby", MINE), Oms("standby", MINE)
    when(0.3, lambda: taken.held_by("operator/jane"))

    alerted = await alert(target, taken, **RECOVER)

    assert taken.told == []
    assert modes_of(alerted) == ["active", "standby"]
    assert "oms-1:80" in alerted.details["recovery"]
    assert "somebody else" in alerted.details["recovery"]
    assert "operator/jane" in alerted.summary


# SIGTERM


async def test_sigterm_before_anything_pages_at_once(alert: Alert, stop: asyncio.Event) -> None:
    """The OMS is not even asked; the page does not say that it cannot be read."""
    target = Oms("standby", MINE)
    stop.set()

    alerted = await alert(target)

    assert alerted.verdict.cause is None
    assert alerted.at == 0
    assert alerted.summary.startswith(f"{FAILED}; ")
    assert "SIGTERM" in alerted.details["notes"]


async def test_sigterm_while_gathering_pages_with_what_is_known(alert: Alert, stop: asyncio.Event) -> None:
    """It ends the gathering, and the code is 0 since the page was delivered."""
    known, hanging = Oms("standby", MINE), Oms()
    hanging.port = "silent"
    when(1, stop.set)

    alerted = await alert(known, hanging)

    assert alerted.verdict.cause is None
    assert alerted.at == 1
    assert "oms-1:80 is in standby: not trading" in alerted.summary
    assert "oms-2:80" in alerted.summary
    assert alerted.details["notes"] == "SIGTERM cut the gathering of facts short"


async def test_sigterm_while_recovering_pages_at_once(alert: Alert, stop: asyncio.Event) -> None:
    """The page says that the recovery was not finished, and what was seen last."""
    target = Oms("standby", MINE)
    target.switch_answer = silent
    when(4, stop.set)

    alerted = await alert(target, **RECOVER)

    assert target.told == [("active", MINE)]
    assert alerted.verdict.cause is None
    assert alerted.at == 4
    assert alerted.details["recovery"] == "not finished"
    assert "oms-1:80 is in standby: not trading" in alerted.summary


async def test_sigterm_while_pagerduty_is_silent_tells_the_fallback(
    pagerduty: Receiver, chat: Receiver, alert: Alert, stop: asyncio.Event
) -> None:
    """The page that can still be sent is sent."""
    pagerduty.answer = silent
    when(3, stop.set)

    alerted = await alert(Oms(), ALERT_FALLBACK_URL="http://chat.test/x")

    assert alerted.verdict.cause is None
    assert [round(request.at, 3) for request in chat.requests] == [4]


# Bugs


async def test_a_bug_while_gathering_is_told_in_the_page(alert: Alert) -> None:
    """The page lacks a fact, and says so; the log holds the traceback."""
    with structlog.testing.capture_logs() as lines:
        # This network knows no TLS: as good a bug as any.
        alerted = await alert(Oms(), OMS_URL="https://oms-1")

    assert alerted.verdict.cause is None
    assert alerted.at == 0
    assert "NotImplementedError" in alerted.details["notes"]
    assert ["gathering_broke"] == [line["event"] for line in lines if line["log_level"] == "error"]


async def test_a_bug_while_composing_costs_the_facts_and_not_the_page(
    monkeypatch: pytest.MonkeyPatch, alert: Alert
) -> None:
    """What an event must have goes out, under the same key."""

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    # No document is known that breaks it.
    monkeypatch.setattr(syncfail_alert, "modes_in_words", broken)

    with structlog.testing.capture_logs() as lines:
        alerted = await alert(Oms())

    assert alerted.verdict.cause is None
    assert alerted.summary == f"{FAILED}; whether the OMS trades could not be said"
    assert alerted.event["dedup_key"] == "argocd-sync/argocd/oms"
    assert "composing_broke" in [line["event"] for line in lines]


# The words


async def test_the_summary_says_what_first_and_who_does_not_trade_before_who_does(alert: Alert) -> None:
    """The words are held by the pages in golden/."""
    alerted = await alert(Oms(), Oms("standby", MINE), Oms("starting"), Oms())

    told = alerted.summary
    assert told.startswith(f"{FAILED}; ")
    assert max(told.index("oms-2:80"), told.index("oms-3:80")) < min(
        told.index("oms-1:80"), told.index("oms-4:80")
    )


async def test_an_operators_name_is_in_the_summary(alert: Alert) -> None:
    """Whose standby it is decides what may be done about it."""
    alerted = await alert(Oms("standby", "operator/jane: INC-4711"))

    assert "operator/jane: INC-4711" in alerted.summary


async def test_a_summary_of_many_modes_is_cut_at_the_end_of_what_matters(alert: Alert) -> None:
    """A thousand characters of those that do not trade come before those that do."""
    targets = [Oms(f"mode-{number}") for number in range(60)]

    alerted = await alert(Oms(), *targets)

    assert len(alerted.summary) == 1024
    assert alerted.summary.startswith(f"{FAILED}; oms-2:80 is mode-0: not trading; ")
    assert alerted.summary.endswith("…")
    assert "oms-1:80" not in alerted.summary


async def test_a_mode_in_odd_characters_stays_on_its_line(alert: Alert) -> None:
    """What an OMS calls its mode is read out by a telephone."""
    alerted = await alert(Oms("drai\n\nning\x00\x1b[31m\u2028" + 5000 * "x"))

    assert alerted.summary.isprintable()
    assert len(alerted.summary) < 200


async def test_the_details_hold_all_that_is_known(alert: Alert) -> None:
    """Both documents whole, whose standby it is and since when, and what to do."""
    target = Oms("standby", "argocd-sync/run-6")
    document = {"mode": "standby", "reason": "argocd-sync/run-6", "since": 1767323045, "orders": {"open": 3}}
    target.mode_answer = answering(200, document)
    target.health_answer = answering(503, STARTING)

    alerted = await alert(target)

    assert alerted.details["application"] == "argocd/oms"
    assert alerted.details["targets"] == {
        "oms-1:80": {
            "mode": "standby",
            "owner": "argocd-sync/run-6",
            "since": "2026-01-02T03:04:05+00:00",
            "mode_document": document,
            "health_problem": f"answered 503 {str(STARTING).replace(chr(39), chr(34))}",
            "health_document": STARTING,
        }
    }
    assert "return-to-active" in alerted.details["return_to_active"]
    assert "faults_of_the_environment" not in alerted.details


async def test_the_command_that_returns_it_names_the_namespace_where_that_is_known(
    alert: Alert, tmp_path: Path
) -> None:
    """It is to be copied from a phone and run as it is."""
    (tmp_path / "namespace").write_text("trading\n")

    alerted = await alert(Oms("standby", MINE), SERVICE_ACCOUNT_DIR=str(tmp_path))

    assert alerted.details["return_to_active"].startswith("kubectl -n trading create job oms-return-")


async def test_what_it_is_about_is_told_as_pagerduty_wants_it(alert: Alert) -> None:
    """Source, component, group, class and links come from the environment."""
    alerted = await alert(
        PAGERDUTY_SOURCE="argo-eu",
        PAGERDUTY_COMPONENT="order-manager",
        PAGERDUTY_SEVERITY="warning",
        ARGOCD_APP_NAMESPACE="team-a",
        ARGOCD_URL="https://argo.example",
        ALERT_RUNBOOK_URL="https://runbook.example/oms?page=1",
    )

    application = "https://argo.example/applications/team-a/oms?operation=true"
    assert alerted.event["dedup_key"] == "argocd-sync/argo.example/team-a/oms"
    payload = {
        name: alerted.event["payload"][name] for name in ("source", "component", "severity", "group", "class")
    }
    assert payload == {
        "source": "argo-eu",
        "component": "order-manager",
        "severity": "warning",
        "group": "team-a",
        "class": "argocd-sync-failed",
    }
    assert alerted.event["links"] == [
        {"href": application, "text": "Application"},
        {"href": "https://runbook.example/oms?page=1", "text": "Runbook"},
    ]
    assert (alerted.event["client"], alerted.event["client_url"]) == ("Argo CD", application)


async def test_by_default_the_component_is_the_application(alert: Alert) -> None:
    """And the source is Argo CD."""
    alerted = await alert()

    assert (alerted.event["payload"]["source"], alerted.event["payload"]["component"]) == ("argocd", "oms")


async def test_a_user_in_argo_cds_address_is_not_paged_around(alert: Alert) -> None:
    """A link is for people, who log in as themselves."""
    alerted = await alert(ARGOCD_URL="https://admin:pa55word@argo.example")

    assert "pa55word" not in str(alerted.event)
