"""What a page says of the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hooks.oms.documents import Ownership
from hooks.oms.fleet import Fleet
from hooks.oms.report import details, lines, modes_in_words, return_command, trades
from hooks.oms.target import Target
from hooks.settings import Alert
from hooks.waiting import Deadline
from tests.conftest import Loading
from tests.network import HEALTHY, STARTING, Network, Oms, answering

pytestmark = pytest.mark.looptime

OURS = "argocd-sync/run-1"
SINCE = "2026-03-02T07:30:00Z"


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


def words(settings: Alert, targets: Sequence[Target]) -> str:
    """Return the modes of these targets in words."""
    return modes_in_words(targets, Ownership.of(settings), settings.oms_since_filter)


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        pytest.param(
            {"oms-1": Oms("standby", OURS)}, "oms-1:8080 is in standby: not trading", id="in standby"
        ),
        pytest.param({"oms-1": Oms("draining", OURS)}, "oms-1:8080 is draining: not trading", id="draining"),
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
            {"oms-1": Oms("standby", "operator/alice")},
            "oms-1:8080 is in standby (operator/alice): not trading",
            id="in somebody else's standby",
        ),
        pytest.param(
            {"oms-1": telling({"mode": "standby", "reason": OURS, "since": SINCE})},
            "oms-1:8080 is in standby: not trading since 2026-03-02 07:30 UTC",
            id="in our standby since a day that is long ago",
        ),
        pytest.param(
            {"oms-1": telling({"mode": "standby", "reason": OURS, "since": "9999-12-31T00:00:00Z"})},
            "oms-1:8080 is in standby: not trading",
            id="in our standby since the future",
        ),
        pytest.param(
            {"oms-1": telling({"mode": "standby", "reason": "operator/alice", "since": SINCE})},
            "oms-1:8080 is in standby (operator/alice): not trading",
            id="in somebody else's standby since some time",
        ),
        pytest.param(
            {"oms-1": Oms(), "oms-2": Oms("standby"), "oms-3": unreadable()},
            "oms-2:8080 is in standby: not trading; oms-3:8080 cannot be read: not known to trade; "
            "oms-1:8080 is active: trading",
            id="what does not trade comes first",
        ),
        pytest.param(
            {"oms-1": Oms("standby"), "oms-2": Oms("standby"), "oms-3": Oms("standby", "operator/alice")},
            "2 of 3 are in standby: not trading (oms-1:8080, oms-2:8080); "
            "oms-3:8080 is in standby (operator/alice): not trading",
            id="several of which the same is to be said",
        ),
        pytest.param(
            {f"oms-{number}": Oms() for number in range(1, 5)},
            "all 4 are active: trading (oms-1:8080, oms-2:8080, oms-3:8080, oms-4:8080)",
            id="four, each named",
        ),
        pytest.param(
            {f"oms-{number}": unreadable() for number in range(1, 101)},
            "all 100 cannot be read: not known to trade "
            "(oms-1:8080, oms-2:8080, oms-3:8080, oms-4:8080 and 96 more)",
            id="a hundred",
        ),
    ],
)
async def test_the_modes_of_all_targets_in_words(
    replicas: Mapping[str, Oms], told: str, network: Network, loading: Loading
) -> None:
    """In which mode each target is, and whether it trades."""
    assert told == words(*await looked_at(network, loading, replicas))


async def test_the_earliest_of_ours_is_since_when(network: Network, loading: Loading) -> None:
    """Of today the time is enough, of another day the date is told."""
    today = datetime.now(UTC).replace(second=0, microsecond=0)
    documents = [
        {"mode": "standby", "reason": OURS, "since": moment}
        for moment in (f"{today:%Y-%m-%dT%H:%M:%SZ}", "9999-12-31T00:00:00Z", None)
    ]
    replicas = {f"oms-{number}": telling(document) for number, document in enumerate(documents)}

    told = words(*await looked_at(network, loading, replicas))

    listed = "(oms-0:8080, oms-1:8080, oms-2:8080)"
    assert (
        told
        in {
            f"all 3 are in standby: not trading since {today:%H:%M} UTC {listed}",
            f"all 3 are in standby: not trading since {today:%Y-%m-%d %H:%M} UTC {listed}",  # midnight was in between
        }
    )


def test_without_targets_there_is_nothing_to_say(loading: Loading) -> None:
    """Why there are none is for others to tell."""
    assert not words(loading(Alert), ())


async def test_a_target_that_was_not_read_is_not_known_to_trade(network: Network, loading: Loading) -> None:
    """SIGTERM may have come before."""
    settings = loading(Alert, OMS_URL="http://oms-1:8080")
    fleet = Fleet(settings)
    await fleet.resolve(Deadline(1))

    assert words(settings, fleet.targets) == "oms-1:8080 was not read in time: not known to trade"
    assert not trades(fleet.targets[0])
    assert details(fleet.targets, settings.oms_since_filter) == {"oms-1:8080": {"mode": "not read in time"}}


async def test_each_target_in_a_line(network: Network, loading: Loading) -> None:
    """Those that do not trade first; whether it is healthy where that was asked, and why not."""
    ill, silent = Oms("standby", OURS), Oms("standby", OURS)
    ill.health = STARTING
    silent.health_answer = answering(503, b"overloaded")
    replicas = {"oms-1": Oms(), "oms-2": ill, "oms-3": silent, "oms-4": unreadable()}
    settings, targets = await looked_at(network, loading, replicas)

    assert lines(targets, settings.verify_condition) == [
        f"oms-2:8080 is standby ({OURS}); not healthy",
        f"oms-3:8080 is standby ({OURS}); its health: answered 503 overloaded",
        "oms-4:8080 cannot be read (answered 503 starting up); healthy",
        "oms-1:8080 is active; healthy",
    ]
    assert lines(targets) == [
        f"oms-2:8080 is standby ({OURS})",
        f"oms-3:8080 is standby ({OURS})",
        "oms-4:8080 cannot be read (answered 503 starting up)",
        "oms-1:8080 is active",
    ]
    assert [trades(target) for target in targets] == [True, False, False, False]


async def test_a_crowd_is_told_in_ten_lines(network: Network, loading: Loading) -> None:
    """Those that do not trade are among them."""
    replicas = {f"oms-{number}": Oms() for number in range(1, 13)} | {"oms-13": Oms("standby")}
    _, targets = await looked_at(network, loading, replicas)

    told = lines(targets)
    assert (told[0], told[-1], len(told)) == ("oms-13:8080 is standby", "and 3 more", 11)
    assert len(lines(targets[:10])) == 10


@pytest.mark.parametrize(
    ("namespace", "command"),
    [
        pytest.param(b"trading\n", "kubectl -n trading create job ", id="told"),
        pytest.param(None, "kubectl create job ", id="not mounted"),
        pytest.param(b"\xff", "kubectl create job ", id="not readable"),
    ],
)
def test_what_on_call_types(namespace: bytes | None, command: str, tmp_path: Path) -> None:
    """In the namespace of the pod, where that is told; each time under a new name."""
    if namespace is not None:
        (tmp_path / "namespace").write_bytes(namespace)

    assert return_command(tmp_path).startswith(command)
    assert return_command(tmp_path).endswith("oms-return-$(date +%s) --from=cronjob/oms-return-to-active")


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
