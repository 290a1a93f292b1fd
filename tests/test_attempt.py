"""One request and its answer, bounded in time and in size, against a real server on loopback."""

import asyncio
import gzip
import hashlib
import resource
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Container, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme
from cryptography import x509

from hooks import redaction
from hooks.attempt import Answer, Failure, NoAnswer, Outcome, Peer, no_trust, system_trust
from tests.conftest import Serving
from tests.hostile import peer as far
from tests.hostile.certificates import Authorities

BRIEF = 0.3
# What a loaded machine may add.
SOON = 30.0
LONGEST = 1000
MEBIBYTE = 1024 * 1024


class Speaking(Protocol):
    """Makes a peer of the room that is tested; it is closed when the test ends."""

    def __call__(
        self,
        origin: str,
        *,
        trust: ssl.SSLContext | None = None,
        seconds: float = SOON,
        headers: Mapping[str, str] | None = None,
        tls_name: str | None = None,
    ) -> Peer: ...


@pytest.fixture
async def speaking() -> AsyncIterator[Speaking]:
    """Speak to any address."""
    peers: list[Peer] = []

    def speak(origin: str, *, trust: ssl.SSLContext | None = None, **bounds: Any) -> Peer:
        bounds = {"seconds": SOON, "max_body_bytes": LONGEST} | bounds
        peers.append(Peer(origin, trust=trust or no_trust(), **bounds))
        return peers[-1]

    yield speak
    for peer in peers:
        await peer.aclose()


Asking = Callable[..., Any]


@pytest.fixture
def asking(serving: Serving, speaking: Speaking) -> Asking:
    """Ask a server that behaves so, once."""

    async def ask(
        behaviour: far.Behaviour,
        *,
        seconds: float = SOON,
        body: str | None = None,
        decisive: Container[int] = (),
    ) -> Outcome:
        method = "GET" if body is None else "POST"
        peer = speaking(serving(behaviour).url, seconds=seconds)
        return await peer.ask(method, "/mode", body=body, within=SOON, decisive=decisive)

    return ask


# What is sent


async def test_a_question_says_no_more_than_it_must(serving: Serving, speaking: Speaking) -> None:
    """No compression is asked for, no cookie brought, and our name is told."""
    server = serving(far.reply(200))
    await speaking(server.url).ask("GET", "/base/mode?a=b%20c", within=SOON)
    (request,) = server.requests
    assert ("GET", "/base/mode?a=b%20c", b"") == (request.method, request.address, request.body)
    assert {
        "host": server.address,
        "user-agent": "argocd-standby-hooks",
        "accept-encoding": "identity",
    } == {name.lower(): value for name, value in request.headers}


async def test_a_request_brings_its_document(serving: Serving, speaking: Speaking) -> None:
    """In UTF-8, with the headers of the peer."""
    server = serving(far.reply(202))
    peer = speaking(server.url, headers={"Host": "oms.example", "Authorization": "Bearer token"})
    assert await peer.ask("PUT", "/mode", body='{"reason":"ä"}', within=SOON) == Answer(202)
    (request,) = server.requests
    assert ("PUT", '{"reason":"ä"}'.encode()) == (request.method, request.body)
    assert {
        "host": "oms.example",
        "authorization": "Bearer token",
        "user-agent": "argocd-standby-hooks",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": "15",
    } == {name.lower(): value for name, value in request.headers}


async def test_an_address_that_is_asked_for_is_sent_as_it_is(serving: Serving, speaking: Speaking) -> None:
    """Nothing is encoded twice."""
    server = serving(far.reply(200))
    path = "/a%2Fb//d;e?f=%zz&g=[h]"
    await speaking(server.url).ask("GET", path, within=SOON)
    assert [path] == [request.address for request in server.requests]


