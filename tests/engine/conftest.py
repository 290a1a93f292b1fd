"""An engine, both images built of the tree as it is, and tests played side by side."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.k8s.tools import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engine.container import Play

ROOT = Path(__file__).parents[2]
HOW = "apt-get install docker.io and start dockerd, or install Docker or Podman's docker command"
# Each mostly waits; more would only slow each other down.
AT_ONCE = 3


@pytest.fixture(scope="session")
def images() -> None:
    """Build both images, as `make image` does."""
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "version"], capture_output=True, check=False).returncode
    ):
        missing("a container engine", install=HOW)
    made = subprocess.run(["make", "image"], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.fail(f"make image (BASES=local where no registry can be reached):\n{made.stdout}{made.stderr}")


@pytest.fixture(scope="session")
def play(request: pytest.FixtureRequest, images: None) -> Iterator[Play]:
    """Return what became of a course of events; all that were chosen go on side by side."""
    chosen: list[Callable[[], Any]] = [
        callspec.params["course"]
        for item in request.session.items
        if (callspec := getattr(item, "callspec", None)) and "course" in callspec.params
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        played: dict[int, Future[Any]] = {id(course): pool.submit(course) for course in chosen}
        try:
            yield lambda course: played[id(course)].result()
        finally:
            pool.shutdown(cancel_futures=True)
