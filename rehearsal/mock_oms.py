"""An order management system for rehearsals: one process, one or several replicas, each with its own state.

What it answers on every replica:

    GET  /health/mode   {"mode": "active", "reason": null, "since": "2026-01-02T03:04:05Z", "version": "1", "open_orders": 5}
                        mode is active, draining, standby or starting
    GET  /health/deep   {"status": "healthy", "exchange_connections": "all_connected", "version": "1"}
                        503 with "starting" and "connecting", or "degraded" and "reconnecting", while it is not healthy
    POST /admin/mode    {"mode": "standby" | "active", "reason": "who and why"}, with the bearer token
                        202 and the mode document; 400 not understood, 401 no token, 403 another token

What plays Kubernetes, an operator and bad luck on it (no token is asked for: never expose it):

    GET  /mock/state    all of the above, the faults, every change of mode, every switch request, seconds not active
    POST /mock/restart  {"version": "2", "startup_seconds": 3, "start_mode": "standby", "down_seconds": 1}
                        it forgets its mode and refuses connections while down; what is left out stays as it was
    POST /mock/operator {"mode": "standby", "reason": "operator/alice"}, at once and without draining
    POST /mock/faults   replaces the faults that are switched on; {} switches all off:

      never_drain           true: draining never ends
      never_healthy         true: start-up never ends; if it is over, health is degraded
      forget_after_seconds  so long after a switch to standby it is active again by itself, naming nobody
      switch_status         /admin/mode answers with this status and does nothing
      mode_status           /health/mode answers with this status
      health_status         /health/deep answers with this status
      retry_after           the Retry-After of these three
      hang_seconds          the OMS answers so much later (and acts so much later)
      reset                 true: the connection is reset before anything is done
      refuse_active         true: a switch to active is answered 409
      ignore_switch         true: a switch is answered 202 and nothing happens
      drop_answer           true: a switch is done, and the connection closed without an answer
      count                 how often all but the first two strike; absent: until they are replaced

Faults outlive a restart. When ready, each replica's address is one JSON line on stdout. SIGTERM ends it at once.
"""

import argparse
import dataclasses
import hmac
import inspect
import ipaddress
import json
import math
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

Mode = Literal["active", "draining", "standby", "starting", "down"]
StartMode = Literal["active", "standby", "starting"]

MODE_PATH = "/health/mode"
HEALTH_PATH = "/health/deep"
SWITCH_PATH = "/admin/mode"
METHODS = {MODE_PATH: "GET", HEALTH_PATH: "GET", SWITCH_PATH: "POST"}

LARGEST_BODY_BYTES = 4 * 1024 * 1024
REMEMBERED_REQUESTS = 10_000


# How a far end is spoken to: shared with the mock of PagerDuty.


@dataclass(slots=True)
class Received:
    """One request, entered when it arrives."""

    at: float
    """Unix seconds."""
    method: str
    path: str
    body: Any = None
    """Of a switch request: the JSON, or the text if it is none."""
    status: int | None = None
    """What it was answered with; None: not answered, or not yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a handler is asked: one request as it came."""

    method: str
    path: str
    headers: Message
    body: bytes
    closing: threading.Event
    """Set when the far end goes away under the request."""

    def json(self) -> Any:
        """Read the body's JSON. Raises ValueError where it is not strict JSON in UTF-8 (NaN, lone surrogates)."""
        try:
            document = json.loads(self.body)
            # Writing it again finds what reading lets pass: NaN, Infinity, 1e999, lone surrogates.
            json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None
        return document

    def readable(self) -> Any:
        """Give the body as JSON if it is that, else as text."""
        try:
            return self.json()
        except ValueError:
            return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers; `status` None closes the connection instead, with `reset` abruptly."""

    status: int | None
    content: Any = ""
    """Text as it is, anything else as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False


HANG_UP = Answer(None)
RESET = Answer(None, reset=True)


