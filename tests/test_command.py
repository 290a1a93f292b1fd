"""The shell round every command, as processes: arguments, settings, signals, the verdict and the exit."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hooks import command, settings
from rehearsal.mock_oms import MockOms, Replica

COMMANDS: dict[str, type[settings.Logging]] = {
    "presync-standby": settings.Standby,
    "postsync-verify": settings.Postsync,
    "syncfail-alert": settings.AlertByPagerDuty,
    "return-to-active": settings.Verification,
    "standby-watchdog": settings.Watch,
}
TOKEN = "token-Zx81kQpL0nVt"
LONG_ENOUGH = 60
"""Seconds after which a process on a loaded machine is taken to hang."""


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it said."""

    code: int
    stdout: str
    stderr: str
    termination_log: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def verdict(self) -> dict[str, Any]:
        """The last line."""
        return self.lines[-1]

    @property
    def ending(self) -> tuple[int, str, str | None, str]:
        """Code, outcome and cause, and what was said on stderr."""
        return self.code, self.verdict["outcome"], self.verdict["cause"], self.stderr


class Commands:
    """Starts commands in this environment and with these variables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._termination_log = folder / "termination-log"
        self._termination_log.touch()

    def start(self, name: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start one; sitecustomize.py of the folder, if there is one, is run in it first."""
        return subprocess.Popen(
            [Path(sys.executable).with_name(name), *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(self._folder),
                "TERMINATION_LOG": str(self._termination_log),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for the end."""
        try:
            stdout, stderr = process.communicate(timeout=LONG_ENOUGH)
        finally:
            process.kill()
        return Ended(process.returncode, stdout, stderr, self._termination_log.read_text())

    def run(self, name: str, *arguments: str, **variables: str) -> Ended:
        """Run one to its end."""
        return self.ended(self.start(name, *arguments, **variables))

    def customise(self, source: str) -> None:
        """Let every process run this before anything else."""
        (self._folder / "sitecustomize.py").write_text(textwrap.dedent(source))


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Run commands with nothing but what a test gives."""
    return Commands(tmp_path)


@pytest.fixture
def oms() -> Iterator[Replica]:
    """Serve an OMS that trades and takes half a second to drain."""
    with MockOms(start_mode="active", drain_seconds=0.5) as opened:
        yield opened.replicas[0]


def until(replica: Replica, mode: str) -> None:
    """Wait until the OMS is in this mode."""
    deadline = time.monotonic() + LONG_ENOUGH
    while replica.state.mode != mode:
        assert time.monotonic() < deadline, f"still {replica.state.mode}"
        time.sleep(0.01)


class TestArguments:
    """What a person can ask of every command."""

    @pytest.mark.parametrize(("name", "kind"), COMMANDS.items(), ids=COMMANDS)
    def test_help(self, commands: Commands, name: str, kind: type[settings.Logging]) -> None:
        """It lists every variable that the command reads, and changes nothing."""
        ended = commands.run(name, "--help")
        words = ended.stdout.split()
        assert (0, "", "") == (ended.code, ended.stderr, ended.termination_log)
        assert [] == [variable for variable in kind.model_fields if variable.upper() not in words]
        assert ended.stdout.startswith(f"usage: {name} ")

    def test_version(self, commands: Commands) -> None:
        """Its name and the version of the package, and nothing else."""
        ended = commands.run("presync-standby", "--version")
        told = f"presync-standby {version('argocd-standby-hooks')}\n"
        assert (0, told, "") == (ended.code, ended.stdout, ended.stderr)

    def test_an_argument_that_is_not_known(self, commands: Commands, oms: Replica) -> None:
        """It is a misconfiguration, told by a verdict; nothing is sent."""
        ended = commands.run("presync-standby", "--now", OMS_URL=oms.url)
        assert ended.ending == (2, "failed", "misconfigured", "")
        assert ended.verdict["reason"] == "the command line cannot be used: unrecognized arguments: --now"
        assert oms.requests == ()

    def test_an_option_without_its_value(self, commands: Commands) -> None:
        """The same."""
        ended = commands.run("return-to-active", "--owner")
        assert ended.ending == (2, "failed", "misconfigured", "")

    def test_options_of_return_to_active(self, commands: Commands, oms: Replica) -> None:
        """--skip-health and --owner reach it."""
        oms.operator("standby", "operator/alice")
        refused = commands.run("return-to-active", "--skip-health", OMS_URL=oms.url)
        returned = commands.run(
            "return-to-active", "--skip-health", "--owner", "operator/alice", OMS_URL=oms.url
        )
        assert (1, 0, "active") == (refused.code, returned.code, oms.state.mode)
        assert {request.path for request in oms.requests} == {"/health/mode", "/admin/mode"}


class TestCheck:
    """--check: the code that it ends with, and how it tells what it found."""

    @pytest.mark.parametrize(
        ("faults", "variables", "code"),
        [
            pytest.param({}, {}, 0, id="all is well"),
            pytest.param({"mode_status": 403}, {}, 1, id="it is denied"),
            pytest.param({}, {"OMS_OWNER_FILTER": ".mode.name"}, 2, id="an expression errs"),
            pytest.param({}, {"OMS_MIN_TARGETS": "none"}, 2, id="a setting is wrong"),
            pytest.param({"reset": True}, {}, 3, id="it cannot be reached"),
        ],
    )
    def test_exit_codes(
        self, commands: Commands, oms: Replica, faults: dict[str, Any], variables: dict[str, str], code: int
    ) -> None:
        """0, 1, 2 and 3; nothing is switched."""
        oms.faults = type(oms.faults)(**faults)
        ended = commands.run("presync-standby", "--check", OMS_URL=oms.url, **variables)
        assert (code, "", ()) == (ended.code, ended.stderr, oms.state.switches)
        assert ended.verdict["event"] == "verdict"

    def test_elsewhere_it_writes_log_lines(self, commands: Commands, oms: Replica) -> None:
        """One for each finding, then the verdict."""
        ended = commands.run(
            "standby-watchdog",
            "--check",
            OMS_URL=oms.url,
            PAGERDUTY_ROUTING_KEY="r" * 32,
            ARGOCD_APP_NAME="orders",
        )
        findings = [line["tried"] for line in ended.lines if line["event"] == "checked"]
        assert (ended.code, findings) == (
            0,
            [
                "mode",
                "OMS_STANDBY_CONDITION",
                "OMS_ACTIVE_CONDITION",
                "OMS_OWNER_FILTER",
                "OMS_SINCE_FILTER",
                "health",
            ],
        )

    def test_on_a_terminal_it_prints_a_table(self, tmp_path: Path, oms: Replica) -> None:
        """A row for each finding, in columns."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [Path(sys.executable).with_name("presync-standby"), "--check"],
            env={
                **os.environ,
                "OMS_URL": oms.url,
                "TERMINATION_LOG": str(tmp_path / "none"),
                "NO_COLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        printed = _read_all(ours)
        assert process.wait(LONG_ENOUGH) == 0
        rows = [line.split(maxsplit=2) for line in printed.splitlines()]
        assert ["target", "tried", "found"] in rows
        assert [oms.address, "mode", "active"] in rows
        assert [oms.address, "OMS_STANDBY_CONDITION", "false"] in rows
        assert [oms.address, "health", "readable"] in rows
        assert "succeeded" in printed.splitlines()[-1]


class TestTheEnvironment:
    """Faults of it are told all at once."""

    def test_it_cannot_be_used(self, commands: Commands) -> None:
        """Each by its variable's name, in the log and in the termination log, never with a value."""
        ended = commands.run(
            "presync-standby",
            OMS_URL="ftp://oms",
            STANDBY_POLL_SECONDS="soon",
            OMS_ADMIN_TOKEN=f"{TOKEN}\N{SNOWMAN}",
            LOG_LEVEL="loud",
            LOG_FORMAT="yaml",
        )
        assert ended.ending == (2, "failed", "misconfigured", "")
        names = ["LOG_FORMAT", "LOG_LEVEL", "OMS_ADMIN_TOKEN", "OMS_URL", "STANDBY_POLL_SECONDS"]
        assert [name for name in names if f"{name}: " not in ended.verdict["reason"]] == []
        assert ended.termination_log == f"exit 2, misconfigured: {ended.verdict['reason']}"
        assert TOKEN not in ended.stdout
        assert "soon" not in ended.stdout

    def test_the_verdict_is_written_whatever_the_level(self, commands: Commands, oms: Replica) -> None:
        """LOG_LEVEL=critical leaves nothing else."""
        ended = commands.run("presync-standby", OMS_URL=oms.url, LOG_LEVEL="critical")
        assert [["verdict", "info", "presync-standby"]] == [
            [line["event"], line["level"], line["hook"]] for line in ended.lines
        ]


class TestTheTerminationLog:
    """The reason and the code also go to TERMINATION_LOG."""

    def test_a_success(self, commands: Commands, oms: Replica) -> None:
        """With the code and the very sentence of the verdict."""
        ended = commands.run("presync-standby", OMS_URL=oms.url)
        assert ended.ending == (0, "succeeded", None, "")
        assert ended.termination_log == f"exit 0, succeeded: {ended.verdict['reason']}"

    def test_at_most_4096_bytes(self, commands: Commands) -> None:
        """Cut between characters, however much there is to say."""
        names = ",".join(f"http://{'ä' * 20}{number}.test" for number in range(60))
        ended = commands.run(
            "presync-standby", OMS_URL=names, OMS_STANDBY_CONDITION="(", OMS_OWNER_FILTER="ü" * 5000
        )
        assert ended.code == 2
        assert len(ended.termination_log.encode()) <= 4096

    def test_where_no_kubelet_made_it_nothing_is_written(
        self, commands: Commands, oms: Replica, tmp_path: Path
    ) -> None:
        """And nothing is made."""
        missing = tmp_path / "missing"
        ended = commands.run("presync-standby", OMS_URL=oms.url, TERMINATION_LOG=str(missing))
        assert (ended.ending, missing.exists()) == ((0, "succeeded", None, ""), False)

    def test_one_that_cannot_be_written_is_a_warning(
        self, commands: Commands, oms: Replica, tmp_path: Path
    ) -> None:
        """And no failure."""
        ended = commands.run("presync-standby", OMS_URL=oms.url, TERMINATION_LOG=str(tmp_path))
        warnings = [line["event"] for line in ended.lines if line["level"] == "warning"]
        assert (ended.ending, warnings) == ((0, "succeeded", None, ""), ["termination_log_not_written"])


class TestSignals:
    """SIGTERM, and SIGINT for a person at a terminal."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_what_was_moved_is_returned(self, commands: Commands, number: signal.Signals) -> None:
        """In the midst of a drain: the OMS trades again, and the code is that of SIGTERM."""
        with MockOms(start_mode="active", drain_seconds=600) as slow:
            process = commands.start("presync-standby", OMS_URL=slow.url)
            until(slow.replicas[0], "draining")
            process.send_signal(number)
            ended = commands.ended(process)
            mode = slow.replicas[0].state.mode
        assert ended.ending == (143, "failed", "terminated", "")
        assert (mode, "exit 143, terminated: ") == ("active", ended.termination_log[:22])

    def test_before_anything_was_loaded(self, commands: Commands, oms: Replica) -> None:
        """It is remembered from the first moment: nothing is asked, and there is a verdict."""
        commands.customise("""
            import importlib, os, signal
            load = importlib.import_module

            def import_module(name, package=None):
                if name == "hooks.presync_standby":
                    os.kill(os.getpid(), signal.SIGTERM)
                return load(name, package)

            importlib.import_module = import_module
        """)
        ended = commands.run("presync-standby", OMS_URL=oms.url)
        assert (ended.ending, oms.requests) == ((143, "failed", "terminated", ""), ())

    def test_a_look_up_that_hangs_does_not_hold_it(self, commands: Commands) -> None:
        """A thread in which the resolver is silent is not waited for."""
        commands.customise("""
            import socket, time
            socket.getaddrinfo = lambda *question, **more: time.sleep(3600)
        """)
        ended = commands.run(
            "presync-standby", OMS_URL="http://oms.test", OMS_EVERY_POD="true", STANDBY_TIMEOUT_SECONDS="0.5"
        )
        assert ended.ending == (3, "failed", "timed_out", "")


class TestABug:
    """It becomes a verdict of its own, with a traceback that holds no secret."""

    SOURCE = f"""
        import socket

        def getaddrinfo(host, *question, **more):
            token = {TOKEN!r}
            raise ZeroDivisionError("a bug met " + token)

        socket.getaddrinfo = getaddrinfo
    """

    @pytest.mark.parametrize("arguments", [(), ("--check",)])
    def test_it_is_told(self, commands: Commands, arguments: tuple[str, ...]) -> None:
        """Where it happened, and no value of any variable."""
        commands.customise(self.SOURCE)
        ended = commands.run(
            "presync-standby",
            *arguments,
            OMS_URL="http://oms.test",
            OMS_EVERY_POD="true",
            OMS_ADMIN_TOKEN=TOKEN,
        )
        [crash] = [line for line in ended.lines if line["event"] == "crashed"]
        frames = [frame for exception in crash["exception"] for frame in exception["frames"]]
        assert ended.ending == (70, "failed", "crashed", "")
        assert ended.verdict["reason"].startswith("a bug: ZeroDivisionError: a bug met [redacted]")
        assert ended.termination_log == f"exit 70, crashed: {ended.verdict['reason']}"
        assert "getaddrinfo" in {frame["name"] for frame in frames}
        assert [frame for frame in frames if frame.get("locals")] == []
        assert TOKEN not in ended.stdout + ended.termination_log


def test_what_asyncio_would_print_is_logged() -> None:
    """Nothing but the log is written, whatever a loop has to say."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(command._unexpected)
    with capture_logs() as lines:
        loop.call_exception_handler({"message": "it was never retrieved", "exception": ValueError("x")})
    loop.close()
    assert lines == [
        {
            "event": "unexpected",
            "log_level": "debug",
            "reason": "it was never retrieved",
            "error": "ValueError('x')",
        }
    ]


def _read_all(terminal: int) -> str:
    """Read what is printed on a terminal until nobody can print any more."""
    printed = b""
    while select.select([terminal], [], [], LONG_ENOUGH)[0]:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # how a terminal tells that nobody is left
            break
        if not read:
            break
        printed += read
    os.close(terminal)
    return printed.decode()
