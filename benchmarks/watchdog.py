"""The watchdog at work: its share of a core, its memory and file descriptors, and whether a round ends in time.

Two of them run side by side at their default cadence. One watches ten pods behind a name, of which one is replaced
all the time and one or another is left in standby, so that incidents open and close; the other watches five
hundred. Both are scraped, as Prometheus would. Far ends and scrapes are played by this process and not counted.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median
from typing import cast

from benchmarks.far_end import NEVER, Connection, Oms
from benchmarks.production import BIN, ROOT, install
from benchmarks.results import Row, table

FEW, MANY = 10, 500
POLL_SECONDS = 5.0
"""WATCH_POLL_SECONDS, by default."""
SAMPLE_SECONDS = 2.0
SCRAPE_SECONDS = 15.0
SETTLED = 20.0
"""Seconds after which memory and connections have come to what they stay at."""
LIMIT_MEGABYTES = 60.0
LIMIT_GROWTH_MEGABYTES = 1.0
PER_CLOCK_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Pod(Oms):
    """An OMS that remembers when it was asked for its mode; it takes pages as well."""

    asked_at: list[float] = field(default_factory=list)
    pages: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        if path == "/v2/enqueue":
            self.pages += 1
            return 202, {"status": "success"}
        self.asked_at.append(time.monotonic())
        return super().answer(method, path, body)


@asynccontextmanager
async def pods(number: int, network: str) -> AsyncIterator[tuple[list[Pod], list[str], int]]:
    """Serve so many pods, each at an address of its own and all at one port; yields them, addresses and port."""
    loop = asyncio.get_running_loop()
    fleet = [Pod() for _ in range(number)]
    addresses = [f"{network}.{nth // 250}.{nth % 250 + 1}" for nth in range(number)]
    async with AsyncExitStack() as servers:
        port = 0
        for pod, address in zip(fleet, addresses, strict=True):
            server = await loop.create_server(partial(Connection, pod), address, port)
            await servers.enter_async_context(server)
            port = server.sockets[0].getsockname()[1]
        yield fleet, addresses, port


@dataclass
class Sample:
    """What the kernel tells of a process: CPU seconds so far, resident megabytes, open files."""

    at: float
    cpu: float
    megabytes: float
    files: int

    @classmethod
    def of(cls, pid: int) -> "Sample":
        process = Path(f"/proc/{pid}")
        times = (process / "stat").read_text().rpartition(")")[2].split()
        resident = (process / "status").read_text().partition("VmRSS:")[2].split()[0]
        files = sum(1 for _ in (process / "fd").iterdir())
        cpu = (int(times[11]) + int(times[12])) * PER_CLOCK_TICK
        return cls(time.monotonic(), cpu, int(resident) / 1000, files)


class Watchdog:
    """One that runs, and what was sampled of it."""

    def __init__(self, process: asyncio.subprocess.Process, metrics_port: int) -> None:
        self.samples: list[Sample] = []
        self._process = process
        self._metrics_port = metrics_port

    async def sample(self) -> None:
        """Take a sample every two seconds, for ever; raises RuntimeError when the process has ended."""
        while True:
            if self._process.returncode is not None:
                raise RuntimeError(f"the watchdog ended with {self._process.returncode}")
            self.samples.append(Sample.of(self._process.pid))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def scrape(self) -> None:
        """Ask for /metrics every fifteen seconds, for ever."""
        while True:
            await asyncio.sleep(SCRAPE_SECONDS)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._metrics_port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: watchdog\r\n\r\n")
            await reader.read()
            writer.close()

    @property
    def share(self) -> float:
        """Its share of a core, per cent, since it has settled."""
        first, last = self._settled[0], self._settled[-1]
        return 100 * (last.cpu - first.cpu) / (last.at - first.at)

    @property
    def megabytes(self) -> list[float]:
        return [sample.megabytes for sample in self.samples]

    @property
    def growth(self) -> tuple[float, float]:
        """How many megabytes and files more it holds in the last third than in the first."""
        third = max(1, len(self._settled) // 3)
        first, last = self._settled[:third], self._settled[-third:]
        return (
            median(sample.megabytes for sample in last) - median(sample.megabytes for sample in first),
            median(sample.files for sample in last) - median(sample.files for sample in first),
        )

    @property
    def _settled(self) -> Sequence[Sample]:
        began = self.samples[0].at
        return [sample for sample in self.samples if sample.at - began >= SETTLED]


@asynccontextmanager
async def watchdog(folder: Path, url: str, pager: str) -> AsyncIterator[Watchdog]:
    """Run one against every pod of this name, told of in a table in `folder`.

    Raises RuntimeError with all that it said if it does not begin.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "OMS_URL": url,
        "OMS_EVERY_POD": "true",
        "PAGERDUTY_EVENTS_URL": f"{pager}/v2/enqueue",
        "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
        "ARGOCD_APP_NAME": "oms",
        "WATCH_STANDBY_SECONDS": "20",
        "WATCH_LISTEN": "127.0.0.1:0",
        "LOG_FORMAT": "json",
    }
    said = folder / "log"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BIN / "standby-watchdog", env=environment, stdout=log, stderr=log
        )
    try:
        yield Watchdog(process, await listening_at(process, said))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening_at(process: asyncio.subprocess.Process, said: Path) -> int:
    while process.returncode is None:
        await asyncio.sleep(0.05)
        for line in lines_of(said):
            if '"watching"' in line:
                return cast("int", json.loads(line)["port"])
    raise RuntimeError("\n".join(["the watchdog did not begin:", *lines_of(said)]))