async def test_no_cookie_is_kept(serving: Serving, speaking: Speaking) -> None:
    """What a peer sets is forgotten with its answer."""
    server = serving(far.reply(200, headers=[("Set-Cookie", "session=1; Path=/")]))
    peer = speaking(server.url)
    for _ in range(2):
        await peer.ask("GET", "/mode", within=SOON)
    assert [None, None] == [request.header("Cookie") for request in server.requests]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int, serving: Serving, speaking: Speaking) -> None:
    """Whoever is named there hears nothing."""
    elsewhere = serving(far.reply(200))
    server = serving(far.redirect(status, f"{elsewhere.url}/mode"))
    outcome = await speaking(server.url).ask("POST", "/mode", body="{}", within=SOON)
    assert (Answer(status, b"elsewhere\n"), 0) == (outcome, elsewhere.connections)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
async def test_no_proxy_of_the_environment_is_taken(
    variable: str, serving: Serving, speaking: Speaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token must not be seen by whoever is between."""
    between, server = serving(far.reply(200)), serving(far.reply(204))
    monkeypatch.setenv(variable, between.url)
    assert await speaking(server.url).ask("GET", "/mode", within=SOON) == Answer(204)
    assert between.connections == 0


def test_an_origin_that_is_no_address_is_a_value_error(speaking: Speaking) -> None:
    """Settings let none through; what is made of them might."""
    with pytest.raises(ValueError, match="Invalid IPv4 address"):
        Peer("http://1.2.3.999", trust=no_trust(), seconds=1, max_body_bytes=1)


async def test_a_path_that_no_request_line_holds_is_a_value_error(speaking: Speaking) -> None:
    """It never reaches the peer."""
    with pytest.raises(ValueError, match="too long"):
        await speaking("http://127.0.0.1").ask("GET", "/" + "a" * 70_000, within=SOON)


# What is answered


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        pytest.param(far.reply(200, b"{}"), Answer(200, b"{}"), id="an answer"),
        pytest.param(far.reply(204), Answer(204), id="no body"),
        pytest.param(far.reply(404, b"no\n"), Answer(404, b"no\n"), id="a refusal"),
        pytest.param(
            far.reply(503, headers=[("Retry-After", "7")]),
            Answer(503, retry_after="7"),
            id="a wish to be left alone",
        ),
        pytest.param(
            far.reply(200, b"x" * LONGEST), Answer(200, b"x" * LONGEST), id="a body just short enough"
        ),
        pytest.param(far.chunked(b"2\r\n{}\r\n"), Answer(200, b"{}"), id="in chunks"),
        pytest.param(far.raw(far.ok_head() + b"{}"), Answer(200, b"{}"), id="until the connection ends"),
        pytest.param(far.raw(b"HTTP/1.0 200 OK\r\n\r\n{}"), Answer(200, b"{}"), id="in HTTP/1.0"),
        pytest.param(
            far.raw(b"HTTP/1.1 100 Continue\r\n\r\n" + far.ok_head("Content-Length: 2") + b"{}"),
            Answer(200, b"{}"),
            id="after a provisional answer",
        ),
        pytest.param(
            far.reply(200, gzip.compress(b"{}"), [("Content-Encoding", "gzip")]),
            Answer(200, b"{}"),
            id="compressed, though nobody asked",
        ),
        pytest.param(
            far.reply(200, zlib.compress(b"{}"), [("Content-Encoding", " DEFLATE ")]),
            Answer(200, b"{}"),
            id="compressed otherwise",
        ),
        pytest.param(
            far.reply(200, b"{}", [("Content-Encoding", "identity")]),
            Answer(200, b"{}"),
            id="as it is, and saying so",
        ),
    ],
)
async def test_an_answer_is_read_whole(behaviour: far.Behaviour, answer: Answer, asking: Asking) -> None:
    """Status, body, and when to come again."""
    assert answer == await asking(behaviour)


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        pytest.param(
            far.reply(200, b"x" * (LONGEST + 1)),
            Answer(200, b"x" * (LONGEST + 1), fault="longer than 1000 bytes"),
            id="a byte too long",
        ),
        pytest.param(
            far.endless(b"x" * 65536, after=far.ok_head()),
            Answer(200, b"x" * (LONGEST + 1), fault="longer than 1000 bytes"),
            id="endless",
        ),
        pytest.param(
            far.endless(b"1\r\nx\r\n" * 1000, after=far.ok_head("Transfer-Encoding: chunked")),
            Answer(200, b"x" * (LONGEST + 1), fault="longer than 1000 bytes"),
            id="endless in chunks",
        ),
        pytest.param(
            far.reply(503, gzip.compress(b"x" * 5000), [("Content-Encoding", "gzip"), ("Retry-After", "7")]),
            Answer(503, b"x" * (LONGEST + 1), "7", "longer than 1000 bytes"),
            id="too long when unpacked",
        ),
        pytest.param(
            far.reply(200, b"{}", [("Content-Encoding", "gzip")]),
            Answer(200, fault="badly compressed"),
            id="not compressed at all",
        ),
        pytest.param(
            far.reply(200, gzip.compress(b"{}")[:-4], [("Content-Encoding", "gzip")]),
            Answer(200, b"{}", fault="compressed and cut short"),
            id="half of what was compressed",
        ),
        pytest.param(
            far.reply(200, b"{}", [("Content-Encoding", "br")]),
            Answer(200, fault="coded as 'br', which was not asked for"),
            id="a coding that nobody asked for",
        ),
        pytest.param(
            far.reply(200, b"{}", [("Content-Encoding", "gzip, gzip")]),
            Answer(200, fault="coded as 'gzip, gzip', which was not asked for"),
            id="compressed twice",
        ),
        pytest.param(
            far.raw(far.ok_head("Content-Length: 9") + b"{}"),
            Answer(
                200,
                b"{}",
                fault="broke off: peer closed connection without sending complete message body"
                " (received 2 bytes, expected 9)",
            ),
            id="less than was promised",
        ),
        pytest.param(
            far.reset_after(far.ok_head("Content-Length: 9") + b"{}"),
            Answer(200, b"{}", fault="broke off: connection reset by peer"),
            id="reset midway",
        ),
        pytest.param(
            far.chunked(b"2\r\n{}\r\n", b"no size\r\n"),
            Answer(200, b"{}", fault="broke off: illegal chunk header: bytearray(b'no size\\r\\n')"),
            id="a chunk without a size",
        ),
    ],
)
async def test_what_is_wrong_with_a_body_is_told_beside_the_status(
    behaviour: far.Behaviour, answer: Answer, asking: Asking
) -> None:
    """In words, and never more of it than may be read."""
    assert answer == await asking(behaviour)


async def test_a_bomb_is_not_unpacked(serving: Serving, speaking: Speaking) -> None:
    """A gigabyte of zeros in a megabyte costs neither the memory nor the time."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = far.reply(200, far.gzip_of_zeros(1024 * MEBIBYTE), [("Content-Encoding", "gzip")])
    peer = speaking(serving(bomb).url)
    outcome = await peer.ask("GET", "/mode", within=SOON)
    assert Answer(200, bytes(LONGEST + 1), fault="longer than 1000 bytes") == outcome
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        pytest.param(far.reply(200, b"x" * 5000), Answer(200), id="a long body"),
        pytest.param(far.reply(202, b"{}", [("Content-Encoding", "br")]), Answer(202), id="a coding"),
        pytest.param(
            far.endless(b"x" * 65536, after=far.ok_head(status=201)), Answer(201), id="an endless body"
        ),
        pytest.param(
            far.drip(b"x", after=far.ok_head("Retry-After: 7", "Content-Length: 9")),
            Answer(200, retry_after="7"),
            id="a slow body",
        ),
        pytest.param(
            far.reset_after(far.ok_head("Content-Length: 9")), Answer(200), id="a body that breaks off"
        ),
        pytest.param(far.reply(409, b"no"), Answer(409, b"no"), id="but a refusal is read"),
    ],
)
async def test_where_the_status_decides_no_body_of_a_2xx_is_waited_for(
    behaviour: far.Behaviour, answer: Answer, asking: Asking
) -> None:
    """It may be anything."""
    assert answer == await asking(behaviour, body="{}", decisive=range(200, 300))


