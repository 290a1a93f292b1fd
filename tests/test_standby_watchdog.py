"""standby-watchdog: the contract's promises, on a turned clock, and kept by the command itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from hooks.settings import Watch
from hooks.standby_watchdog import decide
from hooks.verdict import Cause, Verdict
from rehearsal.mock_oms import MockOms
from rehearsal.mock_pagerduty import DeliveryFaults, Incident, MockPagerDuty
from tests.conftest import Loading, Serving
from tests.hostile import resolver
from tests.hostile.certificates import Authorities
from tests.hostile.peer import Peer, never_shakes_hands, reply_json, silence
from tests.hostile.process import SLACK_SECONDS, Ending, Process
from tests.network import Behaviour, Network, Oms, PagerDuty, Reply, Request, answering, hung_up, silent
from tests.watching import (
    IN_STANDBY,
    PATIENCE,
    ROUTING_KEY,
    UNREADABLE,
    environment,
    eventually,
    get,
    series,
)

turned = pytest.mark.looptime(noop_cycles=1)  # nothing here waits for a thread

OURS = "argocd-sync/run-1"
HOUR = 3600.0


# ── on a turned clock ──────────────────────────────────────────────────────────────────────────────


class Telling(Oms):
    """A replica that tells since when."""

    since: Any = None

    @property
    def document(self) -> dict[str, Any]:
        return super().document | {"since": self.since}


def told_ago(seconds: float) -> str:
    """Return the moment so many seconds ago, as an OMS writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@dataclass
class Watched:
    """A watchdog that runs."""

    address: str
    stop: asyncio.Event
    running: asyncio.Task[Verdict]
    log: list[Any]

    def metrics(self, *names: str) -> dict[str, float]:
        """Scrape the series of these metrics."""
        return {name: value for name, value in series(self.address).items() if name.startswith(names)}


Watching = Callable[..., AbstractAsyncContextManager[Watched]]


@pytest.fixture
def pagerduty(network: Network) -> PagerDuty:
    """Accept what comes, unless a test says otherwise."""
    receiver = PagerDuty()
    network.add("pagerduty.test", receiver)
    return receiver


@pytest.fixture
def watching(loading: Loading) -> Watching:
    """Watch these addresses while a block runs; SIGTERM at its end must end it as a success."""

    @asynccontextmanager
    async def watching(*oms: str, **variables: str) -> AsyncIterator[Watched]:
        urls = ",".join(f"http://{name}:8080" for name in oms)
        given = environment(urls, "http://pagerduty.test/v2/enqueue", WATCH_LISTEN="127.0.0.1:0")
        stop = asyncio.Event()
        with structlog.testing.capture_logs() as log:
            running = asyncio.ensure_future(decide(loading(Watch, **given | variables), stop))
            await asyncio.sleep(0)
            [port] = [line["port"] for line in log if line["event"] == "watching"]
            yield Watched(f"127.0.0.1:{port}", stop, running, log)
            stop.set()
            verdict = await running
        assert (verdict.cause, verdict.reason) == (None, "SIGTERM ended the watch")

    return watching


def told(pagerduty: PagerDuty) -> list[tuple[float, str, str]]:
    """Return when PagerDuty was told what of which incident, to the second, in this order."""
    return sorted(
        (
            round(request.at),
            request.document["event_action"],
            request.document["dedup_key"].rpartition("/")[2],
        )
        for request in pagerduty.requests
    )


AT_THE_START = [(0, "resolve", "standby"), (0, "resolve", "unreadable")]


def within_a_poll(seconds: float) -> Any:
    """Return what equals any moment so many seconds from now, and the two polls between which they were counted."""
    return pytest.approx(seconds + 5, abs=7)


# 1. Looking


