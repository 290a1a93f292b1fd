"""The hostile peer does what it is told, and the harness measures what it says: fakes are tested too."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from tests.hostile import oms as oms_answers
from tests.hostile import peer as hostile
from tests.hostile.oms import Oms
from tests.hostile.peer import MEBIBYTE, Behaviour, Peer, in_turn, reply
from tests.hostile.process import MEMORY_BYTES, Process
from tests.hostile.resolver import HANGS, UNKNOWN, answering, looked_up

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.certificates import Authorities


def asked(peer: Peer, method: str = "GET", path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
    """Ask once on a connection of its own."""
    connection = http.client.HTTPConnection(peer.host, peer.port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def received(peer: Peer, size: int) -> bytes:
    """Ask on a raw socket and return the first bytes that come, fewer only at the end of the connection."""
    with socket.create_connection((peer.host, peer.port), timeout=20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n")
        with sock.makefile("rb") as answer:
            return answer.read(size)


def test_what_was_asked_is_remembered_whole() -> None:
    """Method, path, headers and body are there to be looked at afterwards."""
    with Peer(reply(202, b"taken")) as peer:
        assert asked(peer, "POST", "/admin/mode?why=test", b'{"mode": "standby"}') == (202, b"taken")
        (request,) = peer.requests
    assert (request.method, request.address) == ("POST", "/admin/mode?why=test")
    assert request.route == "POST /admin/mode"
    assert request.document == {"mode": "standby"}
    assert request.header("content-length") == "19"


def test_a_connection_is_kept_for_the_next_request() -> None:
    """Answers in good form leave the connection open."""
    with Peer(reply(200, b"again")) as peer:
        connection = http.client.HTTPConnection(peer.host, peer.port, timeout=20)
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"again"
        connection.close()
    assert (peer.connections, len(peer.requests)) == (1, 3)


def test_behaviours_come_in_turn_and_the_last_one_stays() -> None:
    """A script of answers is played once."""
    with Peer(in_turn(reply(500), reply(503), reply(200))) as peer:
        assert [asked(peer)[0] for _ in range(4)] == [500, 503, 200, 200]


def test_a_reset_is_seen_as_one() -> None:
    """The client meets ECONNRESET, not the end of the stream."""
    with Peer(hostile.reset_after()) as peer, pytest.raises(ConnectionResetError):
        received(peer, 1)


def test_a_reset_can_come_before_the_first_byte() -> None:
    """A greeting may break off before anything was asked."""
    with Peer(reply(200), greeting=hostile.reset_at_once) as peer:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            received(peer, 1)
        assert peer.requests == []


BEGINNINGS = [
    pytest.param(hostile.raw(b"220 mail\r\n"), b"220 mail\r\n", id="garbage as it is"),
    pytest.param(hostile.drip(b"ab", every=0.001), b"ababa", id="bytes that drip"),
    pytest.param(hostile.endless(b"xyz", after=b"-"), b"-xyzxyzx", id="a body without end"),
    pytest.param(
        hostile.chunked(b"zz\r\n"), b"HTTP/1.1 200 Told\r\nTransfer-Encoding: chunked\r\n\r\nzz", id="chunks"
    ),
    pytest.param(hostile.closes_after(reply(204)), b"HTTP/1.1 204 Told\r\n", id="an answer, then the end"),
]


@pytest.mark.parametrize(("behaviour", "expected"), BEGINNINGS)
def test_bytes_come_as_they_were_given(behaviour: Behaviour, expected: bytes) -> None:
    """Whatever a behaviour sends arrives unchanged."""
    with Peer(behaviour) as peer:
        assert expected == received(peer, len(expected))


def test_a_silent_peer_says_nothing_and_still_ends() -> None:
    """Silence lasts until the peer itself is left."""
    with Peer(hostile.silence) as peer:
        sock = socket.create_connection((peer.host, peer.port), timeout=20)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        peer.wait_for("GET /")
    with sock:
        assert sock.recv(1) == b""


def test_an_answer_can_be_held() -> None:
    """A held answer comes once it is released."""
    release = threading.Event()
    with Peer(hostile.held(release, reply(200, b"late"))) as peer:
        client = threading.Thread(target=lambda: answers.append(asked(peer)))
        answers: list[tuple[int, bytes]] = []
        client.start()
        peer.wait_for("GET /")
        assert answers == []
        release.set()
        client.join()
    assert answers == [(200, b"late")]


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    """The member is a valid one, and a thousand times smaller than what it holds."""
    packed = hostile.gzip_of_zeros(8 * MEBIBYTE)
    assert len(packed) < 16 * 1024
    assert bytes(8 * MEBIBYTE) == gzip.decompress(packed)


def test_a_closed_port_refuses_and_opens_again() -> None:
    """A restart keeps the port and drops what was connected."""
    with Peer(reply(200)) as peer:
        sock = socket.create_connection((peer.host, peer.port), timeout=20)
        peer.wait_until(lambda _: peer.connections == 1)
        peer.close_port()
        with sock:
            assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            asked(peer)
        peer.open_port()
        assert asked(peer)[0] == 200


def test_waiting_in_vain_says_what_was_asked() -> None:
    """A test that waits for the wrong thing does not hang."""
    with Peer(reply(200)) as peer:
        asked(peer)
        with pytest.raises(TimeoutError, match=r"GET /"):
            peer.wait_for("POST /admin/mode", within=0.01)


def test_a_trusted_server_is_trusted(authorities: Authorities) -> None:
    """The private authority vouches for the peer."""
    trust = ssl.create_default_context(cafile=str(authorities.ca_file))
    with Peer(reply(200), tls=authorities.server()) as peer:
        connection = http.client.HTTPSConnection(peer.host, peer.port, timeout=20, context=trust)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


BAD_SERVERS = [
    pytest.param("server_of_unknown", "unable to get local issuer|self.signed", id="of an unknown authority"),
    pytest.param("server_that_expired", "expired", id="expired"),
]


@pytest.mark.parametrize(("server", "fault"), BAD_SERVERS)
def test_a_bad_certificate_is_bad_for_its_own_reason(
    authorities: Authorities, server: str, fault: str
) -> None:
    """Each certificate fails as its name says, and the peer counts the failed handshake."""
    trust = ssl.create_default_context(cafile=str(authorities.ca_file))
    with Peer(reply(200), tls=getattr(authorities, server)()) as peer:
        connection = http.client.HTTPSConnection(peer.host, peer.port, timeout=20, context=trust)
        with pytest.raises(ssl.SSLCertVerificationError, match=fault):
            connection.request("GET", "/")
        connection.close()
        peer.wait_until(lambda _: peer.connections == 1)
    assert (peer.failed_handshakes, peer.requests) == (1, [])


def test_the_oms_does_what_it_is_told() -> None:
    """Unless told otherwise the OMS is a good one; when stuck it never reaches standby."""
    oms = Oms()
    with Peer(oms.answers()) as peer:
        order = b'{"mode": "standby", "reason": "test"}'
        assert asked(peer, "POST", "/admin/mode", order)[0] == 200
        assert oms.document() == {"mode": "standby", "reason": "test"}
        oms.stuck, oms.mode = True, "active"
        assert asked(peer, "POST", "/admin/mode", order)[0] == 200
    assert oms.document() == {"mode": "active", "reason": "test"}
    assert oms.modes_told == ["standby", "standby"]
    assert len(peer.asked(oms_answers.SWITCH)) == 2


def test_names_are_answered_by_the_table(tmp_path: Path) -> None:
    """A process sees the table's addresses, its failures, and the real resolver for all else."""
    source = """
import socket
print(sorted({found[4][0] for found in socket.getaddrinfo("oms.test", 80)}))
try:
    socket.getaddrinfo("nobody.test", 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
print(bool(socket.getaddrinfo("localhost", 80)))
"""
    table = {"oms.test": ["127.0.0.1", "127.0.0.2"], "nobody.test": UNKNOWN, "slow.test": HANGS}
    with Process("python", answering(tmp_path, table), "-c", source) as process:
        assert process.exit_code(20) == 0
        assert process.told().split("\n")[:3] == ["['127.0.0.1', '127.0.0.2']", "True", "True"]
    assert looked_up(tmp_path) == ["oms.test", "nobody.test"]