def lines_of(said: Path) -> list[str]:
    """Return the lines that are whole."""
    return said.read_text().split("\n")[:-1]


def resolve(folder: Path, addresses: Sequence[str]) -> None:
    """Let the name of the OMS resolve to these addresses from now on."""
    new = folder / "names.new"
    new.write_text(json.dumps({"oms-headless": list(addresses)}))
    new.replace(folder / "names.json")


async def churn(folder: Path, fleet: Sequence[Pod], addresses: Sequence[str]) -> None:
    """Replace one pod of ten every ten seconds, for ever; every thirteenth is in standby as long as it is there."""
    for step in count():
        number = step % len(addresses)
        pod = fleet[(number + FEW - 1) % len(fleet)]
        if step % (FEW + 3) == 0:
            pod.reason, pod.standby_at, pod.active_at = f"argocd-sync/{step}", 0.0, NEVER
        else:
            pod.reason, pod.standby_at, pod.active_at = None, NEVER, 0.0
        resolve(folder, list(islice(cycle(addresses), number, number + FEW)))
        await asyncio.sleep(10)


def rounds(fleet: Sequence[Pod]) -> list[float]:
    """Return for each round how many seconds passed from the first question to the last."""
    return [max(moments) - min(moments) for moments in zip(*(pod.asked_at for pod in fleet), strict=False)]


async def measured(seconds: float) -> list[Row]:
    """Let both run for so long."""
    async with AsyncExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        for folder in folders:
            shutil.copy(ROOT / "rehearsal" / "names.py", folder / "sitecustomize.py")
        few, few_addresses, few_port = await stack.enter_async_context(pods(2 * FEW, "127.1"))
        many, many_addresses, many_port = await stack.enter_async_context(pods(MANY, "127.2"))
        resolve(folders[0], few_addresses[:FEW])
        resolve(folders[1], many_addresses)
        pager = f"http://{few_addresses[0]}:{few_port}"
        of_few, of_many = [
            await stack.enter_async_context(watchdog(folder, f"http://oms-headless:{port}", pager))
            for folder, port in zip(folders, (few_port, many_port), strict=True)
        ]
        beside = [of_few.sample(), of_few.scrape(), of_many.sample(), of_many.scrape()]
        with suppress(TimeoutError):
            await asyncio.wait_for(
                asyncio.gather(*beside, churn(folders[0], few, few_addresses)), SETTLED + seconds
            )
    return rows(of_few, of_many, rounds(many), sum(pod.pages for pod in few))


def rows(of_few: Watchdog, of_many: Watchdog, rounds_of_many: Sequence[float], pages: int) -> list[Row]:
    megabytes, files = of_few.growth
    megabytes_of_many, files_of_many = of_many.growth
    whole = f"of {len(rounds_of_many)} rounds; median {median(rounds_of_many):.2f} s"
    return [
        Row(f"{FEW} targets: share of a core", [of_few.share], 1.0, f"{pages} pages", unit="%"),
        Row(f"{FEW} targets: most memory", [max(of_few.megabytes)], LIMIT_MEGABYTES, unit="MB"),
        Row(f"{FEW} targets: growth of memory", [megabytes], LIMIT_GROWTH_MEGABYTES, unit="MB"),
        Row(f"{FEW} targets: growth of open files", [files], 2, unit=""),
        Row(f"{MANY} targets: longest round", [max(rounds_of_many)], POLL_SECONDS, whole),
        Row(f"{MANY} targets: share of a core", [of_many.share], None, unit="%"),
        Row(f"{MANY} targets: most memory", [max(of_many.megabytes)], None, unit="MB"),
        Row(f"{MANY} targets: growth of memory", [megabytes_of_many], LIMIT_GROWTH_MEGABYTES, unit="MB"),
        Row(f"{MANY} targets: growth of open files", [files_of_many], 2, unit=""),
    ]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90, help="how long it is watched (default: 90)")
    asked = parser.parse_args()
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load > cores / 4:
        print(
            f"This machine is busy (load {load:.1f} on {cores} cores): rounds will seem longer than they are."
        )
    install()
    measured_rows = await measured(asked.seconds)
    print(table(measured_rows))
    return int(any(row.missed for row in measured_rows))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
