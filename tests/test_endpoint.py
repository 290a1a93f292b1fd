"""A peer outside the cluster: one URL to which JSON is posted, through a real proxy where there is one."""

import contextlib
import socket
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hooks import redaction
from hooks.attempt import Answer, Failure, NoAnswer
from hooks.paging.endpoint import Endpoint
from tests.conftest import Serving
from tests.hostile import peer as far
from tests.hostile.certificates import Authorities

SOON = 30.0
ACCEPTED = far.reply(202, b'{"status":"success"}')

At = Callable[[str], Endpoint]


@pytest.fixture
async def at() -> AsyncIterator[At]:
    """Make endpoints; they are closed when the test ends."""
    endpoints: list[Endpoint] = []

    def make(url: str) -> Endpoint:
        endpoints.append(Endpoint(url, seconds=SOON))
        return endpoints[-1]

    yield make
    for endpoint in endpoints:
        await endpoint.aclose()


async def posted(endpoint: Endpoint, *, within: float = SOON, below: str = "") -> Any:
    return await endpoint.post('{"text":"ä"}', within, decisive={202}, below=below)


# Directly


@pytest.mark.parametrize(
    ("path", "below", "asked"),
    [
        ("", "", "/"),
        ("/", "", "/"),
        ("/v2/enqueue", "", "/v2/enqueue"),
        ("/v2/enqueue/", "", "/v2/enqueue/"),
        ("/hook?token=a%20b&c", "", "/hook?token=a%20b&c"),
        ("?token=a", "", "/?token=a"),
        ("", "/api/v2/alerts", "/api/v2/alerts"),
        ("/", "/api/v2/alerts", "/api/v2/alerts"),
        ("/prefix/", "/api/v2/alerts", "/prefix/api/v2/alerts"),
    ],
)
async def test_a_document_is_posted_to_the_path_of_the_url_or_below_it(
    path: str, below: str, asked: str, serving: Serving, at: At
) -> None:
    """As JSON in UTF-8; the answer's body is not read where its status decides."""
    server = serving(ACCEPTED)
    assert await posted(at(f"{server.url}{path}"), below=below) == Answer(202)
    (request,) = server.requests
    assert ("POST", asked, {"text": "ä"}) == (request.method, request.address, request.document)
    assert (server.address, "application/json", None) == (
        request.header("Host"),
        request.header("Content-Type"),
        request.header("Authorization"),
    )


async def test_user_info_becomes_a_header_and_a_secret(serving: Serving, at: At) -> None:
    """It is in no address and in no label."""
    server = serving(ACCEPTED)
    endpoint = at(f"http://ada:p%40ss@{server.address}/hook?b=c")
    await posted(endpoint)
    (request,) = server.requests
    assert (server.address, "/hook?b=c", server.address) == (
        endpoint.label,
        request.address,
        request.header("Host"),
    )
    assert request.header("Authorization") == f"Basic {b64encode(b'ada:p@ss').decode()}"
    assert redaction.redact("p@ss") == redaction.HIDDEN


async def test_what_does_not_decide_is_read(serving: Serving, at: At) -> None:
    """The reason of a refusal is in its body, up to 64 KiB."""
    server = serving(far.in_turn(far.reply(400, b"why"), far.reply(200, b"x" * 70_000)))
    endpoint = at(server.url)
    assert await posted(endpoint) == Answer(400, b"why")
    assert await posted(endpoint) == Answer(200, b"x" * 65_537, fault="longer than 65536 bytes")


async def test_no_attempt_is_longer_than_it_may_be(serving: Serving, at: At) -> None:
    """Whatever is left."""
    endpoint = at(serving(far.silence).url)
    assert await posted(endpoint, within=0.2) == NoAnswer(Failure.TIMED_OUT, "not answered within 0.2 s")


async def test_the_system_is_trusted(
    serving: Serving, at: At, authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private authority by SSL_CERT_FILE, and without it nobody unknown."""
    server = serving(ACCEPTED, tls=authorities.server())
    outcome = await posted(at(server.url))
    assert isinstance(outcome, NoAnswer)
    assert Failure.UNTRUSTED is outcome.failure
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities.ca_file))
    assert await posted(at(server.url)) == Answer(202)


# Through a proxy


def tunnelling(table: dict[str, far.Peer]) -> far.Behaviour:
    """Be a proxy that connects whoever asks with the peer that the name stands for."""

    def behave(connection: far.Connection, request: far.Request) -> None:
        assert request.method == "CONNECT"
        beyond = table[request.address]
        with socket.create_connection((beyond.host, beyond.port)) as upstream:
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(upstream, connection.sock))
            back.start()
            _pass_on(connection.sock, upstream)
            back.join()
        connection.hang_up()

    return behave


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def pagerduty(serving: Serving, authorities: Authorities, monkeypatch: pytest.MonkeyPatch) -> far.Peer:
    """Serve as pagerduty.test, which no resolver knows, with a certificate that the system trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities.ca_file))
    return serving(ACCEPTED, tls=authorities.server("pagerduty.test"))