class Listener(ThreadingHTTPServer):
    """One listening address, open from the start; every request is answered by `respond` in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128
    timeout = 0.5  # the most that closing takes

    def __init__(self, address: tuple[str, int], respond: Callable[[Question], Answer]) -> None:
        """Raise OSError where the address cannot be listened on."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.respond = respond
        self.closing = threading.Event()
        self._connections: dict[int, socket.socket] = {}
        super().__init__(address, _Conversation)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def bound(self) -> tuple[str, int]:
        return self.server_name, self.server_port

    @property
    def address(self) -> str:
        host, port = self.bound
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Refuse new connections and cut every open one but that of the calling thread."""
        self.closing.set()
        with suppress(OSError):
            # Wakes the thread that accepts, where the system can: serve_forever would have to be polled for that.
            self.socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.server_close()
        for thread, connection in list(self._connections.items()):
            if thread != threading.get_ident():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        # HTTPServer looks up the host's full name here, which takes seconds where no resolver answers.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._connections[threading.get_ident()] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._connections[threading.get_ident()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a peer that went away: it does so whenever a deadline passes."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _accept(self) -> None:
        while not self.closing.is_set():
            self.handle_request()


class _Conversation(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        body = self._body()
        if body is None:
            answer = Answer(
                413, {"error": "a Content-Length of at most 4 MiB is needed"}, {"Connection": "close"}
            )
        else:
            path = self.path.partition("?")[0]
            answer = self.server.respond(
                Question(self.command, path, self.headers, body, self.server.closing)
            )
        self._answer(answer)

    # http.server looks for these names.
    do_DELETE = do_PATCH = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        pass

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
            return None
        return self.rfile.read(int(length))

    def _answer(self, answer: Answer) -> None:
        if answer.status is None:
            self._hang_up(reset=answer.reset)
            return
        text = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
        content = b"" if answer.status in {204, 304} else text.encode()
        kind = "text/plain; charset=utf-8" if isinstance(answer.content, str) else "application/json"
        self.send_response(answer.status)
        closing = {"Connection": "close"} if self.server.closing.is_set() else {}
        for name, value in {"Content-Type": kind, **answer.headers, **closing}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            # Not lingering makes the kernel send RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


_Result = TypeVar("_Result")


def call_with(function: Callable[..., _Result], document: Any) -> _Result:
    """Call with the values of a JSON object. Raises ValueError on names and types that `function` does not take."""
    if not isinstance(document, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - the document's fault, not the caller's
    try:
        inspect.signature(function).bind(**document)
    except TypeError as error:
        raise ValueError(str(error)) from None
    kinds = get_type_hints(function)
    for name, value in document.items():
        if not _is_of(value, kinds[name]):
            raise ValueError(f"{name} cannot be {json.dumps(value)}")
    return function(**document)


def _is_of(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if choices := get_args(kind):
        return any(_is_of(value, choice) for choice in choices)
    return type(value) is kind or (kind is float and type(value) is int)


def require_within(least: float, most: float, **values: float | None) -> None:
    """Raise ValueError where one of the values is outside; None is none."""
    for name, value in values.items():
        if value is not None and not least <= value <= most:
            raise ValueError(f"{name} must be from {least} to {most}")


def host_and_port(text: str) -> tuple[str, int]:
    """Read HOST:PORT or [HOST]:PORT. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def serve_until_told_to_end(
    peer: AbstractContextManager[Any], addresses: Callable[[], Sequence[str]]
) -> None:
    """Open a far end, tell its addresses on stdout, and close it on SIGTERM or SIGINT. Raises OSError."""
    ends = {signal.SIGTERM, signal.SIGINT}
    # Blocked and waited for: no handler can interrupt anything, and PID 1 gets them too.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with peer:
        for address in addresses():
            print(json.dumps({"event": "listening", "address": address}), flush=True)
        signal.sigwait(ends)