@turned
async def test_every_target_is_asked_every_five_seconds(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """And each for its mode alone."""
    replicas = Oms(), Oms("standby", "operator/alice")
    for name, oms in zip(("oms-1", "oms-2"), replicas, strict=True):
        network.add(name, oms)
    async with watching("oms-1", "oms-2"):
        await asyncio.sleep(200)

    for oms in replicas:
        moments = oms.asked("/health/mode")
        assert {(request.method, request.path) for request in oms.requests} == {("GET", "/health/mode")}
        assert moments[0] == 0
        assert all(4.5 <= later - earlier <= 5.5 for earlier, later in pairwise(moments))


@turned
async def test_how_often_it_looks_can_be_set(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """WATCH_POLL_SECONDS; a target that is slow is waited for, not asked twice."""
    quick, slow = Oms(), Oms()
    slow.mode_answer = late(2, slow.tell_mode)
    network.add("quick", quick)
    network.add("slow", slow)
    async with watching("quick", "slow", WATCH_POLL_SECONDS="1"):
        await asyncio.sleep(20.5)

    assert slow.asked("/health/mode") == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert quick.asked("/health/mode") == slow.asked("/health/mode")


def late(seconds: float, behaviour: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Answer so much later."""

    async def behave(request: Request) -> Reply:
        await asyncio.sleep(seconds)
        reply: Reply = await behaviour(request)
        return reply

    return behave


# 2. In standby


@turned
@pytest.mark.parametrize("mode", ["standby", "draining", "starting"])
async def test_an_oms_that_stays_in_our_standby_is_paged(
    mode: str, watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Once, after WATCH_STANDBY_SECONDS; when it trades again the same incident is resolved."""
    oms = Oms()
    network.add("oms", oms)
    async with watching("oms"):
        await asyncio.sleep(99)
        oms.held_by(OURS, mode)
        await asyncio.sleep(950)
        oms.restart()
        await asyncio.sleep(60)

    first, second, opened, closed = told(pagerduty)
    assert [first, second] == AT_THE_START
    assert opened == (within_a_poll(1000), "trigger", "standby")
    assert closed == (within_a_poll(1049), "resolve", "standby")
    keys = {event["dedup_key"] for event in pagerduty.events}
    assert keys == {IN_STANDBY, UNREADABLE}


@turned
async def test_a_sync_that_is_quick_enough_pages_nobody(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """However many there are."""
    oms = Oms()
    network.add("oms", oms)
    async with watching("oms"):
        for run in range(3):
            oms.held_by(f"argocd-sync/run-{run}")
            await asyncio.sleep(880)
            oms.restart()
            await asyncio.sleep(20)

    assert [event["event_action"] for event in pagerduty.events] == ["resolve", "resolve"]


@turned
async def test_an_operators_standby_pages_nobody_but_is_counted(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Somebody knows of it already; who exactly is no label."""
    network.add("oms", Oms("standby", "operator/alice: INC-4711"))
    async with watching("oms") as watched:
        await asyncio.sleep(1500)
        counted = watched.metrics("oms_standby", "oms_mode")

    assert told(pagerduty) == AT_THE_START
    assert counted == {
        'oms_standby_seconds{owner="somebody else",target="oms:8080"}': pytest.approx(1500, abs=6),
        'oms_mode_info{mode="standby",target="oms:8080"}': 1.0,
    }


@turned
async def test_a_standby_that_names_nobody_is_ours_unless_it_is_said_not_to_be(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """OMS_UNNAMED_IS_OURS."""
    network.add("oms", Oms("standby"))
    async with watching("oms"):
        await asyncio.sleep(1000)
    assert (within_a_poll(900), "trigger", "standby") in told(pagerduty)

    before = len(pagerduty.requests)
    async with watching("oms", OMS_UNNAMED_IS_OURS="false"):
        await asyncio.sleep(1000)
    assert {event["event_action"] for event in pagerduty.events[before:]} == {"resolve"}


@turned
async def test_pods_that_are_replaced_do_not_begin_the_time_anew(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Every pod has a new address every minute, and none of them trades."""
    for number in range(1, 25):
        network.far_ends[f"10.1.0.{number}"] = Oms("standby", OURS)
    addresses = count(1)
    network.names["oms"] = ("10.1.0.1",)
    async with watching("oms", OMS_EVERY_POD="true") as watched:
        for _ in range(17):
            network.names["oms"] = (f"10.1.0.{next(addresses)}",)
            await asyncio.sleep(60)
        counted = watched.metrics("oms_")

    assert told(pagerduty)[-1] == (within_a_poll(900), "trigger", "standby")
    assert [name for name in counted if "10.1.0.17" not in name] == []
    assert len(counted) == 3


@turned
async def test_since_when_is_what_the_oms_tells(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """A watchdog that was restarted pages at once for what has lasted too long, under the same key."""
    older, younger = Telling("standby", OURS), Telling("standby", OURS)
    older.since, younger.since = told_ago(1000), told_ago(10)
    network.add("oms-1", younger)
    network.add("oms-2", older)
    async with watching("oms-1", "oms-2") as watched:
        await asyncio.sleep(1)
        counted = watched.metrics("oms_standby")

    assert told(pagerduty) == [(0, "resolve", "unreadable"), (0, "trigger", "standby")]
    [page] = [event for event in pagerduty.events if event["event_action"] == "trigger"]
    assert page["dedup_key"] == IN_STANDBY
    assert counted == {
        'oms_standby_seconds{owner="argocd-sync",target="oms-1:8080"}': pytest.approx(10, abs=PATIENCE),
        'oms_standby_seconds{owner="argocd-sync",target="oms-2:8080"}': pytest.approx(1000, abs=PATIENCE),
    }


@turned
@pytest.mark.parametrize(
    "since",
    [
        pytest.param(told_ago(-24 * HOUR), id="in the future"),
        pytest.param("a while ago", id="not a moment"),
        pytest.param({"at": 3}, id="an object"),
        pytest.param(10**300, id="no moment at all"),
        pytest.param(None, id="not told"),
    ],
)
async def test_a_since_that_tells_nothing_counts_from_the_first_look(
    since: Any, watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Neither earlier nor later."""
    oms = Telling("standby", OURS)
    oms.since = since
    network.add("oms", oms)
    async with watching("oms") as watched:
        await asyncio.sleep(950)
        counted = watched.metrics("oms_standby")

    assert (within_a_poll(900), "trigger", "standby") in told(pagerduty)
    assert list(counted.values()) == [pytest.approx(950, abs=6)]


@turned
async def test_what_is_held_at_the_start_closes_nothing(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """An earlier watchdog may have paged for this very standby."""
    network.add("oms", Oms("standby", OURS))
    async with watching("oms"):
        await asyncio.sleep(600)

    assert told(pagerduty) == [(0, "resolve", "unreadable")]


@turned
async def test_a_target_that_cannot_be_read_keeps_the_incident_open(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """It was in standby when it was last read: that others trade says nothing of it."""
    held, trading = Oms("standby", OURS), Oms()
    network.add("oms-1", held)
    network.add("oms-2", trading)
    async with watching("oms-1", "oms-2"):
        await asyncio.sleep(950)
        held.port = "closed"
        await asyncio.sleep(1000)
        assert told(pagerduty)[-1] == (within_a_poll(900), "trigger", "standby")
        held.port = "open"
        held.restart()
        await asyncio.sleep(6)

    assert told(pagerduty)[-1] == (within_a_poll(1950), "resolve", "standby")


@turned
async def test_a_target_that_traded_when_it_was_last_read_does_not(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """One pod that hangs must not keep on-call awake for a standby that is over."""
    held, trading = Oms("standby", OURS), Oms()
    network.add("oms-1", held)
    network.add("oms-2", trading)
    async with watching("oms-1", "oms-2"):
        await asyncio.sleep(950)
        trading.port = "silent"
        held.restart()
        await asyncio.sleep(11)

    assert told(pagerduty)[-1] == (within_a_poll(955), "resolve", "standby")


@turned
async def test_two_names_behind_one_address_do_not_hide_each_other(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """A proxy in front of several tells them apart by the Host header; each of them counts."""

    class Proxy(Oms):
        """Speaks for two."""

        async def tell_mode(self, request: Request) -> Reply:
            held = request.headers["host"].startswith("oms-1")
            return Reply(200, {"mode": "standby" if held else "active", "reason": None})

    network.add("oms-1", Proxy())
    network.names["oms-2"] = network.names["oms-1"]
    async with watching("oms-1", "oms-2", OMS_EVERY_POD="true"):
        await asyncio.sleep(1000)

    assert (within_a_poll(900), "trigger", "standby") in told(pagerduty)


# 3. Unreadable


Trouble = Callable[[Oms, Network], object]


def answers(behaviour: Behaviour) -> Trouble:
    """Answer so when the mode is asked for."""
    return lambda oms, _: setattr(oms, "mode_answer", behaviour)


def port_is(state: str) -> Trouble:
    """Do so with connections."""
    return lambda oms, _: setattr(oms, "port", state)


def name_is(resolved: int | None) -> Trouble:
    """Look the name up in vain; what it was known for is gone as well."""

    def happen(oms: Oms, network: Network) -> None:
        network.names["oms"] = resolved
        oms.port = "closed"

    return happen


@turned
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(port_is("closed"), id="its port is closed"),
        pytest.param(port_is("silent"), id="it drops packets"),
        pytest.param(answers(silent), id="it never answers"),
        pytest.param(answers(hung_up), id="it hangs up"),
        pytest.param(answers(answering(401)), id="it refuses us"),
        pytest.param(answers(answering(503)), id="it is busy"),
        pytest.param(answers(answering(200, b"<html>")), id="it answers no JSON"),
        pytest.param(name_is(socket.EAI_NONAME), id="its name is unknown"),
        pytest.param(name_is(socket.EAI_AGAIN), id="DNS fails"),
        pytest.param(name_is(None), id="DNS is silent"),
    ],
)
@pytest.mark.parametrize("every_pod", ["true", "false"], ids=["every pod", "the name"])
async def test_an_oms_that_nobody_can_read_is_paged(
    trouble: Trouble, every_pod: str, watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """After WATCH_UNREADABLE_SECONDS; when it can be read again the incident is resolved."""
    oms = Oms()
    network.add("oms", oms)
    addresses = network.names["oms"]
    async with watching("oms", OMS_EVERY_POD=every_pod):
        await asyncio.sleep(100)
        trouble(oms, network)
        await asyncio.sleep(1000)
        network.names["oms"] = addresses
        oms.port, oms.mode_answer = "open", oms.tell_mode
        await asyncio.sleep(20)

    assert told(pagerduty) == [
        *AT_THE_START,
        (pytest.approx(410, abs=14), "trigger", "unreadable"),
        (pytest.approx(1110, abs=14), "resolve", "unreadable"),
    ]


@turned
async def test_while_dns_fails_the_addresses_that_were_known_are_watched(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """A resolver that is down is no reason to be blind."""
    oms = Oms()
    network.add("oms", oms)
    async with watching("oms", OMS_EVERY_POD="true"):
        await asyncio.sleep(100)
        network.names["oms"] = socket.EAI_AGAIN
        await asyncio.sleep(10)
        oms.held_by(OURS)
        await asyncio.sleep(1000)

    assert told(pagerduty) == [*AT_THE_START, (within_a_poll(1010), "trigger", "standby")]


@turned
async def test_what_cannot_be_read_from_the_start_is_paged(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Nothing is assumed to trade, and nothing is closed before it is known."""
    async with watching("oms", OMS_EVERY_POD="true") as watched:
        await asyncio.sleep(400)
        assert get(watched.address, "/healthz")[0] == 200
        assert watched.metrics("oms_") == {}

    assert told(pagerduty) == [(within_a_poll(300), "trigger", "unreadable")]
    summary = pagerduty.events[0]["payload"]["summary"]
    assert summary.startswith("oms: nobody could read the OMS's mode for 5 min; ")
    assert "name or service not known" in summary


@turned
async def test_one_target_that_can_be_read_is_enough(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """A single pod that hangs is not this incident; the metrics tell of it."""
    hanging = Oms()
    hanging.port = "closed"
    network.add("oms-1", Oms())
    network.add("oms-2", hanging)
    async with watching("oms-1", "oms-2") as watched:
        await asyncio.sleep(500)
        counted = watched.metrics("oms_mode", "oms_last")

    assert [kind for _, action, kind in told(pagerduty) if action == "trigger"] == []
    assert counted.keys() == {
        'oms_mode_info{mode="active",target="oms-1:8080"}',
        'oms_mode_info{mode="unreadable",target="oms-2:8080"}',
        'oms_last_read_timestamp_seconds{target="oms-1:8080"}',
    }


@turned
async def test_a_standby_that_cannot_be_read_any_more_is_two_incidents(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """The time in standby goes on; both are resolved when it trades."""
    oms = Oms("standby", OURS)
    network.add("oms", oms)
    async with watching("oms"):
        await asyncio.sleep(500)
        oms.port = "closed"
        await asyncio.sleep(1000)
        oms.port = "open"
        oms.restart()
        await asyncio.sleep(6)

    assert told(pagerduty) == [
        (0, "resolve", "unreadable"),
        (within_a_poll(800), "trigger", "unreadable"),
        (within_a_poll(900), "trigger", "standby"),
        (within_a_poll(1500), "resolve", "standby"),
        (within_a_poll(1500), "resolve", "unreadable"),
    ]


@turned
async def test_a_round_that_breaks_is_one_in_which_nothing_could_be_read(
    watching: Watching, network: Network, pagerduty: PagerDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that nobody thought of ends neither the watch nor an incident; it is told in the log, and paged."""
    network.add("oms", Oms())
    connect, broken = network.connect, False

    async def breaks(host: str, port: int) -> Any:
        if broken and host == "oms":
            raise RuntimeError("a bug")
        return await connect(host, port)

    monkeypatch.setattr(network, "connect", breaks)
    async with watching("oms") as watched:
        await asyncio.sleep(100)
        broken = True
        await asyncio.sleep(400)
        broken = False
        await asyncio.sleep(6)
        assert "round_broke" in {line["event"] for line in watched.log}

    assert told(pagerduty) == [
        *AT_THE_START,
        (within_a_poll(400), "trigger", "unreadable"),
        (within_a_poll(500), "resolve", "unreadable"),
    ]


# 4. Paging


@turned
async def test_while_it_lasts_it_is_paged_again_every_hour(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Somebody may have closed it too early: the same key, the words of the hour."""
    network.add("oms", Oms("standby", OURS))
    async with watching("oms", WATCH_POLL_SECONDS="20"):
        await asyncio.sleep(900 + 2 * HOUR + 50)

    pages = [event for event in pagerduty.events if event["event_action"] == "trigger"]
    assert {event["dedup_key"] for event in pages} == {IN_STANDBY}
    assert [event["payload"]["summary"].partition(";")[0] for event in pages] == [
        "oms: the OMS has not been trading for 15 min",
        "oms: the OMS has not been trading for 1 h 15 min",
        "oms: the OMS has not been trading for 2 h 15 min",
    ]


@turned
async def test_a_page_carries_what_on_call_needs(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Where to look, what to type, and what each target says of itself; a class of its own."""
    network.add("oms", Oms("standby", OURS))
    async with watching(
        "oms",
        WATCH_STANDBY_SECONDS="60",
        ARGOCD_URL="https://argo.example",
        ALERT_RUNBOOK_URL="https://runbook.example/oms",
        PAGERDUTY_DEDUP_KEY="key",
    ):
        await asyncio.sleep(70)

    [page] = [event for event in pagerduty.events if event["event_action"] == "trigger"]
    assert page["dedup_key"] == "key/standby"
    assert page["client_url"] == "https://argo.example/applications/argocd/oms?operation=true"
    assert {link["text"]: link["href"] for link in page["links"]} == {
        "Application": page["client_url"],
        "Runbook": "https://runbook.example/oms",
    }
    payload = page["payload"]
    assert (payload["component"], payload["group"], payload["severity"]) == ("oms", "argocd", "critical")
    assert "oms-return-to-active" in payload["custom_details"]["return_to_active"]
    assert payload["custom_details"]["targets"]["oms:8080"]["mode_document"] == {
        "mode": "standby",
        "reason": OURS,
    }
    assert payload["class"] not in {"", "argocd-sync-failed"}


@turned
async def test_with_pagerduty_down_the_rounds_go_on(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """What is wanted meanwhile is what it is told when it is back, and attempts are counted."""
    oms = Oms("standby", OURS)
    network.add("oms", oms)
    pagerduty.port = "silent"
    async with watching("oms") as watched:
        await asyncio.sleep(1000)
        oms.restart()
        await asyncio.sleep(500)
        pagerduty.port = "open"
        await asyncio.sleep(80)
        pages = watched.metrics("standby_watchdog_pages_total")
        assert len(oms.asked("/health/mode")) == pytest.approx(1580 / 5, abs=20)

    assert sorted(kind for _, action, kind in told(pagerduty) if action == "resolve") == [
        "standby",
        "unreadable",
    ]
    assert [action for _, action, _ in told(pagerduty) if action == "trigger"] == []
    assert pages['standby_watchdog_pages_total{outcome="delivered"}'] == 0
    assert pages['standby_watchdog_pages_total{outcome="not_delivered"}'] > 0


# 4. Files that change


@dataclass
class Secrets:
    """A mounted Secret."""

    folder: Path

    def put(self, **files: str) -> None:
        """Replace files as the kubelet does: at once, and by another inode."""
        for name, text in files.items():
            new = self.folder.parent / "new"
            new.write_text(text)
            new.replace(self.folder / name)


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """Mount an empty one."""
    (tmp_path / "secrets").mkdir()
    return Secrets(tmp_path / "secrets")


@turned
async def test_secrets_are_read_again_when_they_change(
    watching: Watching, network: Network, pagerduty: PagerDuty, secrets: Secrets
) -> None:
    """The next look and the next page use what is mounted now."""
    oms = Oms("standby", OURS)
    network.add("oms", oms)
    secrets.put(OMS_ADMIN_TOKEN="first-token", PAGERDUTY_ROUTING_KEY=ROUTING_KEY)
    files = {"PAGERDUTY_ROUTING_KEY": "", "SECRETS_DIR": str(secrets.folder)}
    async with watching("oms", **files):
        await asyncio.sleep(100)
        secrets.put(OMS_ADMIN_TOKEN="second-token", PAGERDUTY_ROUTING_KEY=ROUTING_KEY[::-1])
        await asyncio.sleep(900)

    tokens = {request.headers["authorization"]: request.at for request in oms.requests}
    assert tokens.keys() == {"Bearer first-token", "Bearer second-token"}
    assert tokens["Bearer first-token"] <= 100
    assert [event["routing_key"] for event in pagerduty.events] == [ROUTING_KEY, ROUTING_KEY[::-1]]


@turned
async def test_a_page_that_was_refused_goes_out_with_the_key_that_was_mended(
    watching: Watching, network: Network, pagerduty: PagerDuty, secrets: Secrets
) -> None:
    """Without waiting for the next attempt."""

    async def knows(request: Request) -> Reply:
        return Reply(202 if request.document["routing_key"] == ROUTING_KEY else 403)

    pagerduty.answer = knows
    network.add("oms", Oms("standby", OURS))
    secrets.put(PAGERDUTY_ROUTING_KEY=ROUTING_KEY[::-1])
    async with watching("oms", PAGERDUTY_ROUTING_KEY="", SECRETS_DIR=str(secrets.folder)):
        await asyncio.sleep(2000)
        secrets.put(PAGERDUTY_ROUTING_KEY=ROUTING_KEY)
        await asyncio.sleep(6)

    accepted = [event for event in pagerduty.events if event["routing_key"] == ROUTING_KEY]
    assert sorted(event["event_action"] for event in accepted) == ["resolve", "trigger"]


@turned
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"PAGERDUTY_ROUTING_KEY": "  \n"}, id="a key that is empty now"),
        pytest.param({"OMS_ADMIN_TOKEN": "not\x01printable"}, id="a token that no header can hold"),
        pytest.param({"OMS_URL": "ftp://nowhere"}, id="an address that is none"),
    ],
)
async def test_files_that_cannot_be_used_keep_the_old_values(
    change: dict[str, str], watching: Watching, network: Network, pagerduty: PagerDuty, secrets: Secrets
) -> None:
    """The fault is told once, by the variable's name; when it is mended, the new values are taken."""
    oms = Oms("standby", OURS)
    network.add("oms", oms)
    good = {"OMS_ADMIN_TOKEN": "first-token", "PAGERDUTY_ROUTING_KEY": ROUTING_KEY}
    secrets.put(OMS_URL="http://oms:8080", **good)
    files = {"PAGERDUTY_ROUTING_KEY": "", "OMS_URL": "", "SECRETS_DIR": str(secrets.folder)}
    async with watching("oms", **files) as watched:
        await asyncio.sleep(100)
        secrets.put(**change)
        await asyncio.sleep(900)
        faults = [line["reason"] for line in watched.log if line["event"] == "files_not_usable"]
        secrets.put(OMS_URL="http://oms:8080", **good | {"OMS_ADMIN_TOKEN": "third-token"})
        await asyncio.sleep(10)

    assert [fault.partition(":")[0] for fault in faults] == list(change)
    assert [event["routing_key"] for event in pagerduty.events] == 2 * [ROUTING_KEY]
    assert [request.headers["authorization"] for request in oms.requests if request.at < 1000] == len(
        [request for request in oms.requests if request.at < 1000]
    ) * ["Bearer first-token"]
    assert oms.requests[-1].headers["authorization"] == "Bearer third-token"


# 5. Metrics and health


@turned
async def test_no_peer_can_make_a_label(watching: Watching, network: Network, pagerduty: PagerDuty) -> None:
    """Whatever names and words an OMS invents, there are as many series as there are targets."""
    oms = Oms()
    network.add("oms", oms)
    async with watching("oms") as watched:
        labels: set[str] = set()
        for number in range(200):
            oms.held_by(f"{'argocd-sync/' if number % 2 else ''}{number}", f"mode-{number}")
            await asyncio.sleep(5)
            labels |= watched.metrics("oms_").keys()

    assert labels <= {
        'oms_mode_info{mode="active",target="oms:8080"}',
        'oms_mode_info{mode="other",target="oms:8080"}',
        'oms_standby_seconds{owner="argocd-sync",target="oms:8080"}',
        'oms_standby_seconds{owner="somebody else",target="oms:8080"}',
        'oms_last_read_timestamp_seconds{target="oms:8080"}',
    }


@turned
async def test_how_long_a_target_does_not_trade_is_its_own_time(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """It begins anew when the target has traded in between; an unreadable target has none."""
    oms = Oms("standby", OURS)
    network.add("oms", oms)
    async with watching("oms") as watched:
        await asyncio.sleep(100)
        assert list(watched.metrics("oms_standby").values()) == [pytest.approx(97, abs=5)]
        oms.restart()
        await asyncio.sleep(10)
        assert watched.metrics("oms_standby") == {}
        oms.held_by("operator/alice")
        await asyncio.sleep(50)
        assert list(watched.metrics("oms_standby").values()) == [pytest.approx(45, abs=7)]
        oms.port = "closed"
        await asyncio.sleep(10)
        assert watched.metrics("oms_standby") == {}


@turned
async def test_when_a_target_was_last_read_stays_when_it_cannot_be_read(
    watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Prometheus can tell for how long it could not."""
    oms = Oms()
    network.add("oms", oms)
    async with watching("oms") as watched:
        before = time.time()
        await asyncio.sleep(20)
        read = watched.metrics("oms_last")
        oms.port = "closed"
        await asyncio.sleep(200)
        assert watched.metrics("oms_last") == read

    assert list(read.values()) == [pytest.approx(before, abs=60)]


@turned
@pytest.mark.parametrize(
    "listen", ["127.0.0.1", "256.0.0.1", "nowhere.invalid"], ids=["taken", "no address", "no name"]
)
async def test_what_cannot_be_listened_on_is_misconfiguration(
    listen: str, loading: Loading, network: Network, pagerduty: PagerDuty
) -> None:
    """It ends at once and names the variable; nothing was asked, and nobody told."""
    oms = Oms()
    network.add("oms", oms)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{listen}:{taken.getsockname()[1]}"
        given = environment("http://oms:8080", "http://pagerduty.test", WATCH_LISTEN=address)
        verdict = await decide(loading(Watch, **given), asyncio.Event())

    assert verdict.cause is Cause.MISCONFIGURED
    assert verdict.reason.startswith(f"WATCH_LISTEN: {address} cannot be listened on: ")
    assert (oms.requests, pagerduty.requests) == ([], [])


# 6. SIGTERM


@turned
@pytest.mark.parametrize("at", [0.0, 0.5, 4.99, 5.0, 42.0, 900.5])
async def test_sigterm_ends_it_at_once_whatever_hangs(
    at: float, watching: Watching, network: Network, pagerduty: PagerDuty
) -> None:
    """Looks, names and pages alike; what was last seen is told."""
    hanging, held = Oms(), Telling("standby", OURS)
    held.since = told_ago(10_000)
    hanging.mode_answer = pagerduty.answer = silent
    network.add("oms-1", hanging)
    network.add("oms-2", held)
    network.names["oms-3"] = None
    async with watching("oms-1", "oms-2", "oms-3", OMS_EVERY_POD="true") as watched:
        await asyncio.sleep(at)
        began = asyncio.get_running_loop().time()
        watched.stop.set()
        verdict = await watched.running
        assert asyncio.get_running_loop().time() - began < 1

    assert verdict.exit_code == 0
    if at > 5:
        assert verdict.targets["10.0.0.3:8080"]["mode"] == "standby"


@turned
async def test_sigterm_before_the_first_look_is_no_fault(
    loading: Loading, network: Network, pagerduty: PagerDuty
) -> None:
    """The Pod may be deleted as soon as it was made."""
    stop = asyncio.Event()
    stop.set()
    given = environment("http://oms:8080", "http://pagerduty.test", WATCH_LISTEN="127.0.0.1:0")

    assert await decide(loading(Watch, **given), stop) == Verdict(None, "SIGTERM ended the watch")
    assert pagerduty.requests == []


# ── as a process ───────────────────────────────────────────────────────────────────────────────────

QUICK = {
    "WATCH_POLL_SECONDS": "0.05",
    "WATCH_STANDBY_SECONDS": "0.3",
    "WATCH_UNREADABLE_SECONDS": "0.3",
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "2",
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "2",
}


@pytest.fixture
def far_pagerduty() -> Iterator[MockPagerDuty]:
    """Be PagerDuty, and a chat beside it."""
    with MockPagerDuty(webhook=True) as pagerduty:
        yield pagerduty


@pytest.fixture
def far_oms() -> Iterator[MockOms]:
    """Be an OMS of two replicas that trades."""
    with MockOms(replicas=2, start_mode="active") as oms:
        yield oms


def watchdog(oms: str, pagerduty: str, **variables: str) -> Process:
    """Start the command; it serves at any free port."""
    given = environment(oms, pagerduty, WATCH_LISTEN="127.0.0.1:0") | QUICK
    return Process("standby-watchdog", given | variables)


def served_at(process: Process) -> str:
    """Wait until the command serves; return where."""
    lines: list[dict[str, Any]] = []

    def serves() -> bool:
        told = process.told().splitlines()
        lines[:] = [json.loads(line) for line in told if '"watching"' in line and line.endswith("}")]
        return bool(lines)

    eventually(serves)
    return f"127.0.0.1:{lines[0]['port']}"


def is_open(pagerduty: MockPagerDuty, key: str) -> bool:
    """Whether this incident is open."""
    incident = pagerduty.incidents.get(key)
    return incident is not None and incident.status == "open"


def closed(pagerduty: MockPagerDuty) -> set[str]:
    """Return the keys that a resolve came for."""
    return {
        event.document["dedup_key"]
        for event in pagerduty.events
        if event.document["event_action"] == "resolve"
    }


def ends_well(process: Process) -> Ending:
    """Send SIGTERM; it must end as a success, within a second of its own and what a loaded machine adds."""
    began = time.monotonic()
    process.terminate()
    ending = process.ends(PATIENCE)
    assert time.monotonic() - began < 1 + SLACK_SECONDS
    assert (ending.code, ending.reason) == (0, "SIGTERM ended the watch")
    return ending


def test_a_terminated_sync_from_beginning_to_end(far_oms: MockOms, far_pagerduty: MockPagerDuty) -> None:
    """An operator ends the sync after PreSync: nobody is told by a hook; we page, on-call returns it, we resolve."""
    with watchdog(far_oms.url, far_pagerduty.url) as process:
        address = served_at(process)
        eventually(lambda: {IN_STANDBY, UNREADABLE} <= closed(far_pagerduty))
        for replica in far_oms.replicas:
            replica.operator("standby", OURS)

        eventually(lambda: is_open(far_pagerduty, IN_STANDBY))
        # It is counted once the answer has come back.
        eventually(lambda: series(address)['standby_watchdog_pages_total{outcome="delivered"}'] == 1)
        counted = series(address)
        assert sum(name.startswith("oms_standby_seconds") for name in counted) == 2

        for replica in far_oms.replicas:
            replica.operator("active")
        eventually(lambda: not is_open(far_pagerduty, IN_STANDBY))
        verdict = ends_well(process).verdict

    incident = far_pagerduty.incidents[IN_STANDBY]
    assert (incident.triggers, incident.opened, incident.status) == (1, 1, "resolved")
    assert {target["mode"] for target in verdict["targets"].values()} == {"active"}


def test_a_watchdog_that_was_killed_is_taken_up_by_the_next(
    far_oms: MockOms, far_pagerduty: MockPagerDuty
) -> None:
    """It has no state of its own: the next one pages again under the same key, and the one after it closes it."""
    for replica in far_oms.replicas:
        replica.operator("standby", OURS)
    with watchdog(far_oms.url, far_pagerduty.url) as process:
        eventually(lambda: is_open(far_pagerduty, IN_STANDBY))
        process.popen.kill()
    with watchdog(far_oms.url, far_pagerduty.url) as process:
        eventually(lambda: far_pagerduty.incidents[IN_STANDBY].triggers == 2)
        process.popen.kill()
    for replica in far_oms.replicas:
        replica.operator("active")
    with watchdog(far_oms.url, far_pagerduty.url) as process:
        eventually(lambda: not is_open(far_pagerduty, IN_STANDBY))
        ends_well(process)

    incident: Incident = far_pagerduty.incidents[IN_STANDBY]
    assert (incident.triggers, incident.opened) == (2, 1)


def test_an_oms_that_is_gone_and_comes_back(far_pagerduty: MockPagerDuty) -> None:
    """Refused connections are paged as unreadable, and resolved."""
    with MockOms(start_mode="active") as oms, watchdog(oms.url, far_pagerduty.url) as process:
        eventually(lambda: UNREADABLE in closed(far_pagerduty))
        oms.replicas[0].restart(down_seconds=60)
        eventually(lambda: is_open(far_pagerduty, UNREADABLE))
        oms.replicas[0].restart()
        eventually(lambda: not is_open(far_pagerduty, UNREADABLE))
        ends_well(process)


def test_every_pod_is_watched_through_a_rollout(
    far_oms: MockOms, far_pagerduty: MockPagerDuty, tmp_path: Path
) -> None:
    """The name is looked up every round: one pod of many that is left in standby is found."""
    addresses = [replica.bound[0] for replica in far_oms.replicas]
    port = far_oms.replicas[0].bound[1]
    names = resolver.answering(tmp_path, {"oms-headless": addresses})
    variables = names | {"OMS_EVERY_POD": "true"}
    with watchdog(f"http://oms-headless:{port}", far_pagerduty.url, **variables) as process:
        eventually(lambda: {IN_STANDBY, UNREADABLE} <= closed(far_pagerduty))
        far_oms.replicas[1].operator("standby", OURS)
        eventually(lambda: is_open(far_pagerduty, IN_STANDBY))
        summary = far_pagerduty.incidents[IN_STANDBY].summary
        verdict = ends_well(process).verdict

    assert f"{addresses[1]}:{port} is in standby: not trading" in summary
    assert verdict["targets"].keys() == {f"{address}:{port}" for address in addresses}


def test_with_pagerduty_refusing_the_chat_is_told(far_oms: MockOms, far_pagerduty: MockPagerDuty) -> None:
    """At once, and of the end as well; PagerDuty goes on being tried, and is told in the end."""
    far_pagerduty.faults = DeliveryFaults(status=403)
    far_oms.replicas[0].operator("standby", OURS)
    variables = {"ALERT_FALLBACK_URL": far_pagerduty.webhook_url}
    with watchdog(far_oms.url, far_pagerduty.url, **variables) as process:
        eventually(lambda: far_pagerduty.webhooks)
        far_pagerduty.faults = DeliveryFaults()
        eventually(lambda: is_open(far_pagerduty, IN_STANDBY))
        far_oms.replicas[0].operator("active")
        eventually(lambda: len(far_pagerduty.webhooks) == 2)
        eventually(lambda: not is_open(far_pagerduty, IN_STANDBY))
        ends_well(process)

    first, last = (message.text for message in far_pagerduty.webhooks)
    assert first.startswith("oms: our standby has lasted ")
    assert last.startswith("Over: ")


def test_nothing_that_hangs_keeps_it_from_ending(far_pagerduty: MockPagerDuty, tmp_path: Path) -> None:
    """An OMS, a resolver and a PagerDuty that are silent, and a TLS handshake that never ends, cost a second."""
    with (
        Peer(silence) as silent_oms,
        Peer(silence, greeting=never_shakes_hands) as silent_tls,
        Peer(silence) as silent_pagerduty,
    ):
        names = resolver.answering(tmp_path, {"hanging.test": resolver.HANGS})
        urls = f"http://hanging.test:8080,{silent_oms.url},https://{silent_tls.address}"
        variables = names | {
            "OMS_ATTEMPT_TIMEOUT_SECONDS": "30",
            "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "30",
            "OMS_EVERY_POD": "true",
        }
        with watchdog(urls, silent_pagerduty.url, **variables) as process:
            address = served_at(process)
            eventually(lambda: resolver.looked_up(tmp_path))
            assert get(address, "/healthz") == (200, b"the loop turns\n")
            ends_well(process)
        variables["OMS_ATTEMPT_TIMEOUT_SECONDS"] = "0.1"
        with watchdog(
            f"http://hanging.test:8080,{silent_oms.url}", silent_pagerduty.url, **variables
        ) as process:
            silent_pagerduty.wait_for("POST /")
            silent_oms.wait_for("GET /health/mode", 2)
            ends_well(process)


def test_sigterm_while_it_starts_is_heard(far_oms: MockOms, far_pagerduty: MockPagerDuty) -> None:
    """As PID 1 Python would not hear it; before the loop runs it is remembered."""
    with watchdog(far_oms.url, far_pagerduty.url) as process:
        eventually(lambda: catches_sigterm(process.popen.pid))
        ends_well(process)


def catches_sigterm(process: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught & 1 << signal.SIGTERM - 1)


def test_an_address_that_is_taken_is_misconfiguration(far_oms: MockOms, far_pagerduty: MockPagerDuty) -> None:
    """Exit code 2: the manifest must be edited."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = "{}:{}".format(*taken.getsockname())
        with watchdog(far_oms.url, far_pagerduty.url, WATCH_LISTEN=listen) as process:
            ending = process.ends(PATIENCE)

    assert ending.code == 2
    assert ending.reason == f"WATCH_LISTEN: {listen} cannot be listened on: Address already in use"


@pytest.mark.parametrize("missing", ["OMS_URL", "PAGERDUTY_ROUTING_KEY", "ARGOCD_APP_NAME"])
def test_what_it_cannot_do_without_is_required(missing: str) -> None:
    """It says so at once rather than when it should page."""
    with watchdog("http://127.0.0.1:1", "http://127.0.0.1:1", **{missing: ""}) as process:
        ending = process.ends(PATIENCE)

    assert ending.code == 2
    assert f"{missing}: is missing" in ending.reason


def test_certificates_are_read_again_when_they_change(
    authorities: Authorities, serving: Serving, far_pagerduty: MockPagerDuty, tmp_path: Path
) -> None:
    """An OMS whose authority was replaced is readable again once ours is; a broken file changes nothing."""
    trading = {"mode": "active", "reason": None}
    oms = serving(reply_json(trading), tls=authorities.server_of_unknown())
    mounted = Secrets(tmp_path)
    mounted.put(**{"ca.pem": authorities.ca_file.read_text()})
    with watchdog(oms.url, far_pagerduty.url, OMS_CA_FILE=str(tmp_path / "ca.pem")) as process:
        eventually(lambda: is_open(far_pagerduty, UNREADABLE))
        assert "its certificate does not verify" in process.told()

        mounted.put(**{"ca.pem": "not a certificate"})
        eventually(lambda: "files_not_usable" in process.told())
        mounted.put(**{"ca.pem": authorities.unknown.cert_pem.bytes().decode()})
        eventually(lambda: not is_open(far_pagerduty, UNREADABLE))
        assert oms.requests
        ending = ends_well(process)

    events = [line["event"] for line in ending.lines]
    assert (events.count("files_not_usable"), events.count("files_read_again")) == (1, 1)


def test_a_secret_that_was_rotated_is_used(
    far_oms: MockOms, far_pagerduty: MockPagerDuty, tmp_path: Path
) -> None:
    """The kubelet replaces files under a watchdog that runs for months."""
    far_oms.replicas[0].operator("standby", OURS)
    mounted = Secrets(tmp_path)
    mounted.put(PAGERDUTY_ROUTING_KEY="a-key-that-is-no-key")
    variables = {"PAGERDUTY_ROUTING_KEY": "", "SECRETS_DIR": str(tmp_path)}
    with watchdog(far_oms.url, far_pagerduty.url, **variables) as process:
        eventually(lambda: [request for request in far_pagerduty.requests if request.status == 400])
        mounted.put(PAGERDUTY_ROUTING_KEY=f"{ROUTING_KEY}\n")
        eventually(lambda: is_open(far_pagerduty, IN_STANDBY))
        told = ends_well(process).told

    assert ROUTING_KEY not in told


def test_a_second_watchdog_beside_it_pages_the_same_incident(
    far_oms: MockOms, far_pagerduty: MockPagerDuty
) -> None:
    """Two replicas of the Deployment wake on-call once."""
    far_oms.replicas[0].operator("standby", OURS)
    with (
        watchdog(far_oms.url, far_pagerduty.url) as first,
        watchdog(far_oms.url, far_pagerduty.url) as second,
    ):
        eventually(lambda: far_pagerduty.incidents and far_pagerduty.incidents[IN_STANDBY].triggers == 2)
        ends_well(first)
        ends_well(second)

    assert far_pagerduty.incidents[IN_STANDBY].opened == 1


# ── a long life ────────────────────────────────────────────────────────────────────────────────────

ROUNDS = 100_000


@pytest.fixture(scope="module", autouse=True)
def long_life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Let it be lived beside the other tests, by a process that nothing else disturbs or measures."""
    told = tmp_path_factory.mktemp("soak") / "told"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with (
        told.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.soak", str(ROUNDS)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parent.parent,
            env=environment,
        ) as living,
    ):
        yield living, told
        living.kill()


@pytest.mark.timeout(600)
def test_a_hundred_thousand_polls_leave_nothing_behind(
    long_life: tuple[subprocess.Popen[bytes], Path],
) -> None:
    """Neither memory nor connections nor series, though every address, name and incident was a new one."""
    living, told = long_life
    code = living.wait(600)
    assert code == 0, told.read_text()
    life = json.loads(told.read_text())

    happened, first, last = life["happened"], life["first"], life["last"]
    assert happened["looked up"] >= 0.99 * ROUNDS
    assert min(happened["answered"], happened["refused"], happened["paged"]) >= 0.03 * ROUNDS
    assert last["blocks"] - first["blocks"] < 2000
    assert last["kilobytes"] - first["kilobytes"] < 2000
    assert (last["files"], last["tasks"], last["series"]) == (first["files"], first["tasks"], first["series"])
    assert last["connections"] <= first["connections"] + 2