# How an answer reads


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(Answer(503), "503", id="no body"),
        pytest.param(Answer(403, b"no\nmore\n"), "403 no", id="its first line"),
        pytest.param(Answer(403, b"\r\n \t\n no \n"), "403 no", id="its first line that says something"),
        pytest.param(
            Answer(403, b"\x1b[31mno\x00\x9b"),
            "403 [31mno \N{REPLACEMENT CHARACTER}",
            id="nothing that a terminal obeys",
        ),
        pytest.param(
            Answer(403, "nö\N{REPLACEMENT CHARACTER}".encode()), "403 nö\N{REPLACEMENT CHARACTER}", id="UTF-8"
        ),
        pytest.param(Answer(403, b"\xff"), "403 \N{REPLACEMENT CHARACTER}", id="anything else"),
        pytest.param(Answer(403, b"x" * 200), f"403 {'x' * 200}", id="just short enough"),
        pytest.param(Answer(403, b"x" * 201), f"403 {'x' * 200}…", id="too long"),
        pytest.param(Answer(403, b" \n\x00\n"), "403", id="nothing to be seen"),
        pytest.param(Answer(403, b"no s3cr3t-Zx81!"), "403 no [redacted]!", id="a secret"),
        pytest.param(
            Answer(403, b"x" * 195 + b"s3cr3t-Zx81"), f"403 {'x' * 195}[reda…", id="a secret across the cut"
        ),
    ],
)
def test_an_answer_is_quoted_in_one_short_line(answer: Answer, text: str) -> None:
    """For a log, for a reason, for a person."""
    redaction.hide("s3cr3t-Zx81")
    assert text == str(answer)


