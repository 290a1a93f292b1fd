"""Whatever the Kubernetes API does, it costs the page no more than the time for gathering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile import peer as hostile
from tests.hostile.answers import CLAIM, JSON
from tests.hostile.environment import given
from tests.hostile.pages import DELIVERED, EVENT, trigger
from tests.hostile.peer import Behaviour, Peer, drip, endless, gzip_bomb, ok_head, redirect, reply, reply_json
from tests.hostile.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.certificates import Authorities

APPLICATIONS: dict[str, Behaviour] = {
    "never answers": hostile.silence,
    "drips": drip(b" ", after=ok_head("Content-Length: 100000") + CLAIM),
    "has no end": endless(b" " * 65536, after=ok_head()),
    "is a bomb": gzip_bomb(),
    "is nested without end": reply(200, b'{"status":' + b"[" * 100_000, [JSON]),
    "refuses": reply(403, b'{"kind": "Status", "message": "forbidden"}', [JSON]),
    "sends elsewhere": redirect(307, "https://127.0.0.2:1/"),
    "resets": hostile.reset_after(),
    "is null": reply(200, b"null", [JSON]),
    "has no status": reply_json({"metadata": [], "status": None}),
    "has a status of another shape": reply_json(
        {
            "status": {
                "operationState": {
                    "phase": ["Failed"],
                    "message": {"x": "y"},
                    "operation": 7,
                    "syncResult": {
                        "revision": {},
                        "resources": [None, 1, "x", {"hookPhase": {}, "message": []}],
                    },
                },
                "sync": "no",
                "health": [],
            }
        }
    ),
    "says more than a page may hold": reply_json(
        {
            "status": {
                "operationState": {
                    "phase": "Failed",
                    "message": "m\u0000\ud800🏦" * 20_000,
                    "syncResult": {
                        "revision": "r" * 10_000,
                        "resources": [
                            {"kind": "Job", "name": "n" * 1000, "hookPhase": "Failed", "message": "é" * 5000}
                        ]
                        * 100,
                    },
                }
            }
        }
    ),
}


@pytest.mark.parametrize(
    "behaviour", [pytest.param(told, id=f"it {name}") for name, told in APPLICATIONS.items()]
)
def test_no_application_costs_the_page(
    authorities: Authorities, tmp_path: Path, behaviour: Behaviour
) -> None:
    """PagerDuty gets one event that it can take, and the API's token is told to nobody."""
    (tmp_path / "token").write_text("service-account-token\n")
    (tmp_path / "ca.crt").write_bytes(authorities.ca_file.read_bytes())
    with Peer(behaviour, tls=authorities.server()) as api, Peer(DELIVERED) as pagerduty:
        environment = given(
            pagerduty=pagerduty,
            ALERT_GATHER_SECONDS="1",
            SERVICE_ACCOUNT_DIR=str(tmp_path),
            KUBERNETES_SERVICE_HOST=api.host,
            KUBERNETES_SERVICE_PORT=str(api.port),
        )
        ending = run("syncfail-alert", environment, within=10)
        assert {request.header("authorization") for request in api.requests} == {
            "Bearer service-account-token"
        }
        (event,) = pagerduty.asked(EVENT)
    assert ending.code == 0
    trigger(event)
    assert "service-account-token" not in ending.told + event.body.decode()
