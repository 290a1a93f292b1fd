"""The installed commands as processes, in an environment that is given to them whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

COMMANDS = ("presync-standby", "postsync-verify", "syncfail-alert", "return-to-active")

CAUSES = {
    0: None,
    1: "refused",
    2: "misconfigured",
    3: "timed_out",
    4: "undo_failed",
    70: "crashed",
    143: "terminated",
}
"""Every exit code of the contract, and its cause."""

MEMORY_BYTES = 120_000_000
"""More than this at its peak is not bounded."""

SLACK_SECONDS = 15.0
"""What a loaded machine may add to the time that a command was given."""

TOKEN = "token-Zx81kQpL0nVt"
ROUTING_KEY = "r0ut1ngkeyr0ut1ngkeyr0ut1ngkey99"
FALLBACK_PATH = "/services/T0WZQ7HXPL/B0KJ3NVYRM"
FALLBACK_QUERY = "signature=s1gn4tur3QzR8"

USER_INFO = "u5er-1nfo:p4ss-1nfo"

SECRETS = (TOKEN, ROUTING_KEY, "T0WZQ7HXPL", "B0KJ3NVYRM", "s1gn4tur3QzR8", "u5er-1nfo", "p4ss-1nfo")
"""None of these may be read anywhere in what a command tells of itself, nor the larger part of one."""

FRAGMENTS = tuple({part for secret in SECRETS for part in (secret[:8], secret[-8:])})


@dataclass(frozen=True)
class Ending:
    """How a process ended, and all that it said; what every ending has in common was checked."""

    code: int
    lines: tuple[dict[str, Any], ...] = field(repr=False)
    told: str = field(repr=False)
    """Standard output, standard error and the termination log as they are."""
    seconds: float
    peak_bytes: int

    @property
    def verdict(self) -> dict[str, Any]:
        """The last line."""
        return self.lines[-1]

    @property
    def reason(self) -> str:
        """The verdict's sentence."""
        return str(self.verdict["reason"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == name]


class Process:
    """One command, from its start until it ended."""

    def __init__(
        self,
        command: str,
        environment: Mapping[str, str],
        *arguments: str,
        through: Sequence[str | Path] = (),
    ) -> None:
        """Start it with this environment, PATH and HOME alone; `through` is what executes it, if anything."""
        self.command = command
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115  # outlives this call
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._termination_log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._began = time.monotonic()
        self.peak_bytes = 0
        self.popen = subprocess.Popen(
            [*through, Path(sys.executable).with_name(command), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "TERMINATION_LOG": self._termination_log.name,
            }
            | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            # No terminal: nothing can be prompted for.
            start_new_session=True,
        )
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Leave no process behind."""
        self.popen.kill()
        self.popen.wait()
        self._watch.join()
        for file in (self._stdout, self._stderr, self._termination_log):
            file.close()

    def terminate(self) -> None:
        """Send SIGTERM, as the kubelet does."""
        self.popen.send_signal(signal.SIGTERM)

    def exit_code(self, within: float) -> int:
        """Wait for the end; a signal that ended it counts as a shell counts it."""
        try:
            code = self.popen.wait(within)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(
                f"{self.command} still ran after {within:g} s: {self.told()[-1000:]}"
            ) from None
        return code if code >= 0 else 128 - code

    def ends(self, within: float) -> Ending:
        """Wait for the end and check what the contract says of every ending."""
        code = self.exit_code(within)
        seconds = time.monotonic() - self._began
        self._watch.join()
        output = _content(self._stdout)
        lines = tuple(_parsed(line) for line in output.splitlines())
        ending = Ending(code, lines, self.told(), seconds, self.peak_bytes)
        check(self.command, ending, _content(self._stderr), self.termination_log())
        return ending

    def termination_log(self) -> str:
        """Return what the termination log holds."""
        return Path(self._termination_log.name).read_text("utf-8")

    def told(self) -> str:
        """Return everything that the command said, wherever."""
        return "\n".join([_content(self._stdout), _content(self._stderr), self.termination_log()])

    def _watch_memory(self) -> None:
        # The kernel forgets the peak with the process; and ru_maxrss would count what we held before exec.
        status = Path(f"/proc/{self.popen.pid}/status")
        while self.popen.returncode is None:
            with contextlib.suppress(OSError):
                for line in status.read_text("ascii").splitlines():
                    if line.startswith("VmHWM:"):
                        self.peak_bytes = int(line.split()[1]) * 1024
            time.sleep(0.02)


def run(command: str, environment: Mapping[str, str], *arguments: str, within: float) -> Ending:
    """Run a command to its end, which must come within so many seconds and a loaded machine's slack."""
    with Process(command, environment, *arguments) as process:
        return process.ends(within + SLACK_SECONDS)


def check(command: str, ending: Ending, stderr: str, termination_log: str) -> None:
    """Hold what is true of every ending."""
    assert stderr == "", stderr
    assert ending.lines, "not even a verdict"
    for line in ending.lines:
        assert {"timestamp", "level", "event", "hook"} <= line.keys(), line
        assert command == line["hook"], line
    assert ending.code in CAUSES, ending.verdict
    cause = CAUSES[ending.code]
    outcome = {"event": "verdict", "outcome": "failed" if cause else "succeeded", "cause": cause}
    assert outcome == {key: ending.verdict.get(key) for key in outcome}
    assert isinstance(ending.verdict["reason"], str), ending.verdict
    assert isinstance(ending.verdict["duration_seconds"], int | float), ending.verdict
    assert isinstance(ending.verdict["targets"], dict), ending.verdict
    assert ending.code != 70, ending.reason
    assert "Traceback" not in ending.told
    assert len(termination_log.encode()) <= 4096
    assert str(ending.code) in termination_log, termination_log
    assert ending.reason[:200] in termination_log or _escaped(ending.reason)[:200] in termination_log
    assert ending.peak_bytes < MEMORY_BYTES, f"{ending.peak_bytes / 1e6:.0f} MB"
    assert_no_secret_in(ending.told)


def assert_no_secret_in(text: str) -> None:
    """Hold that no part of a secret that would help anybody is in the text."""
    found = (text.find(fragment) for fragment in FRAGMENTS)
    told = [text[max(0, at - 60) : at + 60] for at in found if at >= 0]
    assert told == []


def _escaped(sentence: str) -> str:
    return json.dumps(sentence)[1:-1]


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def _parsed(line: str) -> dict[str, Any]:
    parsed = json.loads(line)
    assert isinstance(parsed, dict), line
    return parsed
