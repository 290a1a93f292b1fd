"""A pod as a container of this machine's engine: the image, under the manifest's security context, 64 MB of memory.

It shares this machine's network, where the far ends are, and of names knows only those of the table.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.job import RunnerError
from rehearsal.manifests import ManifestError
from rehearsal.process_runner import LONGEST_LINE_BYTES, TERMINATION_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rehearsal.manifests import Pod

IMAGE = "argocd-standby-hooks"
# Half of what the manifests allow.
MEMORY = "64m"
# The kubelet keeps a projected volume behind this link, and turns it when a Secret changes.
DATA = "..data"


class DockerRunner:
    """Starts pods as containers, their files all within one directory, which is the caller's to remove."""

    changes = (("image", f"the manifest's → {IMAGE}, built here"),)

    def __init__(self, directory: Path) -> None:
        """Raise RunnerError where there is no engine or no image."""
        docker("image", "inspect", "--format", "{{.Id}}", IMAGE, wanted=f"the image {IMAGE} (make image)")
        self._directory = directory
        self._hosts = directory / "hosts"
        # Hosts alone: a name that is not in the table is in no DNS either.
        (directory / "nsswitch.conf").write_text("hosts: files\n")
        self.resolve({})

    def resolve(self, table: Mapping[str, Sequence[str]]) -> None:
        """Let these names resolve to these addresses from now on, in pods that run already too."""
        # Written in place: a running container keeps the file that it was given, not its name.
        self._hosts.write_text(
            "127.0.0.1 localhost\n"
            + "".join(f"{address} {name}\n" for name, addresses in table.items() for address in addresses)
        )

    async def start(self, pod: Pod, tell: Callable[[str], None]) -> PodContainer:
        """Create the container and start it. Raises ManifestError, and RunnerError where the engine refuses."""
        options = ["--name", pod.name, "--rm", "--pull", "never", "--network", "host", "--memory", MEMORY]
        options += confinement(pod.security)
        options += [f"--env={name}={value}" for name, value in pod.environment.items()]
        options += [f"--volume={path}:{mounted}" for path, mounted in self._mounts(pod)]
        # Not awaited: broken off between the two, it would leave a container behind.
        docker("create", *options, IMAGE, *pod.command, wanted=f"a container for {pod.name}")
        process = await asyncio.create_subprocess_exec(
            *("docker", "start", "--attach", pod.name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LONGEST_LINE_BYTES,
        )
        return PodContainer(pod.name, process, tell)

    def _mounts(self, pod: Pod) -> Iterator[tuple[str, str]]:
        yield str(self._hosts), "/etc/hosts:ro"
        yield str(self._directory / "nsswitch.conf"), "/etc/nsswitch.conf:ro"
        root = Path(tempfile.mkdtemp(prefix=f"{pod.name}-", dir=self._directory))
        for number, (path, files) in enumerate(pod.files.items()):
            yield str(projected(root / str(number), files)), f"{path}:ro"
        log = root / "termination-log"
        log.touch()
        # As the kubelet leaves it: whoever runs in the container may write it.
        log.chmod(0o666)
        yield str(log), TERMINATION_LOG


class PodContainer:
    """One pod that was started."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, tell: Callable[[str], None]) -> None:
        self._name = name
        self._process = process
        self._tell = tell
        self._orders: list[subprocess.Popen[bytes]] = []

    async def ended(self) -> int:
        """Wait for its end; the exit code as the kubelet reports it, a signal as 128 and its number."""
        assert self._process.stdout
        async for line in self._process.stdout:
            self._tell(line.decode(errors="replace").rstrip("\n"))
        code = await self._process.wait()
        while self._orders:
            self._orders.pop().wait()
        return code

    def terminate(self) -> None:
        """SIGTERM, to the first process of the container."""
        self._order("kill", "--signal", "TERM")

    def kill(self) -> None:
        """Leave nothing of the container."""
        if self._process.returncode is None:
            self._order("rm", "--force")

    def _order(self, *order: str) -> None:
        with suppress(OSError):
            self._orders.append(
                subprocess.Popen(
                    ["docker", *order, self._name],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )


def docker(*command: str, wanted: str) -> str:
    """Ask the engine; what it prints. Raises RunnerError, in its words, where `wanted` is not to be had."""
    try:
        asked = subprocess.run(["docker", *command], capture_output=True, text=True, check=False)
    except OSError as error:
        raise RunnerError(f"no {wanted}: docker: {error.strerror}") from None
    if asked.returncode:
        raise RunnerError(f"no {wanted}: {' '.join(asked.stderr.split())}")
    return asked.stdout


def confinement(security: Mapping[str, Any]) -> list[str]:
    """Say a security context in the engine's options. Raises ManifestError for what is not played."""
    options = [f"--user={security.get('runAsUser', '')}:{security.get('runAsGroup', '')}".rstrip(":=")]
    for name, value in security.items():
        match name, value:
            case "runAsUser" | "runAsGroup", int():
                pass
            case "runAsNonRoot", True:
                if not security.get("runAsUser"):
                    raise ManifestError("runAsNonRoot without runAsUser is not played")
            case "fsGroup", int():
                options.append(f"--group-add={value}")
            case "readOnlyRootFilesystem", bool():
                options.append(f"--read-only={str(value).lower()}")
            case "allowPrivilegeEscalation", False:
                options.append("--security-opt=no-new-privileges")
            case "capabilities", {"drop": [*dropped], **others} if not others:
                options += [f"--cap-drop={capability}" for capability in dropped]
            case "seccompProfile", {"type": "RuntimeDefault"}:
                pass  # the engine's own, unless told otherwise
            case _:
                raise ManifestError(f"securityContext: {name}: {value} is not played")
    return [option for option in options if option != "--user"]


def projected(directory: Path, files: Mapping[str, str]) -> Path:
    """Write files as the kubelet lays out a volume: each a link through a link to what is there now."""
    now = directory / "..now"
    now.mkdir(parents=True)
    (directory / DATA).symlink_to(now.name)
    for name, content in files.items():
        (now / name).write_text(content)
        # A group that owns it, as by fsGroup, only root could give; on this machine its directory hides it.
        (now / name).chmod(0o444)
        (directory / name).symlink_to(f"{DATA}/{name}")
    return directory
