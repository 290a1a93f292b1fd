"""/metrics and /healthz, over real HTTP."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from hooks.metrics import Metrics, TargetMetrics, serve
from tests.daemon import tool
from tests.watching import eventually, get, series

STANDBY = TargetMetrics("10.0.0.1:8080", "standby", "argocd-sync", 61.5, 1_767_323_045.25)
ACTIVE = TargetMetrics("10.0.0.2:8080", "active", "nobody", 0.0, 1_767_323_046.0)
DRAINING = TargetMetrics("10.0.0.3:8080", "other", "somebody else", 3.0, 1_767_323_047.0)
NEVER_READ = TargetMetrics("10.0.0.4:8080", "unreadable", "", 0.0, None)
EVERYBODY = (STANDBY, ACTIVE, DRAINING, NEVER_READ)

ABOUT_THE_PROCESS = "process_"


@pytest.fixture
def metrics() -> Metrics:
    """Have seen every kind of target."""
    metrics = Metrics(first_round_within=60)
    metrics.note_round(EVERYBODY, next_within=60)
    return metrics


@contextlib.contextmanager
def serving(metrics: Metrics, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve on any free port; yield the address."""
    server = serve(metrics, f"{host}:0")
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def address(metrics: Metrics) -> Iterator[str]:
    """Serve on loopback."""
    with serving(metrics) as address:
        yield address


def told(address: str) -> dict[str, float]:
    """Return what a scrape tells of the OMS and of pages."""
    return {
        name: value
        for name, value in series(address).items()
        if not name.startswith(ABOUT_THE_PROCESS) and "_created" not in name
    }


PAGES = {
    'standby_watchdog_pages_total{outcome="delivered"}': 0.0,
    'standby_watchdog_pages_total{outcome="not_delivered"}': 0.0,
}


def test_a_scrape_tells_the_latest_round(address: str) -> None:
    """Mode, whose standby it is and for how long, when it was last read; nothing that is not known."""
    assert told(address) == PAGES | {
        'oms_standby_seconds{owner="argocd-sync",target="10.0.0.1:8080"}': 61.5,
        'oms_standby_seconds{owner="somebody else",target="10.0.0.3:8080"}': 3.0,
        'oms_mode_info{mode="standby",target="10.0.0.1:8080"}': 1.0,
        'oms_mode_info{mode="active",target="10.0.0.2:8080"}': 1.0,
        'oms_mode_info{mode="other",target="10.0.0.3:8080"}': 1.0,
        'oms_mode_info{mode="unreadable",target="10.0.0.4:8080"}': 1.0,
        'oms_last_read_timestamp_seconds{target="10.0.0.1:8080"}': 1_767_323_045.25,
        'oms_last_read_timestamp_seconds{target="10.0.0.2:8080"}': 1_767_323_046.0,
        'oms_last_read_timestamp_seconds{target="10.0.0.3:8080"}': 1_767_323_047.0,
    }


def test_a_target_that_is_gone_leaves_no_series(metrics: Metrics, address: str) -> None:
    """Nor does the mode that a target was in before."""
    metrics.note_round((TargetMetrics("10.0.0.1:8080", "active", "nobody", 0.0, 2.0),), next_within=60)

    assert told(address) == PAGES | {
        'oms_mode_info{mode="active",target="10.0.0.1:8080"}': 1.0,
        'oms_last_read_timestamp_seconds{target="10.0.0.1:8080"}': 2.0,
    }


def test_without_targets_only_pages_are_told(metrics: Metrics, address: str) -> None:
    """Both outcomes are there from the beginning, so that a rate can be taken."""
    metrics.note_round((), next_within=60)
    metrics.count_page("delivered")
    metrics.count_page("not_delivered")
    metrics.count_page("not_delivered")

    assert told(address) == {
        'standby_watchdog_pages_total{outcome="delivered"}': 1.0,
        'standby_watchdog_pages_total{outcome="not_delivered"}': 2.0,
    }


def test_the_process_itself_is_told(address: str) -> None:
    """Memory and file descriptors, whose growth would be ours."""
    assert {"process_resident_memory_bytes", "process_open_fds"} <= series(address).keys()


