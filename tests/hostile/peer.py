"""A server on a raw socket that answers as it is told, and remembers what it was asked.

A behaviour is what one request meets. It sends bytes, waits, or breaks off; when it returns, the connection
is kept for the next request. Behaviours are put together with `routes` and `in_turn`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

Headers = Iterable[tuple[str, str]]

MEBIBYTE = 1024 * 1024


class HangUp(Exception):  # noqa: N818  # no fault: this is how a behaviour ends a connection
    """Nothing more is to be said on this connection."""


@dataclass(frozen=True)
class Request:
    """What a client asked, byte for byte where it matters."""

    method: str
    address: str
    """As it stands in the request line: a path, or a whole URL when the client takes us for its proxy."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    arrived: float
    """On the monotonic clock, in seconds."""

    def header(self, name: str) -> str | None:
        """Return the last header of this name, whatever its case."""
        return {key.lower(): value for key, value in self.headers}.get(name.lower())

    @property
    def route(self) -> str:
        """Method and path, without the query."""
        return f"{self.method} {self.address.partition('?')[0]}"

    @property
    def document(self) -> Any:
        """The body as strict JSON in UTF-8; anything else raises ValueError."""
        return json.loads(self.body.decode("utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Connection:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        """Speak on `sock` until `closing` is set."""
        self.sock = sock
        self._closing = closing
        self._read = b""

    def send(self, data: bytes) -> None:
        """Send all of it; a client that went away ends the connection."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise HangUp from error

    def pause(self, seconds: float | None = None) -> None:
        """Wait, for ever without `seconds`; the peer's own end breaks off at once."""
        if self._closing.wait(seconds):
            raise HangUp

    def hold(self, release: threading.Event) -> None:
        """Wait until `release` is set."""
        while not release.is_set():
            self.pause(0.01)

    def hang_up(self) -> NoReturn:
        """Close in good order."""
        raise HangUp

    def reset(self) -> NoReturn:
        """Close with a reset: what is under way is lost."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangUp

    def read_request(self) -> Request:
        """Read one request with its body; the end of the connection raises HangUp."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        method, address, _ = first.split(" ", 2)
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in rest))
        length = int({name.lower(): value for name, value in headers}.get("content-length", "0"))
        while len(self._read) < length:
            self._receive()
        body, self._read = self._read[:length], self._read[length:]
        return Request(method, address, headers, body, time.monotonic())

    def _receive(self) -> None:
        try:
            received = self.sock.recv(65536)
        except OSError as error:
            raise HangUp from error
        if not received:
            raise HangUp
        self._read += received


Behaviour = Callable[[Connection, Request], None]
Greeting = Callable[[Connection], None]


