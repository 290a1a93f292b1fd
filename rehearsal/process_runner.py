"""A pod as a process of this machine: the installed command, the manifest's environment, its Secrets as files."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rehearsal.manifests import Pod

# asyncio gives up on a longer line; a verdict that quotes every document is far shorter.
LONGEST_LINE_BYTES = 1 << 22
# The kubelet makes this file in every container.
TERMINATION_LOG = "/dev/termination-log"


class ProcessRunner:
    """Starts pods as processes, all within one directory, which is the caller's to remove."""

    changes = (("SECRETS_DIR", "as mounted → a directory of each pod, TERMINATION_LOG beside it"),)

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        shutil.copy(Path(__file__).with_name("names.py"), directory / "sitecustomize.py")
        self.resolve({})

    def resolve(self, table: Mapping[str, Sequence[str]]) -> None:
        """Let these names resolve to these addresses from now on, in pods that run already too."""
        new = self._directory / "names.new"
        new.write_text(json.dumps({name: list(addresses) for name, addresses in table.items()}))
        new.replace(self._directory / "names.json")

    async def start(self, pod: Pod, tell: Callable[[str], None]) -> PodProcess:
        """Start the command that is installed beside this python, in a session of its own.

        Raises FileNotFoundError if it is not installed.
        """
        root = Path(tempfile.mkdtemp(prefix=f"{pod.name}-", dir=self._directory))
        process = await asyncio.create_subprocess_exec(
            *pod.command,
            env=self._environment(pod, _mount(pod, root)),
            cwd=root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LONGEST_LINE_BYTES,
        )
        return PodProcess(process, tell)

    def _environment(self, pod: Pod, mounted: Mapping[str, Path]) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(self._directory),
            "TERMINATION_LOG": _moved(TERMINATION_LOG, mounted),
            **{name: _moved(value, mounted) for name, value in pod.environment.items()},
        }


class PodProcess:
    """One pod that was started."""

    def __init__(self, process: asyncio.subprocess.Process, tell: Callable[[str], None]) -> None:
        self._process = process
        self._tell = tell

    async def ended(self) -> int:
        """Wait for its end; the exit code as the kubelet reports it, a signal as 128 and its number."""
        assert self._process.stdout
        async for line in self._process.stdout:
            self._tell(line.decode(errors="replace").rstrip("\n"))
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM, to the command alone, as to the first process of a container."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to all that is left of its session."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _mount(pod: Pod, root: Path) -> dict[str, Path]:
    """Write the pod's files below its root; where each mount path is now."""
    mounted = {path: root / path.lstrip("/") for path in pod.files}
    for path, directory in mounted.items():
        directory.mkdir(parents=True)
        for name, content in pod.files[path].items():
            (directory / name).write_text(content)
            (directory / name).chmod(0o440)
    log = mounted[TERMINATION_LOG] = root / TERMINATION_LOG.lstrip("/")
    log.parent.mkdir(parents=True)
    log.touch()
    return mounted


def _moved(value: str, mounted: Mapping[str, Path]) -> str:
    for path, directory in mounted.items():
        if value == path or value.startswith(f"{path}/"):
            return f"{directory}{value.removeprefix(path)}"
    return value