def test_promtool_finds_no_fault(address: str) -> None:
    """Names, help and types are as Prometheus would have them."""
    promtool = tool("promtool", "prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=get(address, "/metrics")[1],
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_scrape_may_be_compressed(address: str) -> None:
    """Prometheus asks for it."""
    status, body = get(address, "/metrics", **{"Accept-Encoding": "gzip"})

    assert status == 200
    assert b"oms_mode_info" in gzip.decompress(body)


def test_before_its_first_round_has_ended_the_loop_has_time() -> None:
    """An OMS that hangs at the start is no reason to be restarted."""
    with serving(Metrics(first_round_within=60)) as address:
        assert get(address, "/healthz")[0] == 200
    with serving(Metrics(first_round_within=-1)) as address:
        assert get(address, "/healthz")[0] == 503


def test_health_is_whether_the_loop_turns(metrics: Metrics, address: str) -> None:
    """200 until a round is overdue, then 503, then 200 again with the next."""
    assert get(address, "/healthz") == (200, b"the loop turns\n")

    metrics.note_round(EVERYBODY, next_within=0.05)
    eventually(lambda: not metrics.is_turning)
    assert get(address, "/healthz") == (503, b"the loop does not turn\n")

    metrics.note_round(EVERYBODY, next_within=60)
    assert get(address, "/healthz") == (200, b"the loop turns\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/x", "/%2e%2e/etc/passwd", "/%e4"])
def test_there_is_nothing_else(path: str, address: str) -> None:
    """Who asks for it is told what there is."""
    assert get(address, path) == (404, b"/metrics or /healthz\n")


def test_a_head_is_answered_without_a_body(address: str) -> None:
    """Some probes send one."""
    assert get(address, "/healthz", "HEAD") == (200, b"")


def test_slow_clients_block_nobody(address: str) -> None:
    """Forty that say nothing, or half of something, are no reason for a scrape to wait."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as clients:
        for number in range(40):
            client = clients.enter_context(socket.create_connection((host, int(port))))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHo"[: number * 2])
        # One after the other they would be given up after 200 seconds; a scrape is not waited for so long.
        assert get(address, "/healthz")[0] == 200
        assert told(address)


def test_many_scrapes_at_once_are_all_answered(metrics: Metrics, address: str) -> None:
    """While rounds go on, each of them sees one whole round."""
    done = threading.Event()

    def turn() -> None:
        while not done.is_set():
            metrics.note_round((STANDBY,), next_within=60)
            metrics.note_round((ACTIVE, DRAINING), next_within=60)

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            scrapes = list(pool.map(lambda _: told(address), range(40)))
    finally:
        done.set()
        turning.join()

    modes = {tuple(sorted(name for name in scrape if "mode_info" in name)) for scrape in scrapes}
    assert modes <= {
        ('oms_mode_info{mode="standby",target="10.0.0.1:8080"}',),
        (
            'oms_mode_info{mode="active",target="10.0.0.2:8080"}',
            'oms_mode_info{mode="other",target="10.0.0.3:8080"}',
        ),
    }


def hangs_up(client: socket.socket) -> None:
    """Go away with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n", id="half a request"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n\r\n", id="a whole request, not waiting for its answer"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GET " + 70_000 * b"x", id="a path without end"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="HTTP of the future"),
    ],
)
def test_who_goes_away_is_not_told_of(sent: bytes, address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is for log lines, and standard error for nobody."""
    host, _, port = address.rpartition(":")
    for _ in range(5):
        client = socket.create_connection((host, int(port)))
        client.sendall(sent)
        hangs_up(client)

    assert get(address, "/healthz")[0] == 200
    eventually(lambda: threading.active_count() <= before_and_one_server())
    assert capfd.readouterr() == ("", "")


def before_and_one_server() -> int:
    """Return how many threads there are when nobody is being answered: ours, and each server's."""
    return sum("process_request_thread" not in thread.name for thread in threading.enumerate())


def test_who_says_nothing_is_given_up_without_a_word(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """After five seconds; nothing is printed."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 4.5 < time.monotonic() - began < 29

    assert get(address, "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_listened_on_is_raised(address: str) -> None:
    """The command tells it."""
    with pytest.raises(OSError, match="Address already in use"):
        serve(Metrics(60), address)


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine speaks no IPv6")
def test_ipv6_is_listened_on() -> None:
    """A cluster may have nothing else."""
    with serving(Metrics(60), "[::1]") as address:
        assert get(address, "/metrics")[0] == 200


def test_nobody_is_asked_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that is silent must not hold the watch before it begins."""

    def look_up(*name: object) -> NoReturn:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(socket, "getfqdn", look_up)
    monkeypatch.setattr(socket, "gethostbyaddr", look_up)
    with serving(Metrics(60)) as address:
        assert get(address, "/healthz")[0] == 200
