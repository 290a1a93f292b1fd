"""Little memory, little CPU, a resolver that is silent: what the contract says of time and ends holds all the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engine.container import Container, docker, run
from tests.hostile.environment import PATIENT, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT
from tests.hostile.peer import Peer, reply, reply_json

if TYPE_CHECKING:
    from tests.engine.container import Play
    from tests.hostile.process import Ending

FOR_EVER = 10**9
MEBIBYTE = 1024 * 1024
SLOW = ("--cpus=0.1",)


class Ended(NamedTuple):
    """How a command ended, and the OMS with it."""

    ending: Ending
    oms: Oms


Course = Callable[[], Ended]


# ── every end, as a kubelet reads it ─────────────────────────────────────────────────────────────────


def refused() -> Ended:
    """Let the OMS refuse the switch."""
    oms = Oms()
    with Peer(oms.answers(switch=reply(403, b"not you"))) as peer:
        return Ended(run("presync-standby", given(peer), within=10), oms)


def misconfigured() -> Ended:
    """Leave out what is required."""
    return Ended(run("presync-standby", {"STANDBY_ON_FAILURE": "perhaps"}, within=10), Oms())


def timed_out(options: tuple[str, ...] = ()) -> Ended:
    """Let the OMS drain for ever."""
    oms = Oms(drains_for=FOR_EVER)
    times = PATIENT | {"STANDBY_TIMEOUT_SECONDS": "2"}
    with Peer(oms.answers()) as peer:
        return Ended(run("presync-standby", given(peer, times=times), within=15, options=options), oms)


def undo_failed() -> Ended:
    """Let the OMS drain for ever and refuse the way back."""
    oms = Oms(drains_for=FOR_EVER)
    times = PATIENT | {"STANDBY_TIMEOUT_SECONDS": "2", "STANDBY_UNDO_SECONDS": "1"}

    def answer(connection: object, request: object) -> None:
        taken = not oms.told
        (oms.switch if taken else reply(403, b"no way back"))(connection, request)  # type: ignore[arg-type]

    with Peer(oms.answers(switch=answer)) as peer:
        return Ended(run("presync-standby", given(peer, times=times), within=15), oms)


def succeeded(command: str) -> Ended:
    """Let all be well."""
    oms = Oms(mode="active" if command == "presync-standby" else "standby", reason="argocd-sync")
    with Peer(oms.answers()) as peer, Peer(DELIVERED) as pagerduty:
        return Ended(run(command, given(peer, pagerduty=pagerduty), within=15), oms)


@pytest.mark.parametrize(
    ("course", "code", "told"),
    [
        pytest.param(refused, 1, "exit 1, refused: ", id="refused"),
        pytest.param(misconfigured, 2, "exit 2, misconfigured: ", id="misconfigured"),
        pytest.param(timed_out, 3, "exit 3, timed_out: ", id="timed out"),
        pytest.param(undo_failed, 4, "exit 4, undo_failed: ", id="undo failed"),
        *(
            pytest.param(partial(succeeded, command), 0, "exit 0, succeeded: ", id=f"{command} succeeded")
            for command in ("presync-standby", "postsync-verify", "syncfail-alert", "return-to-active")
        ),
    ],
)
def test_the_exit_code_and_the_termination_log_say_how_it_ended(
    course: Course, code: int, told: str, play: Play
) -> None:
    """Both as a kubelet reads them; nothing was written anywhere else."""
    ending, _ = play(course)
    assert ending.code == code
    assert ending.told.splitlines()[-1].startswith(told)


# ── little ───────────────────────────────────────────────────────────────────────────────────────────


def large_documents() -> Ended:
    """Let four targets answer with as much as is read of a body."""
    oms = Oms()
    large = {"mode": "standby", "reason": None, "padding": "x" * (MEBIBYTE - 100)}
    with Peer(reply_json(large)) as first, Peer(reply_json(large)) as second:
        peers = (first.url, f"{first.url}/again", second.url, f"{second.url}/again")
        return Ended(run("presync-standby", given(*peers), within=20), oms)


@pytest.mark.parametrize("course", [pytest.param(large_documents, id="the largest that is read")])
def test_64_megabytes_are_enough_for_the_largest_documents(course: Course, play: Play) -> None:
    """Nothing is killed for its memory."""
    ending, _ = play(course)
    assert ending.code == 0


@pytest.mark.parametrize("course", [pytest.param(partial(timed_out, SLOW), id="a drain that never ends")])
def test_a_tenth_of_a_core_moves_no_deadline(course: Course, play: Play) -> None:
    """It starts late, and from then on its time is the contract's: it gives up, undoes, and says so."""
    ending, oms = play(course)
    assert (ending.code, oms.mode) == (3, "active")
    assert ending.verdict["duration_seconds"] < 2 + 10