URL = "https://pagerduty.test/v2/enqueue"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_with_tls_the_proxy_only_connects(
    variable: str, pagerduty: far.Peer, serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns the name, and nothing of what is said."""
    proxy = serving(tunnelling({"pagerduty.test:443": pagerduty}))
    monkeypatch.setenv(variable, proxy.url)
    assert await posted(at(URL)) == Answer(202)
    (connect,), (request,) = proxy.requests, pagerduty.requests
    assert ("CONNECT", "pagerduty.test:443", b"", None) == (
        connect.method,
        connect.address,
        connect.body,
        connect.header("Proxy-Authorization"),
    )
    assert ("POST /v2/enqueue", "pagerduty.test", {"text": "ä"}) == (
        request.route,
        request.header("Host"),
        request.document,
    )


async def test_the_certificate_behind_a_proxy_must_verify(
    serving: Serving, at: At, authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is between cannot pretend to be PagerDuty."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities.ca_file))
    pretender = serving(ACCEPTED, tls=authorities.server("other.test"))
    monkeypatch.setenv("HTTPS_PROXY", serving(tunnelling({"pagerduty.test:443": pretender})).url)
    outcome = await posted(at(URL))
    assert isinstance(outcome, NoAnswer)
    assert (Failure.UNTRUSTED, []) == (outcome.failure, pretender.requests)


async def test_a_proxy_is_shown_the_credentials_of_its_variable(
    pagerduty: far.Peer, serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And PagerDuty is not."""
    proxy = serving(tunnelling({"pagerduty.test:443": pagerduty}))
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:p%40ss@{proxy.address}")
    assert await posted(at(URL)) == Answer(202)
    credentials = f"Basic {b64encode(b'ada:p@ss').decode()}"
    assert [credentials, None] == [
        peer.requests[0].header("Proxy-Authorization") for peer in (proxy, pagerduty)
    ]
    assert redaction.redact("p@ss") == redaction.HIDDEN


async def test_a_proxy_may_itself_speak_tls(
    pagerduty: far.Peer, serving: Serving, at: At, authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate is trusted as the system trusts."""
    proxy = serving(ACCEPTED, tls=authorities.server())
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert await posted(at("http://pagerduty.test/hook")) == Answer(202)
    assert [request.address for request in proxy.requests] == ["http://pagerduty.test/hook"]


async def test_without_tls_the_proxy_is_asked_for_the_whole_url(
    serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks in our place."""
    proxy = serving(ACCEPTED)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert await posted(at("http://hooks.test:8080/hook?a=b")) == Answer(202)
    (request,) = proxy.requests
    assert ("POST", "http://hooks.test:8080/hook?a=b") == (request.method, request.address)
    assert ("hooks.test:8080", {"text": "ä"}) == (request.header("Host"), request.document)


async def test_no_proxy_is_spoken_to_for_those_that_are_excepted(
    serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fallback in the cluster is reached directly."""
    proxy, server = serving(ACCEPTED), serving(ACCEPTED)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert await posted(at(server.url)) == Answer(202)
    assert (0, 1) == (proxy.connections, server.connections)


async def test_a_proxy_that_refuses_is_no_answer_of_pagerduty(
    pagerduty: far.Peer, serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and nothing has arrived."""
    monkeypatch.setenv("HTTPS_PROXY", serving(far.reply(407, b"who are you?")).url)
    assert await posted(at(URL)) == NoAnswer(Failure.UNREACHABLE, "407 Told", may_have_arrived=False)
    assert [] == pagerduty.requests


async def test_a_proxy_that_is_not_there_is_unreachable(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has arrived."""
    gone = far.Peer(ACCEPTED)
    monkeypatch.setenv("HTTPS_PROXY", gone.url)
    outcome = await posted(at(URL))
    gone.__exit__(None, None, None)
    assert NoAnswer(Failure.UNREACHABLE, "connection refused", may_have_arrived=False) == outcome


async def test_a_proxy_that_cannot_be_used_is_told_and_gone_round(
    serving: Serving, at: At, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page is never lost to a variable."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://ada:s3cr3t-Zx81@proxy:1080")
    monkeypatch.setenv("NO_PROXY", "http://oms")
    server = serving(ACCEPTED)
    assert await posted(at(server.url)) == Answer(202)
    told = capsys.readouterr().out
    assert [2, 1, 1, 0] == [
        told.count(word) for word in ("proxy_variable_not_usable", "HTTP_PROXY", "NO_PROXY", "s3cr3t")
    ]
