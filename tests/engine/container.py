"""A command in the image, as a kubelet runs it: confined, Secrets as files, its end read from outside."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from rehearsal import manifests
from rehearsal.__main__ import SHIPPED
from rehearsal.argo import jobs_in
from rehearsal.docker_runner import IMAGE, MEMORY, confinement, projected
from rehearsal.process_runner import TERMINATION_LOG
from tests.hostile.process import SLACK_SECONDS, Ending, _parsed, check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

SECRETS_DIR = "/etc/oms-hooks"
SECRETS = {"OMS_ADMIN_TOKEN", "PAGERDUTY_ROUTING_KEY", "ALERT_FALLBACK_URL"}
SIGTERM_IS_CAUGHT = 1 << 14
T = TypeVar("T")


class Play(Protocol):
    """Returns what became of a course of events."""

    def __call__(self, course: Callable[[], T]) -> T: ...


@functools.cache
def as_shipped() -> tuple[str, ...]:
    """Return the engine's options that confine a container as the manifests confine the hooks."""
    job = jobs_in(manifests.render(SHIPPED))[0]
    secrets = {"oms-hooks": {"OMS_ADMIN_TOKEN": "made-up"}}
    pod = manifests.pod(job, name="any", uid="any", secrets=secrets)
    return tuple(confinement(pod.security))


def docker(*command: str) -> str:
    """Ask the engine, which must do it."""
    asked = subprocess.run(["docker", *command], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, f"docker {' '.join(command)}: {asked.stderr}"
    return asked.stdout


class Container:
    """One command, from its start until it ended; nothing is left of it afterwards."""

    def __init__(
        self,
        command: str,
        environment: Mapping[str, str],
        *arguments: str,
        network: str = "host",
        options: tuple[str, ...] = (),
    ) -> None:
        """Start it; what of the environment is secret is given to it as files."""
        self.command = command
        self.name = f"engine-test-{uuid.uuid4().hex[:12]}"
        self._directory = tempfile.TemporaryDirectory()
        self._log = Path(self._directory.name, "termination-log")
        self._log.touch()
        self._log.chmod(0o666)
        files = {name: f"{value}\n" for name, value in environment.items() if name in SECRETS}
        given = {name: value for name, value in environment.items() if name not in SECRETS}
        given["SECRETS_DIR"] = SECRETS_DIR
        docker(
            *("create", "--name", self.name, "--pull", "never", "--network", network, "--memory", MEMORY),
            *as_shipped(),
            *(f"--env={name}={value}" for name, value in given.items()),
            f"--volume={projected(Path(self._directory.name, 'secrets'), files)}:{SECRETS_DIR}:ro",
            f"--volume={self._log}:{TERMINATION_LOG}",
            *options,
            *(IMAGE, command, *arguments),
        )
        self._pid = ""
        self._began = time.monotonic()
        docker("start", self.name)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Leave nothing behind."""
        subprocess.run(["docker", "rm", "--force", self.name], capture_output=True, check=False)
        self._directory.cleanup()

    def inspect(self, what: str) -> str:
        """Read one field of the container, as `{{.State.Pid}}`."""
        return docker("inspect", "--format", what, self.name).strip()

    def signal(self, name: str) -> None:
        """Send a signal to its first process; one that has ended takes none."""
        subprocess.run(["docker", "kill", "--signal", name, self.name], capture_output=True, check=False)

    def wait_until_it_listens(self) -> None:
        """Wait for the first moment at which SIGTERM is not lost: a first process has no default for it."""
        while not int(self.status("SigCgt"), 16) & SIGTERM_IS_CAUGHT:
            time.sleep(0.001)

    def wait_until_it_looks_up_a_name(self) -> None:
        """Wait for the thread in which the C library asks."""
        while int(self.status("Threads")) < 2:
            time.sleep(0.01)

    def status(self, name: str) -> str:
        """Read what the kernel says of its first process."""
        self._pid = self._pid or self.inspect("{{.State.Pid}}")
        return Path("/proc", self._pid, "status").read_text().partition(f"{name}:")[2].split()[0]

    def ends(self, within: float) -> Ending:
        """Wait for the end, within so many seconds and a loaded machine's slack; check what is true of each."""
        code = self.exit_code(within + SLACK_SECONDS)
        seconds = time.monotonic() - self._began
        said = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        lines = tuple(_parsed(line) for line in said.stdout.splitlines())
        told = f"{said.stdout}\n{said.stderr}\n{self.termination_log}"
        ending = Ending(code, lines, told, seconds, peak_bytes=0)
        assert self.inspect("{{.State.OOMKilled}}") == "false"
        check(self.command, ending, said.stderr, self.termination_log)
        assert self.written() == []
        return ending

    def exit_code(self, within: float) -> int:
        """Wait for the end; the code that the engine tells."""
        waiting = ["docker", "wait", self.name]
        return int(subprocess.run(waiting, capture_output=True, check=True, timeout=within).stdout)

    @property
    def termination_log(self) -> str:
        return self._log.read_text()

    def written(self) -> list[str]:
        """Name what differs from the image, beside the directories that the engine mounts something at."""
        mounted = [SECRETS_DIR, TERMINATION_LOG]
        changes = [line.split(maxsplit=1)[1] for line in docker("diff", self.name).splitlines()]
        return [path for path in changes if not any(mount.startswith(path) for mount in mounted)]


def run(
    command: str,
    environment: Mapping[str, str],
    *arguments: str,
    within: float,
    network: str = "host",
    options: tuple[str, ...] = (),
) -> Ending:
    """Run a command to its end."""
    with Container(command, environment, *arguments, network=network, options=options) as container:
        return container.ends(within)
