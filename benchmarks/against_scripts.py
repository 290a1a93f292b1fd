"""The hooks beside the three scripts that they replace: seconds and bytes, in one run.

Scripts and hooks get the same drain and start-up times, in turn. Those are log-uniform: as such times are, the
short ones are the more frequent. What is mostly waiting overlaps, start-ups never do. The scripts return nothing
to active; they are measured as if they did at their end. Medians are held against the limits that the project
has set itself, and the exit code is 1 if one is missed.
"""

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.far_end import Oms, listening
from benchmarks.plot import drawn
from benchmarks.production import BIN, install
from benchmarks.results import Row, table

HERE = Path(__file__).parent
PLOT = HERE.parent / "docs" / "benchmark.svg"
LIBRARIES = (BIN / "python", "-c", "import httpx, tenacity, pydantic_settings, structlog, jq")

SHORTEST, LONGEST = 0.5, 6.0
"""Seconds that an OMS drains, and that a new version takes until it is healthy."""
LOOKS = (3 - 1) * 0.2
"""(VERIFY_CONSECUTIVE - 1) * VERIFY_POLL_SECONDS, by default."""
START_UP = 0.5
"""Seconds in which no other process starts."""
MANY = 100


@dataclass(frozen=True)
class Contender:
    presync: Path
    postsync: Path
    syncfail: Path


SCRIPTS = Contender(*(HERE / "scripts" / f"{name}.sh" for name in ("presync", "postsync", "syncfail")))
HOOKS = Contender(*(BIN / name for name in ("presync-standby", "postsync-verify", "syncfail-alert")))


@dataclass(frozen=True)
class Run:
    started: float
    ended: float
    peak_bytes: int


async def run(command: Sequence[str | Path], *fleet: Oms, weigh: bool = False) -> Run:
    """Run one command against far ends of its own.

    Raises RuntimeError with all that it said if it fails.
    """
    async with listening(fleet) as urls:
        environment = {
            "PATH": os.environ["PATH"],
            "OMS_URL": ",".join(urls),
            "OMS_ADMIN_TOKEN": "made-up-token",
            "PAGERDUTY_EVENTS_URL": f"{next(iter(urls), '')}/v2/enqueue",
            "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
            "ARGOCD_APP_NAME": "oms",
        }
        with tempfile.TemporaryFile() as said:
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=said, stderr=said
            )
            peak_bytes = await _peak_bytes(process) if weigh else 0
            code = await process.wait()
            ended = time.monotonic()
            said.seek(0)
            if code:
                raise RuntimeError(f"{command[0]} exited {code}:\n{said.read().decode()}")
    return Run(started, ended, peak_bytes)


async def _peak_bytes(process: asyncio.subprocess.Process) -> int:
    peak = 0
    while process.returncode is None:
        peak = max(peak, _high_water_bytes(process.pid))
        await asyncio.sleep(0.001)
    return peak


def _high_water_bytes(pid: int) -> int:
    """Tell what a process and its children took at most; ru_maxrss would tell it of their parent too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    kibibytes = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return next(kibibytes, 0) * 1024 + sum(_high_water_bytes(int(child)) for child in children.split())


async def imports() -> float:
    """Seconds that a process takes that imports the libraries and ends."""
    ran = await run(LIBRARIES)
    return ran.ended - ran.started


async def first_request(by: Contender) -> float:
    """Seconds from the start to the first request."""
    oms = Oms()
    ran = await run([by.presync], oms)
    return oms.first_request_at - ran.started


async def page_accepted(by: Contender) -> float:
    """Seconds from the start to the page's acceptance."""
    oms = Oms.held()
    ran = await run([by.syncfail], oms)
    return oms.paged_at - ran.started


async def standby_noticed(by: Contender, drain: float, targets: int = 1) -> float:
    """Seconds from the last target's standby to the end of the command."""
    fleet = [Oms(drain=drain) for _ in range(targets)]
    ran = await run([by.presync], *fleet)
    return _since(max(oms.standby_at for oms in fleet), ran)


async def verified(by: Contender, start_up: float, targets: int = 1) -> float:
    """Seconds from the health of all targets to the end of the command; the hook has returned them to active."""
    healthy_at = time.monotonic() + start_up
    fleet = [Oms.held(healthy_at=healthy_at) for _ in range(targets)]
    ran = await run([by.postsync], *fleet)
    if by is HOOKS and {oms.mode() for oms in fleet} != {"active"}:
        raise RuntimeError("verified, but not active again")
    return _since(healthy_at, ran)


def _since(moment: float, ran: Run) -> float:
    if ran.ended < moment:
        raise RuntimeError(f"a command ended {moment - ran.ended:.3f} s before what it waits for")
    return ran.ended - moment


async def peak_megabytes(by: Contender, targets: int = 1) -> float:
    """Megabytes that the largest of the three commands takes at most."""
    runs = [
        await run([by.presync], *(Oms(drain=0.5) for _ in range(targets)), weigh=True),
        await run([by.postsync], *(Oms.held() for _ in range(targets)), weigh=True),
        await run([by.syncfail], *(Oms.held() for _ in range(targets)), weigh=True),
    ]
    return max(ran.peak_bytes for ran in runs) / 1e6


