"""The network as the commands meet it, in memory, so that a test can turn the time.

It begins where httpcore connects and where the loop resolves a name; what is behind is told by the test:
an OMS, a PagerDuty, addresses that refuse connections or stay silent, names that are not known.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import h11
import httpcore
import pytest

HEALTHY: Mapping[str, Any] = {"status": "healthy", "exchange_connections": "all_connected"}
STARTING: Mapping[str, Any] = {"status": "starting", "exchange_connections": "connecting"}


_RESOLVER_WORDS = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
}


@dataclass(frozen=True)
class Request:
    """What was asked, and when, in the loop's seconds."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered: bytes as they are, anything else as JSON."""

    status: int = 200
    content: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HangUpError(Exception):
    """The connection is closed without an answer."""


Behaviour = Callable[[Request], Awaitable[Reply]]


def answering(status: int, content: Any = b"", **headers: str) -> Behaviour:
    """Answer this and do nothing about the request."""

    async def behave(_: Request) -> Reply:
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    return behave


async def silent(_: Request | None = None) -> NoReturn:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable: nobody sets it")


async def hung_up(_: Request) -> Reply:
    """Close the connection, the request undone."""
    raise HangUpError


def lost(behaviour: Behaviour) -> Behaviour:
    """Do what was asked, then close the connection without an answer."""

    async def behave(request: Request) -> Reply:
        await behaviour(request)
        raise HangUpError

    return behave


def under_way(seconds: float, behaviour: Behaviour) -> Behaviour:
    """Do what was asked, but only so much later, whether anybody still waits for it or not."""

    async def behave(request: Request) -> Reply:
        await asyncio.sleep(seconds)
        return await behaviour(request)

    return behave


def answered_late(seconds: float, behaviour: Behaviour) -> Behaviour:
    """Do at once what was asked, and answer so much later."""

    async def behave(request: Request) -> Reply:
        reply = await behaviour(request)
        await asyncio.sleep(seconds)
        return reply

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer the first request by the first, and so on; the last one stays."""
    left = list(behaviours)

    async def behave(request: Request) -> Reply:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


def when(seconds: float, happens: Callable[[], object]) -> None:
    """Let something happen so many seconds from now."""
    asyncio.get_running_loop().call_later(seconds, happens)


class FarEnd:
    """Somebody at an address; remembers what was asked."""

    def __init__(self) -> None:
        self.port: Literal["open", "closed", "silent"] = "open"
        self.requests: list[Request] = []

    async def respond(self, request: Request) -> Reply:
        """Answer one request, or raise HangUpError."""
        raise NotImplementedError

    def asked(self, path: str) -> list[float]:
        """Return when a path was asked for, in the loop's seconds, to the millisecond."""
        return [round(request.at, 3) for request in self.requests if request.path == path]


class Oms(FarEnd):
    """One replica of an order management system; each of its answers can be replaced by another behaviour."""

    def __init__(self, mode: str = "active", reason: str | None = None, *, drains_for: float = 0) -> None:
        super().__init__()
        self.mode = mode
        self.reason = reason
        self.drains_for = drains_for
        self.health: Any = HEALTHY
        self.told: list[tuple[str, str]] = []
        """The modes that were asked of it, and by whom, as far as it heard them."""
        self.mode_answer: Behaviour = self.tell_mode
        self.health_answer: Behaviour = self.tell_health
        self.switch_answer: Behaviour = self.switch

    @property
    def document(self) -> dict[str, Any]:
        return {"mode": self.mode, "reason": self.reason}

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        if request.path == "/admin/mode":
            self.told.append((request.document["mode"], request.document["reason"]))
            return await self.switch_answer(request)
        return await (self.mode_answer if request.path == "/health/mode" else self.health_answer)(request)

    async def tell_mode(self, _: Request) -> Reply:
        return Reply(200, self.document)

    async def tell_health(self, _: Request) -> Reply:
        return Reply(200, self.health)

    async def switch(self, request: Request) -> Reply:
        self.enter(request.document["mode"], request.document["reason"])
        return Reply(202)

    async def switch_to(self, mode: str, otherwise: Behaviour, request: Request) -> Reply:
        """Take a switch to this mode, and answer every other as told."""
        return await (self.switch if request.document["mode"] == mode else otherwise)(request)

    def enter(self, mode: str, reason: str | None = None) -> None:
        """Be in another mode; from active to standby it drains first."""
        self.reason = reason
        if (self.mode, mode) == ("active", "standby") and self.drains_for:
            self.mode = "draining"
            when(self.drains_for, self._settle)
        elif (self.mode, mode) != ("draining", "standby"):
            self.mode = mode

    def held_by(self, operator: str, mode: str = "standby") -> None:
        """Be put into a mode by somebody at the OMS itself, without draining."""
        self.mode, self.reason = mode, operator

    def restart(self, mode: str = "active", health: Any = HEALTHY) -> None:
        """Have forgotten everything."""
        self.mode, self.reason, self.health = mode, None, health

    def _settle(self) -> None:
        if self.mode == "draining":
            self.mode = "standby"


