"""Play a whole sync as Argo CD would, from the very Job manifests that are shipped."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rehearsal import manifests
from rehearsal.argo import jobs_in
from rehearsal.docker_runner import DockerRunner
from rehearsal.job import Runner, RunnerError
from rehearsal.manifests import ManifestError
from rehearsal.play import play
from rehearsal.process_runner import ProcessRunner
from rehearsal.scenarios import SCENARIOS
from rehearsal.timeline import Timeline, console

RUNNERS: Mapping[str, Callable[[Path], Runner]] = {"process": ProcessRunner, "docker": DockerRunner}
SHIPPED = Path(__file__).resolve().parent.parent / "k8s" / "hooks"


def main() -> int:
    """0: every scenario ended as it must; 1: one did not; 2: there is nothing to play."""
    options = _options()
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:<24} {scenario.story}")
        return 0
    try:
        return asyncio.run(_rehearse(options))
    except (ManifestError, OSError) as error:
        # OSError: a command that is not installed, or no second loopback address (macOS: ifconfig lo0 alias).
        print(f"{options.manifests}: {error}", file=sys.stderr)
        return 2
    except RunnerError as error:
        print(f"--runner {options.runner}: {error}", file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        print("ended before its end; what it started is ended too", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    command = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    command.add_argument(
        "--manifests", type=Path, default=SHIPPED, help="a directory that kubectl kustomize renders"
    )
    command.add_argument(
        "--scenario",
        action="append",
        choices=names,
        metavar="NAME",
        help="one of --list, again for more; default: all",
    )
    command.add_argument(
        "--runner",
        choices=RUNNERS,
        default="process",
        help="what runs the pods (docker: in the image, see make image)",
    )
    command.add_argument("--list", action="store_true", help="name the scenarios and stop")
    return command.parse_args()


async def _rehearse(options: argparse.Namespace) -> int:
    task = asyncio.ensure_future(_play_all(options))
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    return await task


async def _play_all(options: argparse.Namespace) -> int:
    jobs = jobs_in(manifests.render(options.manifests))
    timeline = Timeline(console())
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    results = [
        await play(by_name[name], jobs, timeline, RUNNERS[options.runner])
        for name in options.scenario or by_name
    ]
    if len(results) > 1:
        timeline.summary(results)
    return int(any(result.differences for result in results))


if __name__ == "__main__":
    raise SystemExit(main())
