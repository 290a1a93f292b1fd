"""What a page says of the targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hooks.oms.fleet import Fleet
from hooks.oms.report import details, modes_in_words
from hooks.oms.target import Target
from hooks.settings import Alert
from hooks.waiting import Deadline
from tests.conftest import Loading
from tests.network import HEALTHY, Network, Oms, answering

pytestmark = pytest.mark.looptime

SINCE = "2026-03-02T07:30:00Z"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Hold all that can be spoken to."""
    return Network(monkeypatch)


async def looked_at(
    network: Network, loading: Loading, replicas: Mapping[str, Oms], **variables: str
) -> tuple[Alert, tuple[Target, ...]]:
    """Read mode and health of these replicas, each under a name of its own."""
    for name, oms in replicas.items():
        network.add(name, oms)
    settings = loading(Alert, OMS_URL=",".join(f"http://{name}:8080" for name in replicas), **variables)
    fleet, deadline = Fleet(settings), Deadline(10)
    await fleet.resolve(deadline)
    await fleet.modes(fleet.targets, deadline)
    await fleet.healths(fleet.targets, deadline)
    return settings, fleet.targets


def unreadable(status: int = 503) -> Oms:
    """Return a replica that does not tell its mode."""
    oms = Oms()
    oms.mode_answer = answering(status, b"starting up")
    return oms


def telling(document: Any) -> Oms:
    """Return a replica that tells its mode in its own way."""
    oms = Oms()
    oms.mode_answer = answering(200, document)
    return oms


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        pytest.param(
            {"oms-1": Oms("standby", "us")}, "oms-1:8080 is in standby: not trading", id="in standby"
        ),
        pytest.param({"oms-1": Oms("draining", "us")}, "oms-1:8080 is draining: not trading", id="draining"),
        pytest.param({"oms-1": Oms()}, "oms-1:8080 is active: trading", id="active"),
        pytest.param(
            {"oms-1": unreadable()}, "oms-1:8080 cannot be read: not known to trade", id="unreadable"
        ),
        pytest.param({"oms-1": telling({})}, "oms-1:8080 is other: not trading", id="in no word"),
        pytest.param(
            {"oms-1": telling({"mode": 100 * "x"})},
            f"oms-1:8080 is {32 * 'x'}: not trading",
            id="in a long word",
        ),
        pytest.param(
            {"oms-1": Oms(), "oms-2": Oms("standby"), "oms-3": unreadable()},
            "oms-2:8080 is in standby: not trading; oms-3:8080 cannot be read: not known to trade; "
            "oms-1:8080 is active: trading",
            id="what does not trade comes first",
        ),
        pytest.param(
            {"oms-1": Oms("standby"), "oms-2": Oms("standby"), "oms-3": Oms("standby", "operator/alice")},
            "oms-1:8080, oms-2:8080, oms-3:8080 are in standby: not trading",
            id="several of which the same is to be said",
        ),
        pytest.param(
            {f"oms-{number}": Oms() for number in range(1, 5)},
            "oms-1:8080, oms-2:8080, oms-3:8080, oms-4:8080 are active: trading",
            id="four, each named",
        ),
        pytest.param(
            {f"oms-{number}": unreadable() for number in range(1, 501)},
            "oms-1:8080, oms-2:8080, oms-3:8080, oms-4:8080 and 496 more cannot be read: not known to trade",
            id="five hundred",
        ),
    ],
)
async def test_the_modes_of_all_targets_in_words(
    replicas: Mapping[str, Oms], told: str, network: Network, loading: Loading
) -> None:
    """In which mode each target is, and whether it trades."""
    _, targets = await looked_at(network, loading, replicas)

    assert modes_in_words(targets) == told


def test_without_targets_that_is_said() -> None:
    """Nothing is not left out."""
    assert modes_in_words(()) == "no target is known"


async def test_a_target_that_was_not_asked_is_not_known_to_trade(network: Network, loading: Loading) -> None:
    """SIGTERM may have come before."""
    settings = loading(Alert, OMS_URL="http://oms-1:8080")
    fleet = Fleet(settings)
    await fleet.resolve(Deadline(1))

    assert modes_in_words(fleet.targets) == "oms-1:8080 cannot be read: not known to trade"
    assert details(fleet.targets, settings.oms_since_filter) == {"oms-1:8080": {}}


async def test_the_details_hold_what_is_known_of_each_target(network: Network, loading: Loading) -> None:
    """Both documents whole, whose standby it is and since when, or why it cannot be read."""
    held = {"mode": "standby", "reason": "argocd-sync/run-1", "since": SINCE, "open_orders": 0}
    settings, targets = await looked_at(
        network, loading, {"oms-1": telling(held), "oms-2": unreadable(), "oms-3": Oms()}
    )

    assert details(targets, settings.oms_since_filter) == {
        "oms-1:8080": {
            "mode": "standby",
            "owner": "argocd-sync/run-1",
            "since": "2026-03-02T07:30:00+00:00",
            "mode_document": held,
            "health_document": HEALTHY,
        },
        "oms-2:8080": {"mode": "unreadable: answered 503 starting up", "health_document": HEALTHY},
        "oms-3:8080": {
            "mode": "active",
            "mode_document": {"mode": "active", "reason": None},
            "health_document": HEALTHY,
        },
    }


async def test_why_a_target_is_not_healthy_is_told(network: Network, loading: Loading) -> None:
    """A refusal's document as well as an answer that is none."""
    refusing, silent = Oms(), Oms()
    refusing.health_answer = answering(503, {"status": "degraded"})
    silent.health_answer = answering(200, b"<html>")
    settings, targets = await looked_at(network, loading, {"oms-1": refusing, "oms-2": silent})

    told = details(targets, settings.oms_since_filter)
    assert told["oms-1:8080"]["health_problem"] == 'answered 503 {"status": "degraded"}'
    assert told["oms-1:8080"]["health_document"] == {"status": "degraded"}
    assert told["oms-2:8080"]["health_problem"].startswith("answered 200 <html>, which cannot be read")
    assert "health_document" not in told["oms-2:8080"]


@pytest.mark.parametrize(
    ("since", "told"),
    [
        pytest.param(SINCE.lower(), "2026-03-02T07:30:00+00:00", id="RFC 3339 in lower case"),
        pytest.param(1_772_436_600, "2026-03-02T07:30:00+00:00", id="Unix seconds"),
        pytest.param("yesterday", None, id="not a moment"),
        pytest.param("2026-03-02T07:30:00", None, id="a moment without a zone"),
        pytest.param(True, None, id="a yes"),
        pytest.param(1e300, None, id="the end of time"),
        pytest.param({"at": SINCE}, None, id="an object"),
    ],
)
async def test_since_when_it_is_in_standby(
    since: Any, told: str | None, network: Network, loading: Loading
) -> None:
    """As far as it is told readably."""
    document = {"mode": "standby", "since": since}
    settings, targets = await looked_at(network, loading, {"oms-1": telling(document)})

    assert details(targets, settings.oms_since_filter)["oms-1:8080"].get("since") == told
