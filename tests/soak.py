"""A watchdog's long life in a minute: rounds on a turned clock, and what of them is left behind.

    python -m tests.soak ROUNDS

Everything changes all the time: pods get new addresses every round, the name is unknown, ports are closed, the OMS
is in standby under ever new names, incidents open, are repeated and close, PagerDuty is down. It prints one JSON
object: what happened, and what was held after a tenth of the rounds and at the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpcore
import looptime

from hooks import log, settings
from hooks.metrics import Metrics
from hooks.settings import Watch
from hooks.standby_watchdog import Watchdog

POLL_SECONDS = 5
CYCLE = 400
"""So many rounds, and everything has happened once."""

ENVIRONMENT = {
    "OMS_URL": "http://oms.test:8080",
    "OMS_EVERY_POD": "true",
    "ARGOCD_APP_NAME": "oms",
    "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "PAGERDUTY_EVENTS_URL": "http://pagerduty.test/v2/enqueue",
    "ALERT_FALLBACK_URL": "http://chat.test/hooks/T0SECRET",
    "WATCH_POLL_SECONDS": str(POLL_SECONDS),
    "WATCH_STANDBY_SECONDS": "60",
    "WATCH_UNREADABLE_SECONDS": "60",
    "WATCH_REPEAT_SECONDS": "600",
}


class World:
    """What is there, round by round; at its edge, where connections are made and names are looked up."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.open_connections = 0

    @property
    def round(self) -> int:
        return int(asyncio.get_running_loop().time() // POLL_SECONDS)

    async def look_up(self, host: str) -> list[str]:
        """Resolve; the OMS has other addresses every round, and in a part of each cycle none."""
        self.seen["looked up"] += 1
        if host != "oms.test":
            return ["10.255.0.1"]
        number = self.round
        if number % CYCLE < 310:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"]

    def answer(self, path: str) -> tuple[int, Any]:
        """Answer one request."""
        position = self.round % CYCLE
        if path != "/health/mode":
            self.seen["paged"] += 1
            return (503 if position % 100 < 20 else 202), {}
        self.seen["answered"] += 1
        if position < 385:
            return 200, {"mode": f"standby{position % 7 or ''}", "reason": f"argocd-sync/{self.round}"}
        return 200, {"mode": "active", "reason": f"operator/{self.round}", "orders": self.round}


class Connection(httpcore.AsyncNetworkStream):
    """Answers every request, and is kept for as long as the client keeps it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requested = b""
        self._is_open = True
        world.open_connections += 1

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # httpcore's
        self._requested += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's
        path = self._requested.split(b" ", 2)[1].decode()
        self._requested = b""
        status, document = self._world.answer(path)
        body = json.dumps(document).encode()
        return b"HTTP/1.1 %d Told\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)

    async def aclose(self) -> None:
        self._world.open_connections -= self._is_open
        self._is_open = False

    def get_extra_info(self, info: str) -> Any:
        """Tell that nothing waits to be read."""
        return None


def edge_of(world: World) -> None:
    """Put the world in the place of the network."""

    async def connect_tcp(_: Any, host: str, port: int, **__: Any) -> Connection:
        if 310 <= world.round % CYCLE < 350 and host != "pagerduty.test":
            world.seen["refused"] += 1
            raise httpcore.ConnectError("Connection refused")
        return Connection(world)

    async def getaddrinfo(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        found = await world.look_up(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    httpcore.AnyIOBackend.connect_tcp = connect_tcp  # type: ignore[method-assign,assignment]
    asyncio.BaseEventLoop.getaddrinfo = getaddrinfo  # type: ignore[method-assign,assignment]


def held(world: World, metrics: Metrics) -> dict[str, int]:
    """Return what is held now, garbage apart."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return {
        "blocks": sys.getallocatedblocks(),
        "kilobytes": int(status.partition("VmRSS:")[2].split()[0]),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "connections": world.open_connections,
        "tasks": len(asyncio.all_tasks()),
        "series": sum(len(metric.samples) for metric in metrics.registry.collect()),
    }


async def lived(rounds: int, world: World) -> dict[str, Any]:
    """Live so many rounds; return what happened and what is left."""
    metrics = Metrics(60)
    watchdog = Watchdog(settings.load(Watch), metrics)
    watching = asyncio.ensure_future(watchdog.run())
    early = max(1, rounds // 10 // CYCLE) * CYCLE
    await asyncio.sleep(early * POLL_SECONDS)
    first = held(world, metrics)
    await asyncio.sleep((rounds - early) // CYCLE * CYCLE * POLL_SECONDS)
    last = held(world, metrics)
    watching.cancel()
    await asyncio.wait({watching})
    return {"happened": dict(world.seen), "first": first, "last": last}


def main() -> None:
    """Print what was left behind."""
    os.environ.update(ENVIRONMENT)
    log.configure("soak", log_format="json", level="critical", began=0.0)
    world = World()
    edge_of(world)
    loop = looptime.new_event_loop(noop_cycles=0)
    print(json.dumps(loop.run_until_complete(lived(int(sys.argv[1]), world))))  # noqa: T201


if __name__ == "__main__":
    main()
