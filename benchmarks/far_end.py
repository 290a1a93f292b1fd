"""The far ends of the benchmark: an OMS, and PagerDuty at the same address; light, and stamping moments.

They answer from the event loop of the benchmark itself, without a framework: what they cost would be counted as
the time of whoever asks. Moments are those of `time.monotonic`, in seconds.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self, cast

NEVER = float("inf")
CONTENT_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass
class Oms:
    """An OMS that drains for `drain` seconds once it is told to, and that is healthy from `healthy_at` on."""

    drain: float = 0.0
    healthy_at: float = 0.0
    reason: str | None = None
    standby_at: float = NEVER
    active_at: float = 0.0
    first_request_at: float = NEVER
    paged_at: float = NEVER

    @classmethod
    def held(cls, *, healthy_at: float = 0.0) -> Self:
        """Make one that is in standby, as the old version leaves it to the new one."""
        return cls(healthy_at=healthy_at, reason="argocd-sync", standby_at=0.0, active_at=NEVER)

    def mode(self) -> str:
        now = time.monotonic()
        if self.active_at <= now:
            return "active"
        return "standby" if self.standby_at <= now else "draining"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Answer one request: the status and the document."""
        now = time.monotonic()
        self.first_request_at = min(self.first_request_at, now)
        match method, path:
            case "GET", "/health/mode":
                return 200, {"mode": self.mode(), "reason": self.reason}
            case "GET", "/health/deep" if now >= self.healthy_at:
                return 200, {"status": "healthy", "exchange_connections": "all_connected"}
            case "GET", "/health/deep":
                # Not 503: curl -f then prints nothing, and jq -e before 1.7 takes nothing for a yes.
                return 200, {"status": "starting", "exchange_connections": "connecting"}
            case "POST", "/admin/mode":
                self.switch(json.loads(body), now)
                return 200, {"mode": self.mode(), "reason": self.reason}
            case "POST", "/v2/enqueue":
                self.paged_at = min(self.paged_at, now)
                return 202, {"status": "success", "message": "Event processed"}
        return 404, {"error": f"{method} {path}"}

    def switch(self, wanted: dict[str, str], now: float) -> None:
        self.reason = wanted["reason"]
        if wanted["mode"] == "standby":
            self.standby_at, self.active_at = now + self.drain, NEVER
        else:
            self.standby_at, self.active_at = NEVER, now


class Connection(asyncio.Protocol):
    """One connection to an OMS, kept alive: requests with a length, answers with a length."""

    def __init__(self, oms: Oms) -> None:
        self.oms = oms
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while request := self.next_request():
            self.transport.write(_response(*self.oms.answer(*request)))

    def next_request(self) -> tuple[str, str, bytes] | None:
        head, blank_line, rest = self.received.partition(b"\r\n\r\n")
        stated = CONTENT_LENGTH.search(head)
        length = int(stated[1]) if stated else 0
        if not blank_line or len(rest) < length:
            return None
        self.received = rest[length:]
        method, path, _ = head.decode().split(" ", 2)
        return method, path, rest[:length]


def _response(status: int, document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def listening(fleet: Sequence[Oms]) -> AsyncIterator[list[str]]:
    """Serve each OMS at an address of its own, as pods have them; yields the base URLs."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as servers:
        urls = []
        for number, oms in enumerate(fleet, start=1):
            server = await loop.create_server(partial(Connection, oms), f"127.0.1.{number}", 0)
            await servers.enter_async_context(server)
            urls.append("http://{}:{}".format(*server.sockets[0].getsockname()))
        yield urls