def draws(rounds: int, dice: random.Random) -> list[float]:
    """Draw one duration from each of so many equal parts of the range, so that few rounds cover it.

    The parts are equal on a logarithmic scale. On a linear one the scripts would wait 0.8 s less in the two hooks
    together, as more start-ups would end just before the second of their polls.
    """
    parts = [(part + dice.random()) / rounds for part in range(rounds)]
    dice.shuffle(parts)
    return [SHORTEST * (LONGEST / SHORTEST) ** part for part in parts]


async def overlapping(runs: Iterable[Awaitable[float]]) -> list[float]:
    """Let a few runs wait at the same time, but none start while another does."""
    room, starting = asyncio.Semaphore(8), asyncio.Lock()

    async def begin(awaited: Awaitable[float]) -> float:
        async with room:
            async with starting:
                begun = asyncio.ensure_future(awaited)
                await asyncio.sleep(START_UP)
            return await begun

    return await asyncio.gather(*map(begin, runs))


async def in_turn(rounds: int, *measures: Callable[[], Awaitable[float]]) -> list[list[float]]:
    """Measure one after the other, round by round; the first round only warms up."""
    measured = [[await measure() for measure in measures] for _ in range(1 + rounds)]
    return [list(values) for values in zip(*measured[1:], strict=True)]


async def waits(rounds: int, dice: random.Random) -> list[Row]:
    """Measure what the time without trading grows by."""
    times = await overlapping(
        measure
        for drain, start_up in zip(draws(rounds, dice), draws(rounds, dice), strict=True)
        for measure in (
            standby_noticed(SCRIPTS, drain),
            standby_noticed(HOOKS, drain),
            verified(SCRIPTS, start_up),
            verified(HOOKS, start_up),
        )
    )
    scripts_noticed, noticed, scripts_verified, active = (times[kind::4] for kind in range(4))
    scripts_both = [sum(pair) for pair in zip(scripts_noticed, scripts_verified, strict=True)]
    both = [sum(pair) for pair in zip(noticed, active, strict=True)]
    return [
        Row("in standby → noticed", noticed, median(scripts_noticed) / 6, "scripts / 6", scripts_noticed),
        Row("healthy → active again", active, LOOKS + 0.2, "required looks + 0.2 s", scripts_verified),
        Row("the two together", both, median(scripts_both) / 7, "scripts / 7", scripts_both),
    ]


async def costs(rounds: int) -> list[Row]:
    """Measure start-up and memory."""
    libraries, scripts_first, first, scripts_page, page = await in_turn(
        rounds,
        imports,
        lambda: first_request(SCRIPTS),
        lambda: first_request(HOOKS),
        lambda: page_accepted(SCRIPTS),
        lambda: page_accepted(HOOKS),
    )
    scripts_megabytes, megabytes = await in_turn(2, *(partial(peak_megabytes, by) for by in (SCRIPTS, HOOKS)))
    limit = 1.1 * median(libraries)
    because = f"1.1 × importing the libraries ({median(libraries):.3f} s)"
    return [
        Row("start → first request", first, limit, because, scripts_first),
        Row("start → page accepted", page, limit + 0.1, "0.1 s more", scripts_page),
        Row("peak memory", megabytes, 50, "", scripts_megabytes, unit="MB"),
    ]


async def costs_of_many(rounds: int) -> list[Row]:
    """Measure how much later many targets are done than one."""
    noticed_one, noticed, active_one, active = await in_turn(
        rounds,
        lambda: standby_noticed(HOOKS, SHORTEST),
        lambda: standby_noticed(HOOKS, SHORTEST, MANY),
        lambda: verified(HOOKS, SHORTEST),
        lambda: verified(HOOKS, SHORTEST, MANY),
    )
    (megabytes,) = await in_turn(1, partial(peak_megabytes, HOOKS, MANY))
    because = "one target + 0.2 s"
    return [
        Row(f"{MANY} targets in standby → noticed", noticed, median(noticed_one) + 0.2, because),
        Row(
            f"{MANY} targets healthy → active again", active, None, f"one target: {median(active_one):.3f} s"
        ),
        Row(f"{MANY} targets: peak memory", megabytes, 70, unit="MB"),
    ]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="how many of each (default: 12)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn times (default: 1)")
    parser.add_argument("--no-fail", action="store_true", help="exit 0 even if a limit is missed")
    asked = parser.parse_args()
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load > cores / 4:
        print(
            f"This machine is busy (load {load:.1f} on {cores} cores): start-ups will seem longer than they are."
        )
    install()
    cost = await costs(asked.rounds) + await costs_of_many(max(2, asked.rounds // 3))
    wait = await waits(asked.rounds, random.Random(asked.seed))
    print(table(wait + cost))
    made = (
        f"{asked.rounds} rounds, seed {asked.seed}; drains and start-ups log-uniform from {SHORTEST:g} to {LONGEST:g} s; "
        f"medians; Python {platform.python_version()}, {cores} cores"
    )
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(drawn(wait, cost, made), encoding="utf-8")
    return int(any(row.missed for row in wait + cost) and not asked.no_fail)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
