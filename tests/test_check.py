"""--check: what it finds on an OMS as it is, and the code that it ends with."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Protocol

import pytest
from structlog.testing import capture_logs

from hooks import check, settings
from hooks.verdict import Cause, Verdict
from tests.conftest import Loading, Serving
from tests.hostile import oms as hostile
from tests.hostile.certificates import Authorities
from tests.network import (
    STARTING,
    Behaviour,
    Network,
    Oms,
    PagerDuty,
    answering,
    hung_up,
    silent,
)

pytestmark = pytest.mark.looptime(noop_cycles=3)

ALL_GOOD = "every target could be read and every expression could be tried"
KINDS = {
    "presync-standby": settings.Standby,
    "postsync-verify": settings.Postsync,
    "syncfail-alert": settings.AlertByPagerDuty,
    "return-to-active": settings.Verification,
    "standby-watchdog": settings.Watch,
}


class Checking(Protocol):
    """Checks the settings of one command on this OMS; returns the verdict and what was found, as it was logged."""

    async def __call__(
        self, *targets: Oms, kind: type[settings.Logging] = settings.Standby, **variables: str
    ) -> tuple[Verdict, list[Any]]: ...


@pytest.fixture
def checking(network: Network, loading: Loading) -> Checking:
    """Check, with all that any command must have."""

    async def tried(
        *targets: Oms, kind: type[settings.Logging] = settings.Standby, **variables: str
    ) -> tuple[Verdict, list[Any]]:
        names = [f"oms-{number}" for number, _ in enumerate(targets, 1)]
        for name, target in zip(names, targets, strict=True):
            network.add(name, target)
        given = {
            "OMS_URL": ",".join(f"http://{name}" for name in names),
            "PAGERDUTY_ROUTING_KEY": "r0ut1ngkeyr0ut1ngkeyr0ut1ngkey99",
            "PAGERDUTY_EVENTS_URL": "http://events.test/v2/enqueue",
            "ARGOCD_APP_NAME": "orders",
            **variables,
        }
        loaded = loading(kind, **given)
        with capture_logs() as lines:
            verdict = await check.tried(loaded)
        return verdict, [line for line in lines if line["event"] == "checked"]

    return tried


def found(lines: list[Any]) -> dict[str, str]:
    return {line["tried"]: line["found"] for line in lines}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_every_command_can_be_checked(
    checking: Checking, network: Network, kind: type[settings.Logging]
) -> None:
    """Mode and health of each target are read; nothing is switched, nobody is paged."""
    first, second, pagerduty = Oms(), Oms("standby", "operator/alice"), PagerDuty()
    network.add("events.test", pagerduty)
    verdict, lines = await checking(first, second, kind=kind)
    assert (verdict.cause, verdict.reason) == (None, ALL_GOOD)
    assert ["oms-1:80", "oms-2:80"] == list(dict.fromkeys(line["target"] for line in lines))
    assert [["/health/mode", "/health/deep"]] * 2 == [
        [request.path for request in oms.requests] for oms in (first, second)
    ]
    assert pagerduty.requests == []


async def test_what_was_found_is_told(checking: Checking) -> None:
    """Each document's state, and what each expression yields for it."""
    _, lines = await checking(Oms("standby", "argocd-sync/run-1"), STANDBY_GUARD_CONDITION=".status")
    assert found(lines) == {
        "mode": "standby (argocd-sync/run-1)",
        "OMS_STANDBY_CONDITION": "true",
        "OMS_ACTIVE_CONDITION": "false",
        "OMS_OWNER_FILTER": '"argocd-sync/run-1"',
        "health": "readable",
        "STANDBY_GUARD_CONDITION": '"healthy"',
    }


async def test_the_verdict_holds_what_was_seen(checking: Checking) -> None:
    """As every verdict does."""
    verdict, _ = await checking(Oms())
    assert verdict.targets == {
        "oms-1:80": {
            "mode": "active",
            "owner": None,
            "mode_document": {"mode": "active", "reason": None},
            "health_document": {"status": "healthy", "exchange_connections": "all_connected"},
        }
    }


async def test_without_an_oms_there_is_nothing_to_try(loading: Loading) -> None:
    """syncfail-alert can do without one."""
    given = loading(settings.AlertByPagerDuty, PAGERDUTY_ROUTING_KEY="r0ut1ngkeyr0ut1ngkeyr0ut1ngkey99")
    assert Verdict(None, "the settings can be used; there is no OMS_URL to try") == await check.tried(given)


@pytest.mark.parametrize(
    ("health", "told"),
    [
        pytest.param(answering(200, STARTING), "readable", id="starting"),
        pytest.param(answering(503, STARTING), "answered 503", id="unavailable"),
        pytest.param(answering(404, STARTING), "answered 404", id="not found, and JSON all the same"),
        pytest.param(answering(200, ["healthy"]), "readable", id="a document on which expressions err"),
    ],
)
async def test_an_unhealthy_oms_is_told_not_failed(checking: Checking, health: Behaviour, told: str) -> None:
    """Nor is an expression that errors on its health."""
    oms = Oms()
    oms.health_answer = health
    verdict, lines = await checking(oms, kind=settings.Postsync, VERIFY_FAIL_CONDITION=".broken")
    assert verdict.cause is None
    assert found(lines)["health"].startswith(told)


async def test_an_expression_that_errs_on_the_health_is_told(checking: Checking) -> None:
    """With jq's own words."""
    oms = Oms()
    oms.health = ["healthy"]
    _, lines = await checking(oms, kind=settings.Verification)
    assert found(lines)["VERIFY_CONDITION"].startswith("error: Cannot index array")


