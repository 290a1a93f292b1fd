"""Programs of the system that tests run themselves, on loopback, until they are done with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.watching import PATIENCE, eventually, get


def tool(name: str, package: str) -> Path:
    """Return where a program is; without it skip the test, in CI fail it, and say how to get it."""
    found = shutil.which(name)
    if found is None:
        how = f"{name} is needed: apt-get install --no-install-recommends {package}"
        if os.environ.get("CI"):
            pytest.fail(how)
        pytest.skip(how)
    return Path(found)


@contextmanager
def running(folder: Path, *command: str | Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Run a program in a folder of its own until the block ends; what it says is told when it does not get ready."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(lambda: process.poll() is not None or is_ready(), 2 * PATIENCE)
            assert process.poll() is None, (folder / "log").read_text()
            yield
        finally:
            process.kill()
            process.wait()


def answers(address: str, path: str) -> bool:
    """Whether somebody says 200 there."""
    try:
        return get(address, path)[0] == 200
    except OSError:
        return False