# The OMS itself.


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with a replica; the module's text says what each does."""

    never_drain: bool = False
    never_healthy: bool = False
    forget_after_seconds: float | None = None
    switch_status: int | None = None
    mode_status: int | None = None
    health_status: int | None = None
    retry_after: str | None = None
    hang_seconds: float = 0.0
    reset: bool = False
    refuse_active: bool = False
    ignore_switch: bool = False
    drop_answer: bool = False
    count: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError on what cannot be played."""
        require_within(200, 599, switch_status=self.switch_status)
        require_within(200, 599, mode_status=self.mode_status, health_status=self.health_status)
        require_within(0, 86400, forget_after_seconds=self.forget_after_seconds)
        require_within(0, 86400, hang_seconds=self.hang_seconds)
        require_within(1, math.inf, count=self.count)

    def status_of(self, path: str) -> int | None:
        """Give the status that takes the place of an answer."""
        return {
            MODE_PATH: self.mode_status,
            HEALTH_PATH: self.health_status,
            SWITCH_PATH: self.switch_status,
        }.get(path)

    def strike(self, path: str, wanted: object) -> bool:
        """Tell whether a request for `path` is to be disturbed; of a switch, `wanted` is the mode."""
        switch = (
            self.ignore_switch
            or self.drop_answer
            or (self.refuse_active and wanted == "active")
            or (self.forget_after_seconds is not None and wanted == "standby")
        )
        return bool(
            self.reset or self.hang_seconds or self.status_of(path) or (switch and path == SWITCH_PATH)
        )

    def after_a_strike(self) -> "Faults":
        """One fewer; without any left only what is no single event stays."""
        if self.count is None:
            return self
        if self.count > 1:
            return dataclasses.replace(self, count=self.count - 1)
        return Faults(never_drain=self.never_drain, never_healthy=self.never_healthy)


@dataclass(frozen=True, slots=True)
class ModeChange:
    """From `at` (Unix seconds) on the replica was in this mode, for this reason."""

    at: float
    mode: Mode
    reason: str | None
    version: str


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica at one moment: what /mock/state tells."""

    address: str
    mode: Mode
    reason: str | None
    since: float
    """Unix seconds: when this mode began."""
    version: str
    open_orders: int
    healthy: bool
    seconds_not_active: float
    """Since the first start, being down included."""
    faults: Faults
    history: tuple[ModeChange, ...]
    """Every change of mode or reason; the first is the start."""
    switches: tuple[Received, ...]
    """Every switch request that arrived, answered or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    token: str | None = field(repr=False)
    version: str
    drain_seconds: float
    startup_seconds: float
    start_mode: StartMode
    open_orders: int


class Replica:
    """One replica of the mock OMS; made by MockOms."""

    def __init__(self, setup: _Setup, clock: Callable[[], float]) -> None:
        self._setup = setup
        self._clock = clock
        self._lock = threading.RLock()
        self._faults = Faults()
        self._faults_at = 0.0
        self._history: list[ModeChange] = []
        self._switches: list[Received] = []
        self._requests: deque[Received] = deque(maxlen=REMEMBERED_REQUESTS)
        self._coming_up: threading.Timer | None = None
        self._mode: Mode = "down"
        self._reason: str | None = None

    @property
    def bound(self) -> tuple[str, int]:
        """Host and port; the same after a restart."""
        return self._listener.bound

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self._listener.address

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def state(self) -> ReplicaState:
        """How it is now. While down its mode is "down"."""
        with self._lock:
            self._advance()
            return ReplicaState(
                address=self.address,
                mode=self._mode,
                reason=self._reason,
                since=self._since,
                version=self._setup.version,
                open_orders=self._open_orders(),
                healthy=self._healthy(),
                seconds_not_active=self._seconds_not_active(),
                faults=self._faults,
                history=tuple(self._history),
                switches=tuple(self._switches),
            )

    @property
    def requests(self) -> tuple[Received, ...]:
        """The last 10,000 requests to the OMS (none of /mock/), in the order in which they arrived."""
        with self._lock:
            return tuple(self._requests)

    @property
    def faults(self) -> Faults:
        """What is wrong with it now; assign to replace all of it (`Faults()` for nothing)."""
        with self._lock:
            return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            self._advance()
            self._faults = faults
            self._faults_at = self._clock()

    def operator(self, mode: Literal["active", "standby"], reason: str | None = None) -> None:
        """Be an operator at the OMS itself: at once, without draining, whatever the faults."""
        with self._lock:
            self._advance()
            self._forgets_at = math.inf
            self._enter(mode, reason, self._clock())

    def restart(
        self,
        *,
        version: str | None = None,
        startup_seconds: float | None = None,
        start_mode: StartMode | None = None,
        down_seconds: float = 0.0,
    ) -> None:
        """
        Be replaced by a new pod at the same address, which has forgotten mode and reason.

        It returns as soon as connections are refused; `down_seconds` later it listens again by itself.
        What is None stays as it was. Raises ValueError on seconds outside of a day.
        """
        require_within(0, 86400, startup_seconds=startup_seconds, down_seconds=down_seconds)
        with self._lock:
            self._advance()
            self.close()
            setup = self._setup
            self._setup = dataclasses.replace(
                setup,
                version=setup.version if version is None else version,
                startup_seconds=setup.startup_seconds if startup_seconds is None else startup_seconds,
                start_mode=setup.start_mode if start_mode is None else start_mode,
            )
            if not down_seconds:
                self.open(self.bound)
                return
            self._forgets_at = math.inf
            self._enter("down", None, self._clock())
            self._coming_up = threading.Timer(down_seconds, self._come_up)
            self._coming_up.daemon = True
            self._coming_up.start()

    def open(self, address: tuple[str, int]) -> None:
        """Start as a new pod does. Raises OSError where the address cannot be listened on."""
        with self._lock:
            self._listener = Listener(address, self._respond)
            self._started_at = self._since = self._clock()
            self._settles_at = self._started_at + self._setup.startup_seconds
            self._forgets_at = math.inf
            self._enter(self._setup.start_mode, None, self._started_at)

    def close(self) -> None:
        """Refuse connections and cut those that are open."""
        with self._lock:
            if self._coming_up is None:
                self._listener.close()
            else:
                self._coming_up.cancel()
                self._coming_up = None

    def _come_up(self) -> None:
        with self._lock:
            # One that was cancelled when it had already gone off is not this one.
            if threading.current_thread() is self._coming_up:
                self._coming_up = None
                self.open(self.bound)

    def _respond(self, question: Question) -> Answer:
        if question.path.startswith("/mock/"):
            return self._control(question)
        received = Received(self._clock(), question.method, question.path)
        with self._lock:
            self._requests.append(received)
            if (question.method, question.path) == ("POST", SWITCH_PATH):
                received.body = question.readable()
                self._switches.append(received)
            faults = self._struck_by(received)
        answer = (
            HANG_UP
            if question.closing.wait(faults.hang_seconds)
            else self._answer(question, received, faults)
        )
        received.status = answer.status
        return answer

    def _struck_by(self, received: Received) -> Faults:
        faults = self._faults
        wanted = received.body.get("mode") if isinstance(received.body, dict) else None
        if faults.strike(received.path, wanted):
            self._faults = faults.after_a_strike()
        return faults

    def _answer(self, question: Question, received: Received, faults: Faults) -> Answer:
        with self._lock:
            if faults.reset or question.closing.is_set():
                return RESET
            self._advance()
            if refused := _refused(question, faults):
                return refused
            if question.path == MODE_PATH:
                return Answer(200, self._mode_document())
            if question.path == HEALTH_PATH:
                return Answer(200 if self._healthy() else 503, self._health_document())
            return self._switch(question, received.body, faults)

    def _switch(self, question: Question, body: Any, faults: Faults) -> Answer:
        if denied := self._denied(question.headers.get("Authorization")):
            return denied
        match body:
            case {"mode": "standby" | "active" as mode} if isinstance(body.get("reason"), str | None):
                reason = body.get("reason")
            case _:
                return Answer(
                    400, {"error": 'expected {"mode": "standby" or "active", "reason": text or null}'}
                )
        if faults.refuse_active and mode == "active":
            return Answer(409, {"error": "not now: active is refused"})
        if not faults.ignore_switch:
            self._turn(mode, reason, faults.forget_after_seconds)
        return HANG_UP if faults.drop_answer else Answer(202, self._mode_document())

    def _denied(self, authorization: str | None) -> Answer | None:
        if self._setup.token is None:
            return None
        if authorization is None:
            return Answer(401, {"error": "a bearer token is needed"}, {"WWW-Authenticate": "Bearer"})
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self._setup.token}".encode()):
            return Answer(403, {"error": "this token may not switch"})
        return None

    def _turn(
        self, mode: Literal["active", "standby"], reason: str | None, forget_after: float | None
    ) -> None:
        now = self._clock()
        self._forgets_at = math.inf
        if mode == "active":
            self._enter("active", reason, now)
            return
        if forget_after is not None:
            self._forgets_at = now + forget_after
        if self._mode == "active" and self._setup.drain_seconds:
            self._settles_at = now + self._setup.drain_seconds
            self._enter("draining", reason, now)
        else:
            self._enter("draining" if self._mode == "draining" else "standby", reason, now)

    def _advance(self) -> None:
        """Enter what happened by itself since the last look, at the time at which it did."""
        now = self._clock()
        while (due := min(settles := self._settles(), self._forgets_at)) <= now:
            if due == settles:
                self._enter("standby", self._reason, due)
            else:
                self._forgets_at = math.inf
                self._enter("active", None, due)

    def _settles(self) -> float:
        """When draining or starting ends."""
        held = {"draining": self._faults.never_drain, "starting": self._faults.never_healthy}.get(
            self._mode, True
        )
        return math.inf if held else max(self._settles_at, self._faults_at)

    def _enter(self, mode: Mode, reason: str | None, at: float) -> None:
        if mode != self._mode:
            self._since = at
        self._mode, self._reason = mode, reason
        self._history.append(ModeChange(at, mode, reason, self._setup.version))

    def _healthy(self) -> bool:
        return self._started() and not self._faults.never_healthy and self._mode != "down"

    def _started(self) -> bool:
        return self._clock() >= self._started_at + self._setup.startup_seconds

    def _open_orders(self) -> int:
        if self._mode == "draining":
            left = (self._settles_at - self._clock()) / self._setup.drain_seconds
            return max(1, math.ceil(self._setup.open_orders * left))
        return self._setup.open_orders if self._mode == "active" else 0

    def _seconds_not_active(self) -> float:
        ends = [change.at for change in self._history[1:]] + [self._clock()]
        return sum(
            end - change.at
            for change, end in zip(self._history, ends, strict=True)
            if change.mode != "active"
        )

    def _mode_document(self) -> dict[str, Any]:
        return {
            "mode": self._mode,
            "reason": self._reason,
            "since": datetime.fromtimestamp(self._since, UTC).isoformat().replace("+00:00", "Z"),
            "version": self._setup.version,
            "open_orders": self._open_orders(),
        }

    def _health_document(self) -> dict[str, Any]:
        if self._healthy():
            status, connections = "healthy", "all_connected"
        elif self._started():
            status, connections = "degraded", "reconnecting"
        else:
            status, connections = "starting", "connecting"
        return {"status": status, "exchange_connections": connections, "version": self._setup.version}

    def _control(self, question: Question) -> Answer:
        if (question.method, question.path) == ("GET", "/mock/state"):
            return Answer(200, dataclasses.asdict(self.state))
        try:
            match question.method, question.path:
                case "POST", "/mock/faults":
                    self.faults = call_with(Faults, question.json())
                case "POST", "/mock/operator":
                    call_with(self.operator, question.json())
                case "POST", "/mock/restart":
                    call_with(self.restart, question.json())
                case _:
                    return Answer(404, {"error": f"there is no {question.method} {question.path}"})
        except ValueError as error:
            return Answer(400, {"error": str(error)})
        return Answer(200, dataclasses.asdict(self.state))


def _refused(question: Question, faults: Faults) -> Answer | None:
    if question.path not in METHODS:
        return Answer(404, {"error": f"there is no {question.path}"})
    if question.method != METHODS[question.path]:
        return Answer(405, {"error": f"not with {question.method}"})
    status = faults.status_of(question.path)
    if status is None:
        return None
    headers = {} if faults.retry_after is None else {"Retry-After": faults.retry_after}
    return Answer(status, {"error": f"a fault was switched on: {status}"}, headers)


class MockOms:
    """
    All replicas of a mock OMS, as a context manager.

        with MockOms(replicas=3, drain_seconds=0.3, start_mode="active") as oms:
            run(OMS_URL=oms.url)
            oms.replicas[0].state.mode
            oms.replicas[1].faults = Faults(never_drain=True)
            oms.replicas[2].restart(version="2", startup_seconds=1)
    """

    def __init__(
        self,
        *,
        replicas: int = 1,
        listen: Sequence[str] = ("127.0.0.10:0",),
        token: str | None = None,
        version: str = "1",
        drain_seconds: float = 0.0,
        startup_seconds: float = 0.0,
        start_mode: StartMode = "standby",
        open_orders: int = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare the replicas; they listen once the context is entered.

        One address in `listen` is that of the first replica; the others follow on the next hosts, all with the same
        port, as the addresses of a headless Service do. Several addresses are one replica each. Port 0 is any.
        Without `token` nobody needs one. `clock` tells Unix seconds: turn it by hand to see a drain without waiting.
        Raises ValueError on an address that is none, and where there are both several addresses and `replicas`.
        """
        require_within(1, 60_000, replicas=replicas)
        require_within(0, 86400, drain_seconds=drain_seconds, startup_seconds=startup_seconds)
        if len(listen) > 1 and replicas > 1:
            raise ValueError("with several addresses to listen on, each is one replica")
        self._setup = _Setup(
            token=token,
            version=version,
            drain_seconds=drain_seconds,
            startup_seconds=startup_seconds,
            start_mode=start_mode,
            open_orders=open_orders,
        )
        self._clock = clock
        self._addresses = [host_and_port(address) for address in listen]
        self._one_port = len(listen) == 1
        if self._one_port and replicas > 1:
            first, port = self._addresses[0]
            self._addresses = [
                (str(ipaddress.ip_address(first) + number), port) for number in range(replicas)
            ]
        self.replicas: tuple[Replica, ...] = ()
        """In the order of their addresses; none before the context is entered."""

    @property
    def url(self) -> str:
        """The base address of every replica, comma-separated: what `OMS_URL` takes."""
        return ",".join(replica.url for replica in self.replicas)

    def __enter__(self) -> Self:
        """Open every replica. Raises OSError where an address cannot be listened on."""
        # A port that is free on the first host may be taken on another; the next is free on all.
        for _ in range(9 if self._one_port and not self._addresses[0][1] else 0):
            with suppress(OSError):
                self.replicas = self._opened()
                return self
        self.replicas = self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self.replicas:
            replica.close()

    def _opened(self) -> tuple[Replica, ...]:
        replicas: list[Replica] = []
        with ExitStack() as opened:
            for host, port in self._addresses:
                shared = replicas[0].bound[1] if replicas and self._one_port else 0
                replica = Replica(self._setup, self._clock)
                replica.open((host, port or shared))
                opened.callback(replica.close)
                replicas.append(replica)
            opened.pop_all()
        return tuple(replicas)


