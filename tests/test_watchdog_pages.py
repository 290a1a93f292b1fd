"""The watchdog's pages, and what is told when they are over, held to files that were reviewed as text.

`REWRITE_GOLDEN=1 pytest tests/test_watchdog_pages.py` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hooks import settings
from hooks.settings import Watch
from hooks.standby_watchdog import decide
from rehearsal.mock_pagerduty import errors_in
from tests.network import Network, Oms, PagerDuty, answering, in_turn
from tests.test_pages import MINE, USUAL, hold

pytestmark = pytest.mark.looptime(noop_cycles=1)

PAGES = Path(__file__).with_name("golden") / "watchdog"


@dataclass(frozen=True)
class Scene:
    """What becomes of three targets that trade."""

    happens: Callable[[Network, list[Oms]], object]
    fallback: str = "slack"
    seconds: float = 1000
    variables: dict[str, str] = field(default_factory=dict)


def all_held(_: Network, replicas: list[Oms]) -> None:
    """Leave all in our standby."""
    for oms in replicas:
        oms.held_by(MINE)


def one_of_each(_: Network, replicas: list[Oms]) -> None:
    """Leave one in our standby, one cannot be read and an operator holds the third."""
    replicas[0].held_by(MINE)
    replicas[1].port = "closed"
    replicas[2].held_by("operator/jane: INC-4711")


def all_closed(_: Network, replicas: list[Oms]) -> None:
    """Refuse every connection."""
    for oms in replicas:
        oms.port = "closed"


def name_gone(network: Network, _: list[Oms]) -> None:
    """Know the name no more."""
    network.names["oms"] = socket.EAI_NONAME


SCENES = {
    "in-standby": Scene(all_held),
    "in-standby-for-hours": Scene(all_held, seconds=5 * 3600 + 100),
    "one-of-three-in-standby": Scene(lambda _, replicas: replicas[1].held_by(MINE)),
    "one-of-each": Scene(one_of_each),
    "unreadable": Scene(all_closed),
    "name-unknown": Scene(name_gone, variables={"OMS_URL": "http://oms:8080", "OMS_EVERY_POD": "true"}),
    "in-standby-to-alertmanager": Scene(all_held, fallback="alertmanager"),
}


@pytest.mark.parametrize("name", SCENES)
async def test_a_page_reads_as_it_was_reviewed(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The event for PagerDuty, what the second way is told, and what it is told when it is over."""
    scene, network, pagerduty, chat = SCENES[name], Network(monkeypatch), PagerDuty(), PagerDuty()
    replicas = [Oms(), Oms(), Oms()]
    for number, oms in enumerate(replicas, 1):
        network.add(f"oms-{number}", oms)
    network.names["oms"] = tuple(network.far_ends)
    network.add("pagerduty.test", pagerduty)
    network.add("chat.test", chat)
    (tmp_path / "namespace").write_text("trading")
    watch = {"WATCH_LISTEN": "127.0.0.1:0", "WATCH_POLL_SECONDS": "30", "SERVICE_ACCOUNT_DIR": str(tmp_path)}
    told = {"ALERT_FALLBACK_URL": "http://chat.test", "ALERT_FALLBACK_FORMAT": scene.fallback}
    for variable, value in (USUAL | watch | told | scene.variables).items():
        monkeypatch.setenv(variable, value)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(decide(settings.load(Watch), stop))
    await asyncio.sleep(100)
    chat.requests.clear()
    pagerduty.answer = in_turn(answering(403), answering(202))

    addresses = dict(network.names)
    scene.happens(network, replicas)
    await asyncio.sleep(scene.seconds)
    event = [event for event in pagerduty.events if event["event_action"] == "trigger"][-1]
    network.names.update(addresses)
    for oms in replicas:
        oms.port = "open"
        oms.restart()
    await asyncio.sleep(100)
    stop.set()
    await watching

    assert errors_in(event) == []
    del event["routing_key"]
    hold(PAGES / f"{name}.json", f"{json.dumps(event, ensure_ascii=False, indent=2)}\n")
    hold(PAGES / f"{name}.txt", "────\n".join(map(written, (chat.requests[0].body, chat.requests[-1].body))))


def written(body: bytes) -> str:
    """Return what the second way was told, without the moment."""
    document = json.loads(body)
    if isinstance(document, dict):
        return f"{document['text']}\n"
    [alert] = document
    lasts = "the same" if alert["startsAt"] == alert["endsAt"] else "later"
    return f"{json.dumps(alert | {'startsAt': 'now', 'endsAt': lasts}, ensure_ascii=False, indent=2)}\n"


def test_every_page_that_was_reviewed_is_still_played() -> None:
    """A page whose scene was dropped or renamed is dropped as well."""
    assert {file.stem for file in PAGES.iterdir()} == SCENES.keys()