MODES: Mapping[str, tuple[Behaviour, Cause]] = {
    "denied": (answering(401), Cause.REFUSED),
    "forbidden": (answering(403, {"mode": "active"}), Cause.REFUSED),
    "not found": (answering(404), Cause.TIMED_OUT),
    "unavailable": (answering(503, {"mode": "active"}), Cause.TIMED_OUT),
    "redirected": (answering(302, Location="/elsewhere"), Cause.TIMED_OUT),
    "not JSON": (answering(200, b"active"), Cause.TIMED_OUT),
    "hung up": (hung_up, Cause.TIMED_OUT),
    "silent": (silent, Cause.TIMED_OUT),
    "a document on which expressions err": (answering(200, ["active"]), Cause.MISCONFIGURED),
}


@pytest.mark.parametrize(("answer", "cause"), MODES.values(), ids=MODES)
async def test_a_mode(checking: Checking, answer: Behaviour, cause: Cause) -> None:
    """Refused is 1, an OMS_* expression that errors on the real document 2, no JSON 3; the target is named."""
    good, bad = Oms(), Oms()
    bad.mode_answer = answer
    verdict, _ = await checking(good, bad)
    assert verdict.cause is cause
    assert verdict.reason.startswith("oms-2:80: ")
    assert "oms-1" not in verdict.reason


HEALTHS: Mapping[str, tuple[Behaviour, Cause]] = {
    "denied": (answering(401), Cause.REFUSED),
    "forbidden": (answering(403, STARTING), Cause.REFUSED),
    "not found": (answering(404), Cause.TIMED_OUT),
    "not JSON": (answering(200, b"healthy"), Cause.TIMED_OUT),
    "unavailable and not JSON": (answering(503, b"starting"), Cause.TIMED_OUT),
    "hung up": (hung_up, Cause.TIMED_OUT),
    "silent": (silent, Cause.TIMED_OUT),
}


@pytest.mark.parametrize(("answer", "cause"), HEALTHS.values(), ids=HEALTHS)
async def test_a_health(checking: Checking, answer: Behaviour, cause: Cause) -> None:
    """Refused is 1, no JSON 3; the target is named."""
    good, bad = Oms(), Oms()
    bad.health_answer = answer
    verdict, _ = await checking(good, bad)
    assert verdict.cause is cause
    assert verdict.reason.startswith("oms-2:80: health: ")


@pytest.mark.parametrize(
    "variable", ["OMS_STANDBY_CONDITION", "OMS_ACTIVE_CONDITION", "OMS_OWNER_FILTER", "OMS_SINCE_FILTER"]
)
@pytest.mark.parametrize("expression", ['error("x")', "empty", ".mode, .mode", ".mode.name"])
async def test_an_expression_of_the_oms_has_to_yield_one_value(
    checking: Checking, variable: str, expression: str
) -> None:
    """Where it errors on the real document the settings are wrong: 2, by the variable's name."""
    verdict, _ = await checking(Oms(), kind=settings.Watch, **{variable: expression})
    assert verdict.cause is Cause.MISCONFIGURED
    assert f"oms-1:80: {variable}: error: " in verdict.reason


async def test_a_target_that_is_not_reached(checking: Checking) -> None:
    """Refused connections are 3."""
    down = Oms()
    down.port = "closed"
    verdict, _ = await checking(Oms(), down)
    assert verdict.cause is Cause.TIMED_OUT
    assert verdict.reason == ("oms-2:80: mode: connection refused; oms-2:80: health: connection refused")


@pytest.mark.parametrize("error", [socket.EAI_NONAME, socket.EAI_AGAIN, None])
@pytest.mark.parametrize("every_pod", ["true", "false"])
async def test_a_name_that_is_not_resolved(
    checking: Checking, network: Network, error: int | None, every_pod: str
) -> None:
    """Nobody could be reached: 3."""
    network.names["oms"] = error
    verdict, _ = await checking(OMS_URL="http://oms", OMS_EVERY_POD=every_pod)
    assert verdict.cause is Cause.TIMED_OUT


async def test_too_few_addresses(checking: Checking, network: Network) -> None:
    """Fewer than OMS_MIN_TARGETS could be reached: 3."""
    network.add("oms", Oms())
    verdict, _ = await checking(OMS_URL="http://oms", OMS_EVERY_POD="true", OMS_MIN_TARGETS="2")
    assert (verdict.cause, verdict.reason) == (
        Cause.TIMED_OUT,
        "every target: name: 1 of at least 2 addresses are there",
    )


async def test_the_worst_is_the_verdict(checking: Checking) -> None:
    """What a person can mend in the settings before who said no, and that before who said nothing."""
    down, denied, odd = Oms(), Oms(), Oms()
    down.port = "closed"
    denied.mode_answer = answering(403)
    odd.mode_answer = answering(200, ["active"])
    all_three, _ = await checking(down, denied, odd)
    assert (all_three.cause, "oms-3:80: OMS_STANDBY_CONDITION") == (
        Cause.MISCONFIGURED,
        all_three.reason.partition(": error")[0],
    )


@pytest.mark.looptime(False)  # noqa: FBT003  # as the mark takes it
async def test_a_certificate_that_does_not_verify(
    loading: Loading, serving: Serving, authorities: Authorities
) -> None:
    """It refused: 1."""
    peer = serving(hostile.Oms().answers(), tls=authorities.server_of_unknown())
    given = loading(settings.Standby, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file))
    verdict = await check.tried(given)
    assert (verdict.cause, peer.requests) == (Cause.REFUSED, [])