def main() -> int:
    command = argparse.ArgumentParser(
        prog="python -m rehearsal.mock_oms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help="where the first replica listens (127.0.0.10:0; port 0 is any); given several times, one replica each",
    )
    command.add_argument(
        "--replicas", type=int, default=1, help="on the hosts that follow, all with one port (%(default)s)"
    )
    command.add_argument(
        "--token",
        default=os.environ.get("MOCK_OMS_TOKEN") or None,
        help="bearer token of /admin/mode (MOCK_OMS_TOKEN, which no process list shows; without it nobody needs one)",
    )
    command.add_argument(
        "--token-file",
        dest="token",
        type=lambda path: Path(path).read_text().strip(),
        help="the same from a file",
    )
    command.add_argument(
        "--version-name", dest="version", default="1", help="the version that it tells (%(default)s)"
    )
    command.add_argument(
        "--drain-seconds", type=float, default=2.0, help="from active to standby (%(default)s)"
    )
    command.add_argument("--startup-seconds", type=float, default=3.0, help="until healthy (%(default)s)")
    command.add_argument(
        "--start-mode",
        choices=get_args(StartMode),
        default="standby",
        help="mode after a start; starting becomes standby when started up (%(default)s)",
    )
    command.add_argument("--open-orders", type=int, default=5, help="while active (%(default)s)")
    options = {name: value for name, value in vars(command.parse_args()).items() if value is not None}
    try:
        oms = MockOms(**options)
        serve_until_told_to_end(oms, lambda: [replica.address for replica in oms.replicas])
    except (ValueError, OSError) as error:
        command.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