def test_a_process_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the tests is not one of the commands."""
    monkeypatch.setenv("OMS_URL", "http://inherited.test")
    source = "import os; print(sorted(os.environ))"
    with Process("python", {"GIVEN": "1"}, "-c", source) as process:
        assert process.exit_code(20) == 0
        names = process.told().splitlines()[0]
    assert "GIVEN" in names
    assert "OMS_URL" not in names


def test_peak_memory_is_the_childs_own() -> None:
    """What a process held at its height is measured, and nothing of ours is."""
    ours = bytearray(os.urandom(MEBIBYTE)) * 160
    source = "import time; held = bytearray(b'x' * {}); del held; time.sleep(0.5)"
    small, large = (Process("python", {}, "-c", source.format(size)) for size in (1, MEMORY_BYTES))
    with small, large:
        assert [small.exit_code(20), large.exit_code(20)] == [0, 0]
        assert small.peak_bytes < MEMORY_BYTES < large.peak_bytes
    assert len(ours) > MEMORY_BYTES


def test_a_process_that_does_not_end_fails_its_test() -> None:
    """Nothing hangs the suite."""
    with (
        Process("python", {}, "-c", "import time; time.sleep(60)") as process,
        pytest.raises(AssertionError, match="python still ran"),
    ):
        process.exit_code(0.05)