class Peer:
    """Serves on loopback while it is entered; can close its port and open the same one again."""

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        greeting: Greeting | None = None,
    ) -> None:
        """Take a port (0: any free one) without listening on it yet.

        `greeting` is what a connection meets before TLS and before its first request.
        """
        self.behaviour = behaviour
        self.connections = 0
        self.failed_handshakes = 0
        self.tls = tls
        self._greeting = greeting
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        # Bound and never listening: refuses connections while the port is closed, and keeps others off it.
        self._reservation = _bound(host, port)
        self.host, self.port = self._reservation.getsockname()[:2]

    def __enter__(self) -> Self:
        """Open the port."""
        self.open_port()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close the port and every connection, and wait for all of them to end."""
        self._closing.set()
        self.close_port()
        self._reservation.close()
        for thread in self._threads:
            thread.join()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://{self.address}"

    @property
    def requests(self) -> list[Request]:
        """What was asked so far, in the order of arrival."""
        with self._changed:
            return list(self._requests)

    def asked(self, route: str) -> list[Request]:
        """Return the requests of one route, such as `POST /admin/mode`."""
        return [request for request in self.requests if request.route == route]

    def wait_until(self, condition: Callable[[list[Request]], bool], within: float = 30) -> None:
        """Wait until what was asked fulfils `condition`, or raise TimeoutError after so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._requests), within):
                raise TimeoutError(f"asked only {[request.route for request in self._requests]}")

    def wait_for(self, route: str, times: int = 1, within: float = 30) -> None:
        """Wait until a route was asked so often."""
        self.wait_until(lambda asked: sum(request.route == route for request in asked) >= times, within)

    def open_port(self) -> None:
        """Listen, on the same port each time."""
        listener = _bound(self.host, self.port)
        listener.listen(64)
        self._listener = listener
        self._spawn(functools.partial(self._accept, listener))

    def close_port(self) -> None:
        """Listen no more and drop every connection, as a process that ends."""
        if self._listener:
            # A plain close would leave the thread in accept.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._changed:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._changed:
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self.connections += 1
                self._open.add(sock)
                self._changed.notify_all()
            self._spawn(functools.partial(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._closing)
        try:
            if self._greeting:
                self._greeting(connection)
            if self.tls:
                self._begin_tls(connection, self.tls)
            while True:
                request = connection.read_request()
                self._remember(request)
                self.behaviour(connection, request)
        except HangUp:
            pass
        finally:
            with self._changed:
                self._open.discard(sock)
            connection.sock.close()

    def _begin_tls(self, connection: Connection, context: ssl.SSLContext) -> None:
        with self._changed:
            self._open.discard(connection.sock)
        try:
            connection.sock = context.wrap_socket(connection.sock, server_side=True)
        except OSError as error:
            with self._changed:
                self.failed_handshakes += 1
            raise HangUp from error
        with self._changed:
            self._open.add(connection.sock)

    def _remember(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock


# Put together


def routes(table: Mapping[str, Behaviour], *, otherwise: Behaviour | None = None) -> Behaviour:
    """Answer each `METHOD /path` by its own behaviour, all else with 404."""

    def behave(connection: Connection, request: Request) -> None:
        table.get(request.route, otherwise or NOT_FOUND)(connection, request)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer the first request by the first behaviour, and so on; the last one stays."""
    left = list(behaviours)
    lock = threading.Lock()

    def behave(connection: Connection, request: Request) -> None:
        with lock:
            behaviour = left.pop(0) if len(left) > 1 else left[0]
        behaviour(connection, request)

    return behave


def both(effect: Callable[[Request], object], behaviour: Behaviour) -> Behaviour:
    """Let the request take effect, and answer as told all the same."""

    def behave(connection: Connection, request: Request) -> None:
        effect(request)
        behaviour(connection, request)

    return behave


# Answers of good form


def raw(data: bytes, *, keep: bool = False) -> Behaviour:
    """Send just these bytes, then close in good order unless told to keep the connection."""

    def behave(connection: Connection, _: Request) -> None:
        connection.send(data)
        if not keep:
            connection.hang_up()

    return behave


def reply(status: int = 200, body: bytes = b"", headers: Headers = ()) -> Behaviour:
    """Answer in good form: status, length, body."""
    named = [*headers, ("Content-Length", str(len(body)))]
    lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in named), "", ""]
    return raw("\r\n".join(lines).encode() + body, keep=True)


def reply_json(document: Any, status: int = 200, headers: Headers = ()) -> Behaviour:
    """Answer with a JSON document."""
    return reply(status, json.dumps(document).encode(), [("Content-Type", "application/json"), *headers])


def redirect(status: int, location: str) -> Behaviour:
    """Send the client elsewhere."""
    return reply(status, b"elsewhere\n", [("Location", location)])


NOT_FOUND = reply(404, b"no such path\n")


# Answers of bad form


def silence(connection: Connection, _: Request) -> None:
    """Never answer."""
    connection.pause()


def held(release: threading.Event, behaviour: Behaviour) -> Behaviour:
    """Answer only once `release` is set."""

    def behave(connection: Connection, request: Request) -> None:
        connection.hold(release)
        behaviour(connection, request)

    return behave


def reset_after(data: bytes = b"") -> Behaviour:
    """Send the beginning of an answer, or nothing, then reset the connection."""

    def behave(connection: Connection, _: Request) -> None:
        connection.send(data)
        if data:
            # A reset overtakes what was not read yet; the client is to see the beginning.
            connection.pause(0.05)
        connection.reset()

    return behave


def closes_after(behaviour: Behaviour) -> Behaviour:
    """Answer, then close a connection that the answer promised to keep."""

    def behave(connection: Connection, request: Request) -> None:
        behaviour(connection, request)
        connection.hang_up()

    return behave


def drip(data: bytes, *, after: bytes = b"", every: float = 0.05) -> Behaviour:
    """Send `after` at once, then `data` over and over, one byte an interval of `every` seconds."""

    def behave(connection: Connection, _: Request) -> None:
        connection.send(after)
        while True:
            for byte in data:
                connection.send(bytes([byte]))
                connection.pause(every)

    return behave


def endless(block: bytes, *, after: bytes = b"") -> Behaviour:
    """Send `after`, then `block` again and again, as fast as it is taken."""

    def behave(connection: Connection, _: Request) -> None:
        connection.send(after)
        while True:
            connection.send(block)
            connection.pause(0)

    return behave


def ok_head(*headers: str, status: int = 200) -> bytes:
    """Return the head of an answer that promises whatever the headers say."""
    return "\r\n".join([f"HTTP/1.1 {status} Told", *headers, "", ""]).encode()


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", status: int = 200) -> Behaviour:
    """Send the chunks as they stand, sizes and all, then close."""
    return raw(ok_head("Transfer-Encoding: chunked", status=status) + b"".join(chunks) + end)


@functools.cache
def gzip_of_zeros(size: int) -> bytes:
    """Return a gzip member, about a thousandth of `size`, that unpacks to so many zeros (whole mebibytes)."""
    zeros = bytes(MEBIBYTE)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.flush(zlib.Z_FINISH)
    checksum = functools.reduce(lambda crc, _: zlib.crc32(zeros, crc), range(size // MEBIBYTE), 0)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return head + first * (size // MEBIBYTE) + last + struct.pack("<LL", checksum, size % 2**32)


def gzip_bomb(size: int = 512 * MEBIBYTE, status: int = 200) -> Behaviour:
    """Answer with little that unpacks to much."""
    return reply(
        status, gzip_of_zeros(size), [("Content-Encoding", "gzip"), ("Content-Type", "application/json")]
    )


# Greetings


def reset_at_once(connection: Connection) -> None:
    """Reset before the first byte."""
    connection.reset()


def never_shakes_hands(connection: Connection) -> None:
    """Take the connection and say nothing, TLS or not."""
    connection.pause()


def speaks_first(data: bytes) -> Greeting:
    """Say something before anything was asked, as SSH and SMTP do."""

    def greet(connection: Connection) -> None:
        connection.send(data)

    return greet
