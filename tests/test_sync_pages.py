"""A page for each way a sync can fail, with what Argo CD tells of it, held to files that were reviewed as text.

`REWRITE_GOLDEN=1 pytest tests/test_sync_pages.py` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hooks import syncfail_alert
from rehearsal.mock_pagerduty import errors_in
from tests import network as faked
from tests.applications import FAILED_SYNCS
from tests.hostile.certificates import Authorities
from tests.network import FarEnd, Network, Oms, PagerDuty, Reply, Request, answering, in_turn
from tests.test_argocd import FORBIDDEN
from tests.test_pages import MINE, USUAL, Trading, hold

pytestmark = pytest.mark.looptime

PAGES = Path(__file__).with_name("golden") / "syncs"


class Kubernetes(FarEnd):
    """An API that knows one Application, or says why not."""

    def __init__(self, document: Any, status: int = 200) -> None:
        super().__init__()
        self._answer = Reply(status, document)

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        return self._answer


def silent() -> Kubernetes:
    """Return one that drops packets."""
    api = Kubernetes({})
    api.port = "silent"
    return api


SCENES: dict[str, tuple[Kubernetes, Oms]] = {
    **{
        name: (Kubernetes(document), Trading("standby", MINE))
        for name, document in FAILED_SYNCS.items()
        if name != "presync-hook-failed"
    },
    # It was undone: what could not be put into standby trades.
    "presync-hook-failed": (Kubernetes(FAILED_SYNCS["presync-hook-failed"]), Trading()),
    "without-the-right-to-read-it": (Kubernetes(FORBIDDEN, 403), Trading("standby", MINE)),
    "with-an-api-that-hangs": (silent(), Trading("standby", MINE)),
}


@pytest.mark.parametrize("name", SCENES)
async def test_a_page_reads_as_it_was_reviewed(
    name: str, monkeypatch: pytest.MonkeyPatch, authorities: Authorities, tmp_path: Path
) -> None:
    """The event for PagerDuty and the text for a chat, whole, word by word."""
    kubernetes, oms = SCENES[name]
    network, pagerduty, chat = Network(monkeypatch), PagerDuty(), PagerDuty()
    for host, far_end in {
        "oms": oms,
        "kubernetes": kubernetes,
        "pagerduty.test": pagerduty,
        "chat.test": chat,
    }.items():
        network.add(host, far_end)
    # TLS is not what is told: tests of the room speak it.
    monkeypatch.setattr(faked._Connection, "start_tls", lambda connection, **_: asyncio.sleep(0, connection))
    pagerduty.answer = in_turn(answering(403), answering(202))
    for file, content in {
        "token": "token",
        "ca.crt": authorities.ca_file.read_text(),
        "namespace": "trading",
    }.items():
        (tmp_path / file).write_text(content)
    account = {"SERVICE_ACCOUNT_DIR": str(tmp_path), "KUBERNETES_SERVICE_HOST": "kubernetes"}
    for variable, value in (USUAL | account | {"OMS_URL": "http://oms:8080"}).items():
        monkeypatch.setenv(variable, value)

    await syncfail_alert.decide(syncfail_alert.load(), asyncio.Event())

    hold(PAGES / f"{name}.txt", f"{chat.events[0]['text']}\n")
    event = pagerduty.events[-1]
    assert errors_in(event) == []
    del event["routing_key"]
    hold(PAGES / f"{name}.json", f"{json.dumps(event, ensure_ascii=False, indent=2)}\n")


def test_every_page_that_was_reviewed_is_still_played() -> None:
    """A page whose scene was dropped or renamed is dropped as well."""
    assert {file.stem for file in PAGES.iterdir()} == SCENES.keys()
