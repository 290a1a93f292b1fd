"""Every scenario of the rehearsal, its pods run in the image."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.scenarios import SCENARIOS
from tests.engine.container import docker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.container import Play

REHEARSAL = [sys.executable, "-m", "rehearsal", "--runner", "docker", "--scenario"]
Played = subprocess.CompletedProcess[str]


def rehearsed(name: str) -> Played:
    """Play one scenario as a person would."""
    return subprocess.run([*REHEARSAL, name], capture_output=True, text=True, timeout=150, check=False)


@pytest.mark.parametrize(
    "course", [pytest.param(partial(rehearsed, of.name), id=of.name) for of in SCENARIOS]
)
def test_a_scenario_ends_as_it_must(course: Callable[[], Played], play: Play) -> None:
    """The image, run from the shipped manifests in 64 MB, brings about what the commands promise."""
    played = play(course)
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    assert "ended as it must" in played.stdout


def test_a_rehearsal_that_is_broken_off_leaves_no_container(images: None, tmp_path: Path) -> None:
    """SIGTERM in the middle of a drain: every container is gone, and every file."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([*REHEARSAL, "stuck-drain"], stdout=subprocess.PIPE, env=environment) as played:
        assert played.stdout
        next(line for line in played.stdout if b"draining" in line)
        assert str(tmp_path) in all_mounts()
        played.send_signal(signal.SIGTERM)
        played.communicate(timeout=60)
    assert played.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in all_mounts()


def all_mounts() -> str:
    """Name what is mounted into any container."""
    return docker("ps", "--all", "--no-trunc", "--format", "{{.Mounts}}")