def slow_page() -> Ended:
    """Page with little CPU."""
    oms = Oms(mode="standby", reason="argocd-sync")
    with Peer(oms.answers()) as peer, Peer(DELIVERED) as pagerduty:
        ending = run("syncfail-alert", given(peer, pagerduty=pagerduty), within=30, options=SLOW)
        assert len(pagerduty.asked(EVENT)) == 1
        return Ended(ending, oms)


@pytest.mark.parametrize("course", [pytest.param(slow_page, id="an OMS in standby")])
def test_a_tenth_of_a_core_costs_no_page(course: Course, play: Play) -> None:
    """The page is sent, once, with what was gathered."""
    assert play(course).ending.code == 0


# ── a resolver that is silent ────────────────────────────────────────────────────────────────────────

SILENT = """
import socket, sys
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.53", 53))
sys.argv[1:] = ["--listen", "127.0.0.1:8080", "--webhook"]
from rehearsal.mock_pagerduty import main
main()
"""
"""Takes every question and answers none; beside it, in the same network, a webhook that needs no name."""


@contextmanager
def silent_resolver(directory: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Open a network of its own in which names are asked for in vain; it, and what makes a container ask there."""
    name = f"engine-test-{uuid.uuid4().hex[:12]}"
    configuration = directory / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.53\noptions timeout:5 attempts:2\n")
    network = ("--network", "none", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0")
    docker("run", "--detach", "--name", name, *network, "mock-oms", "python3", "-c", SILENT)
    try:
        while "listening" not in docker("logs", name):
            pass
        yield f"container:{name}", (f"--volume={configuration}:/etc/resolv.conf:ro",)
    finally:
        docker("rm", "--force", name)


NAMED = {"OMS_URL": "http://oms.trading.svc.cluster.local:8080", "ARGOCD_APP_NAME": "oms"}


def test_names_that_nobody_answers_for_hold_no_deadline(images: None, tmp_path: Path) -> None:
    """The C library asks for 10 s and cannot be interrupted; presync-standby has ended long before."""
    environment = NAMED | {"OMS_ADMIN_TOKEN": "made-up", "STANDBY_TIMEOUT_SECONDS": "1.5"}
    with silent_resolver(tmp_path) as (network, options):
        ending = run("presync-standby", environment, within=8, network=network, options=options)
    assert ending.code == 3
    assert ending.verdict["duration_seconds"] < 8


def test_a_name_that_nobody_answers_for_holds_no_sigterm(images: None, tmp_path: Path) -> None:
    """Terminated while the C library asks, it ends at once, within a grace period of a few seconds."""
    environment = NAMED | {"OMS_ADMIN_TOKEN": "made-up"}
    with (
        silent_resolver(tmp_path) as (network, options),
        Container("presync-standby", environment, network=network, options=options) as container,
    ):
        container.wait_until_it_looks_up_a_name()
        container.signal("TERM")
        ending = container.ends(5)
    assert ending.code == 143
    assert ending.verdict["duration_seconds"] < 5


def test_the_fallback_is_told_when_pagerdutys_name_is_not_answered_for(images: None, tmp_path: Path) -> None:
    """Neither the OMS nor PagerDuty resolves; the webhook is told, and that is success."""
    environment = NAMED | {
        "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
        "PAGERDUTY_EVENTS_URL": "http://events.pagerduty.invalid/v2/enqueue",
        "ALERT_FALLBACK_URL": "http://127.0.0.1:8080/webhook/on-call",
        "ALERT_FALLBACK_AFTER_SECONDS": "1",
        "ALERT_GATHER_SECONDS": "1",
        "ALERT_TIMEOUT_SECONDS": "4",
    }
    with silent_resolver(tmp_path) as (network, options):
        ending = run("syncfail-alert", environment, within=12, network=network, options=options)
        asked = docker("exec", network.removeprefix("container:"), "python3", "-c", ASK_WEBHOOK)
    assert ending.code == 0
    assert [message["path"] for message in json.loads(asked)] == ["/webhook/on-call"]


ASK_WEBHOOK = """
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:8080/mock/webhooks").read().decode())
"""