def test_no_answer_reads_as_its_reason() -> None:
    """It is said in the verdict."""
    assert str(NoAnswer(Failure.BROKEN, "why")) == "why"


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False)])
def test_2xx_is_ok(status: int, ok: bool) -> None:  # noqa: FBT001
    """And nothing else."""
    assert ok is Answer(status).ok


# Bounded in time


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        pytest.param(
            far.silence, NoAnswer(Failure.TIMED_OUT, "not answered within 0.3 s"), id="never answers"
        ),
        pytest.param(
            far.drip(b"X-Drip: a\r\n", after=b"HTTP/1.1 200 OK\r\n"),
            NoAnswer(Failure.TIMED_OUT, "not answered within 0.3 s"),
            id="drips headers",
        ),
        pytest.param(
            far.endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            NoAnswer(Failure.TIMED_OUT, "not answered within 0.3 s"),
            id="answers provisionally for ever",
        ),
        pytest.param(
            far.drip(b"x", after=far.ok_head("Content-Length: 2000", "Retry-After: 7"), every=1),
            Answer(200, b"x", "7", "not answered within 0.3 s"),
            id="drips its body",
        ),
    ],
)
async def test_the_whole_attempt_is_bounded_however_slow_the_peer(
    behaviour: far.Behaviour, outcome: Outcome, asking: Asking
) -> None:
    """Headers and body together."""
    began = time.monotonic()
    assert outcome == await asking(behaviour, seconds=BRIEF, body="{}")
    assert BRIEF <= time.monotonic() - began < SOON


async def test_no_attempt_takes_longer_than_is_left(serving: Serving, speaking: Speaking) -> None:
    """Whatever the peer is granted."""
    peer = speaking(serving(far.silence).url)
    assert await peer.ask("GET", "/mode", within=BRIEF) == NoAnswer(
        Failure.TIMED_OUT, "not answered within 0.3 s"
    )


@pytest.mark.parametrize("within", [0, -1])
async def test_without_any_time_nothing_is_sent(within: float, serving: Serving, speaking: Speaking) -> None:
    """It would arrive after the end."""
    server = serving(far.reply(200))
    outcome = await speaking(server.url).ask("POST", "/mode", body="{}", within=within)
    assert NoAnswer(Failure.TIMED_OUT, "not answered within 0 s", may_have_arrived=False) == outcome
    assert [] == server.requests


