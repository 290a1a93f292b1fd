"""/metrics and /healthz of the watchdog; the only import of prometheus_client.

Served from a thread of its own, so that /healthz can tell when the loop no longer turns. What a scrape tells of
targets is made from the latest round alone: a pod that is gone leaves no series behind. No label takes what a
peer says.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PAGE_OUTCOMES = ("delivered", "not_delivered")
_LONGEST_REQUEST_SECONDS = 5


@dataclass(frozen=True)
class TargetMetrics:
    """What is known of one target: its mode, whose standby it is in and for how long, when it was last read.

    `last_read` is Unix seconds, None while it never was.
    """

    target: str
    mode: str
    owner: str
    standby_seconds: float
    last_read: float | None


class Metrics(Collector):
    """What Prometheus is told. The loop writes it, the serving thread reads it."""

    def __init__(self, first_round_within: float) -> None:
        """Count the loop as turning for so many seconds before its first round has ended."""
        self.registry = CollectorRegistry()
        self._targets: tuple[TargetMetrics, ...] = ()
        self._turns_until = time.monotonic() + first_round_within
        self._pages = Counter(
            "standby_watchdog_pages",
            "Attempts to deliver a page or its repetition.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in _PAGE_OUTCOMES:
            self._pages.labels(outcome)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def note_round(self, targets: tuple[TargetMetrics, ...], *, next_within: float) -> None:
        """Take a round; the loop counts as turning for so many seconds from now."""
        self._targets = targets
        self._turns_until = time.monotonic() + next_within

    def count_page(self, outcome: str) -> None:
        """Count an attempt to page: `delivered` or `not_delivered`."""
        self._pages.labels(outcome).inc()

    @property
    def is_turning(self) -> bool:
        """Whether the loop of the watchdog still turns."""
        return time.monotonic() <= self._turns_until

    def collect(self) -> Iterator[Metric]:
        """Yield what the latest round showed."""
        standby = GaugeMetricFamily(
            "oms_standby_seconds", "For how long a target has not been trading.", labels=["target", "owner"]
        )
        mode = GaugeMetricFamily(
            "oms_mode_info", "1 for the mode that a target is in.", labels=["target", "mode"]
        )
        last_read = GaugeMetricFamily(
            "oms_last_read_timestamp_seconds", "When a target could last be read.", labels=["target"]
        )
        for target in self._targets:
            mode.add_metric([target.target, target.mode], 1)
            if target.mode not in {"active", "unreadable"}:
                standby.add_metric([target.target, target.owner], target.standby_seconds)
            if target.last_read is not None:
                last_read.add_metric([target.target], target.last_read)
        yield from (standby, mode, last_read)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking DNS for a name of ours, which http.server would do."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "standby-watchdog", self.server_address[1]
        self.setup_environ()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that resets or falls silent is its own affair."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _LONGEST_REQUEST_SECONDS

    def log_message(self, *_: Any) -> None:
        """Say nothing: standard output is for log lines."""


def serve(metrics: Metrics, listen: str) -> WSGIServer:
    """Serve in the background, on HOST:PORT, and return the server.

    Raises OSError when that cannot be listened on.
    """
    host, _, port = listen.rpartition(":")
    tell_metrics = make_wsgi_app(metrics.registry)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/metrics":
            return tell_metrics(environ, start_response)
        if environ["PATH_INFO"] != "/healthz":
            status, body = "404 Not Found", b"/metrics or /healthz\n"
        elif metrics.is_turning:
            status, body = "200 OK", b"the loop turns\n"
        else:
            status, body = "503 Service Unavailable", b"the loop does not turn\n"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    kind = _Server6 if ":" in host else _Server
    server = make_server(host.strip("[]"), int(port), application, server_class=kind, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
