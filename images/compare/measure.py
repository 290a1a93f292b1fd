"""Measure the image beside the other ways to build it: size, files, start, with and without a CPU limit.

    python images/compare/measure.py [--rounds 11]

As root on Linux, after `make image BASES=local`, on a machine that does nothing else. Each round runs every variant
once, the first counts for nothing; what is told are medians. "Outside" is the same root without a container, by chroot.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from rehearsal.mock_oms import MockOms  # noqa: E402  # a script is run where it lies

VARIANTS = {
    "slim, no bytecode": "compare:slim-no-bytecode",
    "slim, the venv's bytecode": "compare:slim",
    "slim, all bytecode": "compare:slim-compiled",
    "distroless-like, all bytecode": "compare:distroless",
    "**closure on scratch, all bytecode**": "argocd-standby-hooks:latest",
}
LIMITS = (None, "0.5", "0.25", "0.1")
# Tells when it begins, on the clock that the mock has, too.
THEN = "import os, time; os.write(1, f'{time.time()}\\n'.encode()); os.execv('/opt/hooks/bin/presync-standby', ['presync-standby'])"
COMMAND = ("/opt/hooks/bin/python3", "-Ic", THEN)
CONFINED = ("--read-only", "--user", "65532", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")

# From `docker run` to its end, and from the command's start to its first request, in milliseconds.
Measured = tuple[float, float]


def main() -> None:
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--rounds", type=int, default=11)
    rounds = command.parse_args().rounds
    build()
    sizes = {name: size(image) for name, image in VARIANTS.items()}
    starts = interleaved({name: partial(in_container, image) for name, image in VARIANTS.items()}, rounds)
    print("| variant | MB | gz MB | files | run to exit ms | start to first request ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (megabytes, compressed, files) in sizes.items():
        whole, first = starts[name]
        print(f"| {name} | {megabytes:.1f} | {compressed:.1f} | {files} | {whole:.0f} | {first:.0f} |")
    winner = list(VARIANTS.values())[-1]
    with tempfile.TemporaryDirectory() as root:
        with exported(winner) as content:
            content.extractall(root, filter="fully_trusted")
        Path(root).chmod(0o755)
        ways: dict[str, Callable[[], Measured]] = {"outside": partial(outside, root)}
        for limit in LIMITS:
            ways[f"in a container, {f'--cpus {limit}' if limit else 'no limit'}"] = partial(
                in_container, winner, limit
            )
        print("\n| where | run to exit ms | start to first request ms |\n|---|---:|---:|")
        for name, (whole, first) in interleaved(ways, rounds).items():
            print(f"| {name} | {whole:.0f} | {first:.0f} |")


def build() -> None:
    """Build every variant on what `make image BASES=local` left."""
    stand_in = ("--network", "host", "--build-arg", "PYTHON=stand-in/python:3.13-slim-trixie")
    run(
        "docker",
        "build",
        "--quiet",
        *stand_in,
        "--target",
        "build",
        "--tag",
        "argocd-standby-hooks:build",
        str(ROOT),
    )
    for image in VARIANTS.values():
        if image.startswith("compare:"):
            here = str(Path(__file__).parent)
            target = image.removeprefix("compare:")
            run("docker", "build", "--quiet", *stand_in, "--target", target, "--tag", image, here)


def size(image: str) -> tuple[float, float, int]:
    """Megabytes as they lie, megabytes as they are pulled, files."""
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    whole = float(run("docker", "image", "inspect", "--format", "{{.Size}}", image))
    with exported(image) as root:
        files = sum(member.isfile() for member in root)
    return whole / 1e6, len(gzip.compress(saved, 6)) / 1e6, files


def exported(image: str) -> tarfile.TarFile:
    """Give all that is below the root of an image."""
    container = run("docker", "create", "--network", "none", image, *COMMAND).strip()
    content = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    run("docker", "rm", container)
    return tarfile.open(fileobj=io.BytesIO(content))


def interleaved(ways: dict[str, Callable[[], Measured]], rounds: int) -> dict[str, Measured]:
    """Measure each way once a round."""
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            measured[name].append(way())
    return {name: medians(found[1:]) for name, found in measured.items()}


def medians(found: Sequence[Measured]) -> Measured:
    return statistics.median(whole for whole, _ in found), statistics.median(first for _, first in found)


def in_container(image: str, cpus: str | None = None) -> Measured:
    """Run a whole presync-standby in a container."""
    limit = ("--cpus", cpus) if cpus else ()
    with_oms = ("docker", "run", "--rm", "--pull", "never", "--network", "host", *CONFINED, *limit)
    return once(lambda url: (*with_oms, "--env", f"OMS_URL={url}", image, *COMMAND))


def outside(root: str) -> Measured:
    """Run the same files without a container."""
    confined = ("chroot", "--userspec", "65532:65532", root, "/opt/hooks/bin/python3", "-Ic")
    return once(lambda url: (*confined, f"import os; os.environ['OMS_URL'] = '{url}'; {THEN}"))


def once(command: Callable[[str], Sequence[str]]) -> Measured:
    """Play it against an OMS that is in standby after the first request to switch."""
    with MockOms(start_mode="active") as oms:
        began = time.time()
        ran = subprocess.run(command(oms.url), capture_output=True, text=True, check=False)
        ended = time.time()
        if ran.returncode:
            sys.exit(ran.stdout + ran.stderr)
        started = float(ran.stdout.splitlines()[0])
        assert json.loads(ran.stdout.splitlines()[-1])["event"] == "verdict"
        return (ended - began) * 1e3, (oms.replicas[0].requests[0].at - started) * 1e3


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