async def test_a_name_that_hangs_is_bounded_too(speaking: Speaking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent to it."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(SOON) and [])
    outcome = await speaking("http://oms", seconds=BRIEF).ask("POST", "/mode", body="{}", within=SOON)
    answered.set()
    assert NoAnswer(Failure.TIMED_OUT, "not answered within 0.3 s", may_have_arrived=False) == outcome


@pytest.mark.parametrize("given_up", [False, True], ids=["for want of time", "by whoever asked"])
async def test_a_handshake_that_never_ends_leaves_nothing_behind(
    given_up: bool,  # noqa: FBT001
    authorities: Authorities,
    speaking: Speaking,
) -> None:
    """Nothing was sent through it, and its socket is closed though no garbage is collected."""
    closed = threading.Event()

    def says_nothing(connection: far.Connection) -> None:
        while connection.sock.recv(65536):
            pass
        closed.set()
        connection.hang_up()

    with far.Peer(far.reply(200), greeting=says_nothing) as server:
        peer = speaking(f"https://{server.address}", trust=trusting(authorities), seconds=BRIEF)
        asking = peer.ask("POST", "/mode", body="{}", within=SOON)
        if given_up:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asking, BRIEF / 2)
        else:
            assert await asking == NoAnswer(
                Failure.TIMED_OUT, "not answered within 0.3 s", may_have_arrived=False
            )
        assert await asyncio.to_thread(closed.wait, SOON)


async def test_who_gives_up_asking_is_not_held(serving: Serving, speaking: Speaking) -> None:
    """A cancellation goes through, and the next question is answered."""
    server = serving(far.in_turn(far.silence, far.reply(200)))
    peer = speaking(server.url)
    asking = asyncio.ensure_future(peer.ask("GET", "/mode", within=SOON))
    await asyncio.to_thread(server.wait_for, "GET /mode")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await peer.ask("GET", "/mode", within=SOON) == Answer(200)


# No answer


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        pytest.param(far.reset_after(), "connection reset by peer", id="resets"),
        pytest.param(
            far.Connection.hang_up, "server disconnected without sending a response.", id="hangs up"
        ),
        pytest.param(
            far.raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"),
            "illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.2p1')",
            id="is no web server",
        ),
        pytest.param(far.raw(b"HTTP/1.1 200 OK\r\n"), "server disconnected", id="ends within its head"),
        pytest.param(
            far.endless(b"X-Endless: a\r\n" * 1000, after=b"HTTP/1.1 200 OK\r\n"),
            "Receive buffer too long",
            id="never ends its head",
        ),
        pytest.param(
            far.raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
            "bad Content-Length",
            id="has no length",
        ),
    ],
)
async def test_what_is_no_answer_is_broken_and_may_have_arrived(
    behaviour: Any, detail: str, asking: Asking
) -> None:
    """The request was read, whatever came back."""
    hung_up = behaviour is far.Connection.hang_up
    outcome = await asking((lambda connection, _: connection.hang_up()) if hung_up else behaviour, body="{}")
    assert (Failure.BROKEN, True) == (outcome.failure, outcome.may_have_arrived)
    assert detail.lower() in outcome.detail.lower()


async def test_a_port_that_nobody_listens_on_is_unreachable(speaking: Speaking) -> None:
    """Nothing can have arrived."""
    server = far.Peer(far.reply(200))
    outcome = await speaking(server.url).ask("POST", "/mode", body="{}", within=SOON)
    server.__exit__(None, None, None)
    assert NoAnswer(Failure.UNREACHABLE, "connection refused", may_have_arrived=False) == outcome


