"""What tests of the watchdog share: its environment, an address to serve at, what a scrape tells."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
KEY = "argocd-sync/argocd/oms"
IN_STANDBY, UNREADABLE = f"{KEY}/standby", f"{KEY}/unreadable"

PATIENCE = 30.0
"""What is waited for comes much sooner; on a loaded machine at the latest within this, in seconds."""


def environment(oms: str, pagerduty: str, **variables: str) -> dict[str, str]:
    """Return the environment of a watchdog, with a far end each; an empty variable is an unset one."""
    required = {
        "OMS_URL": oms,
        "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
        "PAGERDUTY_EVENTS_URL": pagerduty,
        "ARGOCD_APP_NAME": "oms",
    }
    return required | variables


@contextmanager
def free_address(host: str = "127.0.0.1") -> Iterator[str]:
    """Hold HOST:PORT for whoever listens there later: bound, never listening, so that nobody else gets it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, 0))
        port = held.getsockname()[1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def get(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Ask as a scraper or a probe does; return the status and the body."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def series(address: str) -> dict[str, float]:
    """Scrape; return every series by its name and labels, as PromQL writes it."""
    families = text_string_to_metric_families(get(address, "/metrics")[1].decode())
    return {
        _written(sample.name, sample.labels): sample.value for family in families for sample in family.samples
    }


def _written(name: str, labels: Mapping[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name


def eventually(condition: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until something is so; raise AssertionError when it is not within so many seconds."""
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)
