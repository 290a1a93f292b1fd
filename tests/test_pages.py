"""Whole pages as on-call reads them, held to files that were reviewed as text.

`REWRITE_GOLDEN=1 pytest tests/test_pages.py` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hooks import syncfail_alert
from rehearsal.mock_pagerduty import errors_in
from tests.network import STARTING, Network, Oms, answering, in_turn, when
from tests.network import PagerDuty as Receiver

pytestmark = pytest.mark.looptime

PAGES = Path(__file__).with_name("golden") / "pages"
MINE = "argocd-sync/7c1f4a52-90d3-4f0e-8f0e-2d8d5a1b6c3e"

USUAL = {
    "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "PAGERDUTY_EVENTS_URL": "http://pagerduty.test/v2/enqueue",
    "ALERT_FALLBACK_URL": "http://chat.test/hooks/T0SECRET",
    "ALERT_RUNBOOK_URL": "https://runbook.example/oms?page=sync-failed",
    "ARGOCD_APP_NAME": "oms",
    "ARGOCD_URL": "https://argo.example",
    "OMS_URL": "http://oms-1:8080,http://oms-2:8080,http://oms-3:8080",
}


class Trading(Oms):
    """A target that tells what a real one tells, since a day that is long over wherever the tests run."""

    @property
    def document(self) -> dict[str, Any]:
        return super().document | {"since": "2024-03-02T03:04:05Z", "open_orders": 0, "version": "2"}


def oms(mode: str, owner: str | None = None, *, healthy: bool = True) -> Oms:
    """Return a target in this mode, put there by somebody."""
    target = Trading(mode, owner)
    if not healthy:
        target.health_answer = answering(503, STARTING)
    return target


def closed() -> Oms:
    """Return one that refuses connections."""
    target = Trading()
    target.port = "closed"
    return target


def hanging() -> Oms:
    """Return one that never answers."""
    target = Trading()
    target.port = "silent"
    return target


@dataclass(frozen=True)
class Scene:
    """What syncfail-alert finds, and what is not as usual in its environment."""

    targets: Callable[[], Sequence[Oms]] = lambda: ()
    variables: dict[str, str] = field(default_factory=dict)
    sigterm_at: float | None = None


RECOVER = {"ALERT_RECOVERY": "return-to-active"}
SCENES = {
    "all-in-standby": Scene(lambda: [oms("standby", MINE) for _ in range(3)]),
    "all-trading": Scene(lambda: [oms("active") for _ in range(3)]),
    "one-cannot-be-read": Scene(lambda: [oms("active"), oms("standby", MINE), closed()]),
    "new-version-not-healthy": Scene(
        lambda: [oms("standby", MINE), oms("standby", healthy=False), oms("draining", MINE)]
    ),
    "held-by-an-operator": Scene(
        lambda: [oms("standby", "operator/jane: INC-4711"), oms("standby", MINE), oms("active")], RECOVER
    ),
    "recovered": Scene(lambda: [oms("standby", MINE), oms("standby", MINE), oms("active")], RECOVER),
    "not-recovered": Scene(
        lambda: [oms("standby", MINE), oms("standby", healthy=False), oms("standby", MINE)], RECOVER
    ),
    "oms-url-unset": Scene(variables={"OMS_URL": ""}),
    "name-not-resolved": Scene(variables={"OMS_URL": "http://oms-headless:8080", "OMS_EVERY_POD": "true"}),
    "faults-of-the-environment": Scene(
        lambda: [oms("standby", MINE) for _ in range(3)],
        RECOVER | {"ALERT_GATHER_SECONDS": "5s", "ARGOCD_APP_NAME": "", "PAGERDUTY_SEVERITY": "high"},
    ),
    "without-a-routing-key": Scene(
        lambda: [oms("standby", MINE) for _ in range(3)], {"PAGERDUTY_ROUTING_KEY": ""}
    ),
    "terminated": Scene(lambda: [oms("standby", MINE), hanging(), hanging()], sigterm_at=1),
    "a-crowd": Scene(
        lambda: [oms("active") for _ in range(5)] + [oms("standby", MINE) for _ in range(20)],
        {"OMS_URL": "http://oms:8080", "OMS_EVERY_POD": "true"},
    ),
}


@pytest.mark.parametrize("name", SCENES)
async def test_a_page_reads_as_it_was_reviewed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event for PagerDuty and the text for a chat, whole, word by word."""
    scene, network, pagerduty, chat = SCENES[name], Network(monkeypatch), Receiver(), Receiver()
    targets = scene.targets()
    for number, target in enumerate(targets, 1):
        network.add(f"oms-{number}", target)
    network.names["oms"] = tuple(network.far_ends)
    network.add("pagerduty.test", pagerduty)
    network.add("chat.test", chat)
    # So that both are told.
    pagerduty.answer = in_turn(answering(403), answering(202))
    for variable, value in (USUAL | scene.variables).items():
        monkeypatch.setenv(variable, value)
    stop = asyncio.Event()
    if scene.sigterm_at is not None:
        when(scene.sigterm_at, stop.set)

    await syncfail_alert.decide(syncfail_alert.load(), stop)

    (message,) = chat.events
    hold(PAGES / f"{name}.txt", f"{message['text']}\n")
    if pagerduty.events:
        event = pagerduty.events[-1]
        assert errors_in(event) == []
        del event["routing_key"]
        hold(PAGES / f"{name}.json", f"{json.dumps(event, ensure_ascii=False, indent=2)}\n")


def hold(golden: Path, text: str) -> None:
    """Hold a text to its file, or write the file anew where that is wanted."""
    if os.environ.get("REWRITE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_page_that_was_reviewed_is_still_played() -> None:
    """A page whose scene was dropped or renamed is dropped as well."""
    assert {file.stem for file in PAGES.iterdir()} == SCENES.keys()