def resolved_to(found: Any) -> Callable[..., Any]:
    def getaddrinfo(*_: Any, **__: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    return getaddrinfo


async def test_a_name_whose_every_address_refuses_is_unreachable(
    speaking: Speaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are tried, and one reason is enough."""
    server = far.Peer(far.reply(200))
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, server.port)) for ip in ("127.0.0.1", "127.0.0.2")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", resolved_to(addresses))
    outcome = await speaking("http://oms").ask("POST", "/mode", body="{}", within=SOON)
    server.__exit__(None, None, None)
    assert NoAnswer(Failure.UNREACHABLE, "connection refused", may_have_arrived=False) == outcome


@pytest.mark.parametrize(
    ("error", "failure", "detail"),
    [
        pytest.param(
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            Failure.UNKNOWN_NAME,
            "its name is not resolved: name or service not known",
            id="unknown to DNS",
        ),
        pytest.param(
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            Failure.UNRESOLVED,
            "its name is not resolved: temporary failure in name resolution",
            id="DNS does not answer",
        ),
        pytest.param(
            socket.gaierror(socket.EAI_FAIL),
            Failure.UNRESOLVED,
            "its name is not resolved: no answer",
            id="in no words",
        ),
    ],
)
async def test_a_name_that_is_not_resolved_is_told_from_one_that_does_not_exist(
    error: Exception,
    failure: Failure,
    detail: str,
    speaking: Speaking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the second can mean that there is no OMS yet."""
    monkeypatch.setattr(socket, "getaddrinfo", resolved_to(error))
    outcome = await speaking("http://oms").ask("POST", "/mode", body="{}", within=SOON)
    assert NoAnswer(failure, detail, may_have_arrived=False) == outcome


# Connections


async def test_a_connection_is_kept(serving: Serving, speaking: Speaking) -> None:
    """Three questions, one connection."""
    server = serving(far.reply(200, b"{}"))
    peer = speaking(server.url)
    for _ in range(3):
        await peer.ask("GET", "/mode", within=SOON)
    assert (3, 1) == (len(server.requests), server.connections)


async def test_a_connection_that_the_peer_has_closed_is_not_used_again(
    serving: Serving, speaking: Speaking
) -> None:
    """The next question goes through a new one."""
    server = serving(far.closes_after(far.reply(200)))
    peer = speaking(server.url)
    for expected in (1, 2, 3):
        assert await peer.ask("POST", "/mode", body="{}", within=SOON) == Answer(200)
        assert expected == server.connections
        await closed_by_the_peer(peer)


async def closed_by_the_peer(peer: Peer) -> None:
    """Wait until a peer's end of its one connection has reached us."""
    async with asyncio.timeout(SOON):
        while not all(connection.has_expired() for connection in peer._transport._pool.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the operating system sets no event


async def test_a_connection_whose_body_was_not_read_is_not_used_again(
    serving: Serving, speaking: Speaking
) -> None:
    """What is left of one answer is not taken for another."""
    slow = far.drip(b"x", after=far.ok_head("Content-Length: 1000"))
    server = serving(far.in_turn(slow, far.reply(204)))
    peer = speaking(server.url)
    answers = [
        await peer.ask("POST", "/mode", body="{}", within=SOON, decisive=range(200, 300)) for _ in range(2)
    ]
    assert ([Answer(200), Answer(204)], 2) == (answers, server.connections)


ANSWER_TO_NOBODY = far.ok_head("Content-Length: 6") + b"second"


@pytest.mark.parametrize("body", [None, "{}"])
async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(
    body: str | None, serving: Serving, speaking: Speaking
) -> None:
    """It came on the same connection, before the next question."""
    twice = far.raw(far.ok_head("Content-Length: 5") + b"first" + ANSWER_TO_NOBODY, keep=True)
    server = serving(far.in_turn(twice, far.reply(200, b"third")))
    peer = speaking(server.url)
    answers = [await peer.ask("POST", "/mode", body=body, within=SOON) for _ in range(2)]
    assert [Answer(200, b"first"), Answer(200, b"third")] == answers


async def test_what_one_question_brought_too_much_is_no_matter_of_another(
    serving: Serving, speaking: Speaking
) -> None:
    """Two at the same time, each through a connection of its own."""
    first_is_answered = threading.Event()
    twice = far.raw(far.ok_head("Content-Length: 5") + b"first" + ANSWER_TO_NOBODY, keep=True)
    table = {"GET /mode": twice, "GET /health": far.held(first_is_answered, far.reply(200, b"healthy"))}
    server = serving(far.routes(table))
    peer = speaking(server.url)
    health = asyncio.ensure_future(peer.ask("GET", "/health", within=SOON))
    await asyncio.to_thread(server.wait_for, "GET /health")
    assert await peer.ask("GET", "/mode", within=SOON) == Answer(200, b"first")
    first_is_answered.set()
    assert await health == Answer(200, b"healthy")


async def test_many_questions_at_once_each_get_their_answer(serving: Serving, speaking: Speaking) -> None:
    """None waits for another."""
    all_are_there = threading.Barrier(20)

    def behave(connection: far.Connection, request: far.Request) -> None:
        all_are_there.wait(SOON)
        far.reply(200, request.address.encode())(connection, request)

    peer = speaking(serving(behave).url)
    paths = [f"/{number}" for number in range(20)]
    answers = await asyncio.gather(*(peer.ask("GET", path, within=SOON) for path in paths))
    assert [Answer(200, path.encode()) for path in paths] == answers


# TLS


def trusting(authorities: Authorities) -> ssl.SSLContext:
    context = no_trust()
    context.load_verify_locations(cafile=authorities.ca_file)
    return context


async def test_a_certificate_of_a_trusted_authority_is_accepted(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> None:
    """Issued for the address that is dialled."""
    server = serving(far.reply(200, b"{}"), tls=authorities.server())
    peer = speaking(server.url, trust=trusting(authorities))
    assert await peer.ask("GET", "/mode", within=SOON) == Answer(200, b"{}")


@pytest.mark.parametrize(
    ("server_of", "words"),
    [
        pytest.param(
            Authorities.server_of_unknown, "unable to get local issuer certificate", id="unknown authority"
        ),
        pytest.param(Authorities.server_that_expired, "certificate has expired", id="expired"),
        pytest.param(
            lambda authorities: authorities.server("other.test"),
            "IP address mismatch, certificate is not valid for '127.0.0.1'.",
            id="another name",
        ),
    ],
)
async def test_a_certificate_that_does_not_verify_is_untrusted(
    server_of: Callable[[Authorities], ssl.SSLContext],
    words: str,
    authorities: Authorities,
    serving: Serving,
    speaking: Speaking,
) -> None:
    """Nothing was sent to whoever that was."""
    server = serving(far.reply(200), tls=server_of(authorities))
    peer = speaking(server.url, trust=trusting(authorities))
    outcome = await peer.ask("POST", "/mode", body="{}", within=SOON)
    detail = f"its certificate does not verify: {words}"
    assert NoAnswer(Failure.UNTRUSTED, detail, may_have_arrived=False) == outcome
    assert [] == server.requests


async def test_a_pod_is_dialled_by_address_and_known_by_name(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> None:
    """The name is what the certificate must bear, what the server is asked for, and what the request says."""
    asked_for: list[str | None] = []
    tls = authorities.server("oms.test")
    tls.sni_callback = lambda _sock, name, _context: asked_for.append(name)
    server = serving(far.reply(200), tls=tls)
    peer = speaking(
        server.url, trust=trusting(authorities), headers={"Host": "oms.test:8443"}, tls_name="oms.test"
    )
    assert await peer.ask("GET", "/mode", within=SOON) == Answer(200)
    assert (["oms.test"], "oms.test:8443") == (asked_for, server.requests[0].header("Host"))


async def test_a_pod_whose_certificate_bears_another_name_is_untrusted(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> None:
    """Even where it bears the address."""
    server = serving(far.reply(200), tls=authorities.server())
    peer = speaking(server.url, trust=trusting(authorities), tls_name="oms.test")
    outcome = await peer.ask("GET", "/mode", within=SOON)
    assert outcome == NoAnswer(
        Failure.UNTRUSTED,
        "its certificate does not verify: Hostname mismatch, certificate is not valid for 'oms.test'.",
        may_have_arrived=False,
    )


async def test_a_client_certificate_is_shown_where_there_is_one(
    authorities: Authorities, serving: Serving, speaking: Speaking, tmp_path: Path
) -> None:
    """Without it such a server answers nobody."""
    server = serving(far.reply(200), tls=authorities.server_that_asks_back())
    showing = trusting(authorities)
    showing.load_cert_chain(*authorities.client_files(tmp_path))
    assert await speaking(server.url, trust=showing).ask("GET", "/mode", within=SOON) == Answer(200)
    outcome = await speaking(server.url, trust=trusting(authorities)).ask("GET", "/mode", within=SOON)
    assert isinstance(outcome, NoAnswer)
    assert (Failure.BROKEN, 1) == (outcome.failure, len(server.requests))


async def test_tls_where_there_is_none_is_unreachable(speaking: Speaking) -> None:
    """Nothing can have arrived."""
    with far.Peer(far.reply(200), greeting=far.speaks_first(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as server:
        outcome = await speaking(f"https://{server.address}").ask("POST", "/mode", body="{}", within=SOON)
    assert isinstance(outcome, NoAnswer)
    assert (Failure.UNREACHABLE, False) == (outcome.failure, outcome.may_have_arrived)
    assert [] == server.requests


async def test_no_tls_where_there_is_some_is_no_answer(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> None:
    """What comes back is not HTTP."""
    server = serving(far.reply(200), tls=authorities.server())
    outcome = await speaking(f"http://{server.address}").ask("POST", "/mode", body="{}", within=SOON)
    assert isinstance(outcome, NoAnswer)
    assert Failure.BROKEN is outcome.failure


async def test_what_nobody_is_trusted_with_is_not_sent(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> None:
    """The trust of those who are spoken to in clear is empty, not blind."""
    server = serving(far.reply(200), tls=authorities.server())
    outcome = await speaking(server.url, trust=no_trust()).ask("GET", "/mode", within=SOON)
    assert isinstance(outcome, NoAnswer)
    assert Failure.UNTRUSTED is outcome.failure


# What the system trusts


async def tells_whom_the_system_trusts(
    authorities: Authorities, serving: Serving, speaking: Speaking
) -> tuple[bool, bool]:
    """Return whether the authority of this run is trusted, and whether the unknown one is."""
    trusted = []
    for tls in (authorities.server(), authorities.server_of_unknown()):
        server = serving(far.reply(200), tls=tls)
        outcome = await speaking(server.url, trust=system_trust()).ask("GET", "/mode", within=SOON)
        trusted.append(isinstance(outcome, Answer))
    return trusted[0], trusted[1]


async def test_a_bundle_of_the_environment_is_trusted(
    authorities: Authorities, serving: Serving, speaking: Speaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities.ca_file))
    assert (True, False) == await tells_whom_the_system_trusts(authorities, serving, speaking)


async def test_a_hashed_directory_is_trusted(
    authorities: Authorities,
    serving: Serving,
    speaking: Speaking,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Authority by authority, as OpenSSL looks them up."""
    (tmp_path / f"{subject_hash(authorities.trusted)}.0").write_bytes(authorities.trusted.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert (True, False) == await tells_whom_the_system_trusts(authorities, serving, speaking)


def subject_hash(authority: trustme.CA) -> str:
    """Return the name under which OpenSSL looks for an authority (X509_NAME_hash)."""
    subject = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    plain = x509.Name([x509.NameAttribute(at.oid, " ".join(str(at.value).lower().split())) for at in subject])
    # The canonical form is without the outer sequence's head, here of two bytes.
    digest = hashlib.sha1(plain.public_bytes()[2:], usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


async def test_a_bundle_that_cannot_be_used_is_told_and_costs_nobody_else_their_trust(
    authorities: Authorities,
    serving: Serving,
    speaking: Speaking,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A page must not be lost to it."""
    (tmp_path / f"{subject_hash(authorities.trusted)}.0").write_bytes(authorities.trusted.cert_pem.bytes())
    (tmp_path / "bundle").write_text("no certificate", "ascii")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert (True, False) == await tells_whom_the_system_trusts(authorities, serving, speaking)
    assert "ssl_cert_file_not_usable" in capsys.readouterr().out


def test_where_no_directory_is_hashed_the_bundle_of_the_system_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is one."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    bundle = ssl.get_default_verify_paths().openssl_cafile
    assert Path(bundle).exists() is bool(system_trust().cert_store_stats()["x509_ca"])


def test_a_system_that_trusts_nobody_is_none_that_trusts_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bundle, no directory: certificates are asked for all the same."""
    none = {"cafile": None, "capath": None, "openssl_cafile": str(tmp_path / "none")}
    paths: Any = ssl.get_default_verify_paths()._replace(**none)  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = system_trust()
    assert (0, ssl.CERT_REQUIRED, True) == (
        context.cert_store_stats()["x509"],
        context.verify_mode,
        context.check_hostname,
    )