class PagerDuty(FarEnd):
    """Takes events."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Behaviour = answering(202, {"status": "success"})

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        return await self.answer(request)

    @property
    def events(self) -> list[Any]:
        return [request.document for request in self.requests]


class Network:
    """Names, addresses, and who is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for the real one until the test ends."""
        self.names: dict[str, Iterable[str] | int | None] = {}
        """Of each name its addresses, the resolver's error number, or None where it stays silent."""
        self.far_ends: dict[str, FarEnd] = {}
        """Who is at each IP address, whatever the port."""
        network = self

        async def connect_tcp(
            _backend: httpcore.AnyIOBackend, host: str, port: int, **_: Any
        ) -> httpcore.AsyncNetworkStream:
            return await network.connect(host, port)

        async def getaddrinfo(
            _loop: asyncio.AbstractEventLoop, host: str, port: int, **_: Any
        ) -> list[tuple[Any, ...]]:
            return await network.look_up(host, port)

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)

    def add(self, name: str, *far_ends: FarEnd) -> None:
        """Give a name to far ends, which get addresses of their own."""
        first = len(self.far_ends) + 1
        addresses = {f"10.0.0.{number}": far_end for number, far_end in enumerate(far_ends, first)}
        self.far_ends |= addresses
        self.names[name] = tuple(addresses)

    async def look_up(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Resolve a name as a resolver does."""
        known = self.names.get(host, socket.EAI_NONAME)
        if host in self.far_ends:
            known = [host]
        if known is None:
            await silent()
        if isinstance(known, int):
            raise socket.gaierror(known, _RESOLVER_WORDS.get(known, "Some other failure"))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    async def connect(self, host: str, port: int) -> httpcore.AsyncNetworkStream:
        """Connect, or fail as httpcore does."""
        try:
            *_, (address, _) = (await self.look_up(host, port))[0]
            far_end = self.far_ends.get(address)
            if far_end is None or far_end.port == "closed":
                raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        if far_end.port == "silent":
            await silent()
        return _Connection(far_end)


class _Connection(httpcore.AsyncNetworkStream):
    """One request and its answer."""

    def __init__(self, far_end: FarEnd) -> None:
        self._far_end = far_end
        self._http = h11.Connection(h11.SERVER)
        self._events: list[Any] = []
        self._answer: asyncio.Task[bytes] | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # httpcore's
        if not buffer:
            return  # h11 would take it for the end of the connection
        self._http.receive_data(buffer)
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                # A task of its own: that somebody gives up waiting does not undo what arrived.
                self._answer = asyncio.ensure_future(self._answered())
                return
            self._events.append(event)

    async def _answered(self) -> bytes:
        head, *data = self._events
        request = Request(
            asyncio.get_running_loop().time(),
            head.method.decode(),
            head.target.decode(),
            {name.decode(): value.decode() for name, value in head.headers},
            b"".join(part.data for part in data),
        )
        try:
            reply = await self._far_end.respond(request)
        except HangUpError:
            return b""
        content = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        headers = {**reply.headers, "Content-Length": str(len(content)), "Connection": "close"}
        parts = (
            h11.Response(status_code=reply.status, headers=list(headers.items())),
            h11.Data(content),
            h11.EndOfMessage(),
        )
        return b"".join(self._http.send(part) or b"" for part in parts)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's
        if self._answer is None:
            return b""
        answer, self._answer = await asyncio.shield(self._answer), None
        return answer

    async def aclose(self) -> None:
        pass
