"""A real Prometheus scrapes the watchdog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from rehearsal.mock_oms import MockOms
from rehearsal.mock_pagerduty import MockPagerDuty
from tests.daemon import answers, running, tool
from tests.hostile.process import Process
from tests.watching import PATIENCE, environment, eventually, free_address, get

CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: standby-watchdog
  static_configs: [{{targets: ['{target}']}}]
"""


@pytest.fixture
def watchdog_address() -> Iterator[str]:
    """Hold where the watchdog serves."""
    with free_address() as address:
        yield address


@pytest.fixture
def prometheus(tmp_path: Path, watchdog_address: str) -> Iterator[str]:
    """Run a Prometheus that scrapes the watchdog; yield its address."""
    (tmp_path / "configuration.yml").write_text(CONFIGURATION.format(target=watchdog_address))
    with (
        free_address() as address,
        running(
            tmp_path,
            tool("prometheus", "prometheus"),
            "--config.file=configuration.yml",
            "--storage.tsdb.path=storage",
            f"--web.listen-address={address}",
            is_ready=lambda: answers(address, "/-/ready"),
        ),
    ):
        yield address


def api(prometheus: str, path: str) -> Any:
    """Ask for something."""
    status, body = get(prometheus, f"/api/v1/{path}")
    assert status == 200, body
    return json.loads(body)["data"]


def value(prometheus: str, expression: str) -> float | None:
    """Return what an expression yields now; None where it yields nothing."""
    found = api(prometheus, f"query?query={quote(expression)}")["result"]
    return float(found[0]["value"][1]) if found else None


def test_prometheus_knows_what_the_watchdog_knows(prometheus: str, watchdog_address: str) -> None:
    """Every series, with its help and type; and what was is no more as soon as it is over."""
    with (
        MockOms(replicas=2, start_mode="active") as oms,
        MockPagerDuty() as pagerduty,
        Process(
            "standby-watchdog",
            environment(
                oms.url,
                pagerduty.url,
                WATCH_LISTEN=watchdog_address,
                WATCH_POLL_SECONDS="0.1",
                WATCH_STANDBY_SECONDS="1",
            ),
        ) as process,
    ):
        eventually(lambda: value(prometheus, "count(oms_mode_info{mode='active'})") == 2)
        eventually(lambda: value(prometheus, "up") == 1)
        oms.replicas[0].operator("standby", "argocd-sync/run-1")
        eventually(lambda: (value(prometheus, "max(oms_standby_seconds{owner='argocd-sync'})") or 0) > 0.5)
        eventually(lambda: value(prometheus, "standby_watchdog_pages_total{outcome='delivered'}") == 1)
        eventually(lambda: value(prometheus, "count(oms_standby_seconds)") == 1)
        assert (value(prometheus, "max(time() - oms_last_read_timestamp_seconds)") or 0) < PATIENCE
        oms.replicas[0].operator("active")
        eventually(lambda: value(prometheus, "count(oms_standby_seconds)") is None)

        types = {
            name: of[0]["type"] for name, of in api(prometheus, "metadata").items() if "process" not in name
        }
        process.terminate()
        assert process.ends(PATIENCE).code == 0

    assert types == {
        "oms_standby_seconds": "gauge",
        "oms_mode_info": "gauge",
        "oms_last_read_timestamp_seconds": "gauge",
        "standby_watchdog_pages": "counter",
    }
    eventually(lambda: value(prometheus, "up") == 0)
