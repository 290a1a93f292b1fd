"""The OMS is never spoken to through a proxy; whoever is paged is, and no proxy variable costs a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.environment import given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE, trigger
from tests.hostile.peer import Connection, Peer, Request, in_turn, reply, routes
from tests.hostile.process import FALLBACK_PATH, FALLBACK_QUERY, USER_INFO, run

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.hostile.certificates import Authorities

SPELLINGS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")

PAGERDUTY = "http://pagerduty.test"
THROUGH_PROXY = {
    f"POST {PAGERDUTY}/v2/enqueue": DELIVERED,
    f"POST http://fallback.test{FALLBACK_PATH}": reply(200),
}


def proxied(proxy: Peer | str, *spellings: str) -> dict[str, str]:
    """Return variables that name a proxy for everything."""
    return dict.fromkeys(spellings or SPELLINGS, proxy if isinstance(proxy, str) else proxy.url)


@pytest.mark.parametrize(
    ("command", "mode", "code"),
    [("presync-standby", "active", 0), ("postsync-verify", "standby", 0), ("return-to-active", "standby", 0)],
)
def test_the_oms_is_spoken_to_directly(command: str, mode: str, code: int) -> None:
    """No proxy ever sees the token."""
    with Peer(Oms(mode=mode).answers()) as oms, Peer(reply(502)) as proxy:
        ending = run(command, given(oms) | proxied(proxy), within=5)
        assert (ending.code, proxy.connections) == (code, 0)


def test_pages_go_through_the_proxy() -> None:
    """PagerDuty and the fallback are asked of the proxy, the OMS beside it directly."""
    with Peer(Oms().answers()) as oms, Peer(routes(THROUGH_PROXY)) as proxy:
        environment = given(oms, pagerduty=PAGERDUTY) | proxied(proxy)
        assert run("syncfail-alert", environment, within=10).code == 0
        (event,) = proxy.requests
    assert event.route == f"POST {PAGERDUTY}/v2/enqueue"
    assert event.header("host") == "pagerduty.test"
    trigger(event)


@pytest.mark.parametrize("spelling", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_each_spelling_of_the_variable_counts(spelling: str) -> None:
    """As it does for every other program."""
    with Peer(routes(THROUGH_PROXY)) as proxy:
        environment = given(pagerduty=PAGERDUTY) | proxied(proxy, spelling)
        assert (run("syncfail-alert", environment, within=10).code, len(proxy.requests)) == (0, 1)


def test_the_fallback_goes_through_the_proxy() -> None:
    """Where PagerDuty refuses."""
    refuses_once = THROUGH_PROXY | {f"POST {PAGERDUTY}/v2/enqueue": in_turn(reply(403), DELIVERED)}
    with Peer(routes(refuses_once)) as proxy:
        environment = given(pagerduty=PAGERDUTY) | proxied(proxy)
        environment["ALERT_FALLBACK_URL"] = f"http://fallback.test{FALLBACK_PATH}?{FALLBACK_QUERY}"
        assert run("syncfail-alert", environment, within=10).code == 0
        assert len(proxy.asked(f"POST http://fallback.test{FALLBACK_PATH}")) == 1


def test_an_incident_is_resolved_through_the_proxy() -> None:
    """postsync-verify pages as well, in its way."""
    with Peer(Oms(mode="standby").answers()) as oms, Peer(routes(THROUGH_PROXY)) as proxy:
        ending = run("postsync-verify", given(oms, pagerduty=PAGERDUTY) | proxied(proxy), within=10)
        assert (ending.code, len(proxy.requests)) == (0, 1)
        assert proxy.requests[0].document["event_action"] == "resolve"


def tunnel(context: ssl.SSLContext) -> Peer:
    """Return a proxy that is, behind its tunnel, PagerDuty itself."""

    def behave(connection: Connection, request: Request) -> None:
        if request.method != "CONNECT":
            DELIVERED(connection, request)
            return
        connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        connection.sock = context.wrap_socket(connection.sock, server_side=True)

    return Peer(behave)


def test_a_tunnel_shows_the_proxy_no_secret(authorities: Authorities) -> None:
    """Over TLS the proxy sees where to, and nothing of what."""
    with tunnel(authorities.server("pagerduty.test")) as proxy:
        environment = given(pagerduty="https://pagerduty.test") | proxied(proxy)
        environment["SSL_CERT_FILE"] = str(authorities.ca_file)
        assert run("syncfail-alert", environment, within=10).code == 0
        connect, event = proxy.requests
    assert connect.route == "CONNECT pagerduty.test:443"
    assert event.route == EVENT
    trigger(event)


def test_a_proxys_own_password_is_a_secret() -> None:
    """It is sent to the proxy and told to nobody (each ending is searched for it)."""
    with Peer(routes(THROUGH_PROXY)) as proxy:
        url = proxy.url.replace("://", f"://{USER_INFO}@")
        environment = given(pagerduty=PAGERDUTY, LOG_LEVEL="debug") | proxied(url)
        assert run("syncfail-alert", environment, within=10).code == 0
        assert str(proxy.requests[0].header("proxy-authorization")).startswith("Basic ")


@pytest.mark.parametrize("exempt", ["NO_PROXY", "no_proxy"])
def test_who_is_exempt_is_spoken_to_directly(exempt: str) -> None:
    """NO_PROXY holds for pages."""
    with Peer(DELIVERED) as pagerduty, Peer(reply(502)) as proxy:
        environment = given(pagerduty=pagerduty) | proxied(proxy) | {exempt: "localhost,127.0.0.1"}
        ending = run("syncfail-alert", environment, within=10)
        assert (ending.code, len(pagerduty.asked(EVENT)), proxy.connections) == (0, 1, 0)


UNUSABLE = [
    pytest.param({"ALL_PROXY": "socks5://127.0.0.1:1080"}, "ALL_PROXY", id="socks"),
    pytest.param({"all_proxy": "socks5h://127.0.0.1:1080"}, "ALL_PROXY", id="socks, in small letters"),
    pytest.param({"HTTP_PROXY": "ftp://127.0.0.1:21"}, "HTTP_PROXY", id="an unknown scheme"),
    pytest.param({"HTTP_PROXY": "http://[::1"}, "HTTP_PROXY", id="half an address"),
    pytest.param({"HTTP_PROXY": "http://proxy.test:99999"}, "HTTP_PROXY", id="a port beyond all ports"),
    pytest.param({"HTTP_PROXY": "http://"}, "HTTP_PROXY", id="nobody"),
    pytest.param({"HTTP_PROXY": f"socks5://{USER_INFO}@127.0.0.1:1"}, "HTTP_PROXY", id="with a password"),
    pytest.param({"NO_PROXY": "[::1"}, "NO_PROXY", id="half an exempt address"),
    pytest.param({"NO_PROXY": "fe80::1%eth0,fd00::/8,::1"}, None, id="exempt addresses of six"),
    pytest.param(
        {"NO_PROXY": "*.test:*,\x01,http://["},
        "NO_PROXY",
        id="exempt nonsense",
    ),
]


@pytest.mark.parametrize(("variables", "named"), UNUSABLE)
def test_a_proxy_that_cannot_be_used_costs_no_page(variables: dict[str, str], named: str | None) -> None:
    """It is named in the log, and both ways of a page go without it."""
    with Peer(routes({EVENT: in_turn(reply(403), DELIVERED), MESSAGE: reply(200)})) as peer:
        environment = given(pagerduty=peer, fallback=peer) | variables
        ending = run("syncfail-alert", environment, within=10)
        assert (ending.code, len(peer.asked(EVENT)), len(peer.asked(MESSAGE))) == (0, 2, 1)
    assert named is None or named in ending.told.upper()


@pytest.mark.parametrize(("variables", "named"), UNUSABLE[:4])
def test_a_proxy_that_cannot_be_used_costs_no_verification(
    variables: dict[str, str], named: str | None
) -> None:
    """A good deployment is good, and its incident resolved."""
    with Peer(routes({EVENT: DELIVERED}, otherwise=Oms(mode="standby").answers())) as peer:
        ending = run("postsync-verify", given(peer, pagerduty=peer) | variables, within=10)
        assert (ending.code, len(peer.asked(EVENT))) == (0, 1)


def test_the_kubernetes_api_is_spoken_to_directly(authorities: Authorities, tmp_path: Path) -> None:
    """The service account's token is shown to no proxy."""
    (tmp_path / "token").write_text("service-account-token")
    (tmp_path / "ca.crt").write_bytes(authorities.ca_file.read_bytes())
    with (
        Peer(reply(404), tls=authorities.server()) as api,
        Peer(routes(THROUGH_PROXY)) as proxy,
    ):
        environment = given(
            pagerduty=PAGERDUTY,
            SERVICE_ACCOUNT_DIR=str(tmp_path),
            KUBERNETES_SERVICE_HOST=api.host,
            KUBERNETES_SERVICE_PORT=str(api.port),
        )
        ending = run("syncfail-alert", environment | proxied(proxy), within=10)
        assert (ending.code, len(proxy.requests)) == (0, 1)
        assert {request.header("authorization") for request in api.requests} == {
            "Bearer service-account-token"
        }
    assert "service-account-token" not in ending.told
