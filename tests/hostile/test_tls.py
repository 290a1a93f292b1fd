"""Certificates decide before a word is said: no request, and no token, goes to whom we do not trust."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile import peer as hostile
from tests.hostile.environment import AT_ONCE_SECONDS, BRIEF, PATIENT, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE
from tests.hostile.peer import Behaviour, Greeting, Peer, in_turn, reply, silence
from tests.hostile.process import run
from tests.hostile.resolver import answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.hostile.certificates import Authorities

HELD = partial(Oms, mode="standby", reason="argocd-sync")


def trusting(authorities: Authorities, times: Mapping[str, str] = PATIENT, **more: str) -> dict[str, str]:
    """Return settings that trust the private authority."""
    return {**times, "OMS_CA_FILE": str(authorities.ca_file), **more}


def test_a_private_authority_is_trusted(authorities: Authorities) -> None:
    """With OMS_CA_FILE everything goes over TLS as it would without."""
    oms = Oms()
    with Peer(oms.answers(), tls=authorities.server()) as peer:
        ending = run("presync-standby", given(peer, times=trusting(authorities)), within=5)
    assert (ending.code, oms.mode) == (0, "standby")


UNTRUSTED = [
    pytest.param(lambda authorities: authorities.server_of_unknown(), id="of an unknown authority"),
    pytest.param(lambda authorities: authorities.server("other.test", "127.0.0.2"), id="of another name"),
    pytest.param(lambda authorities: authorities.server_that_expired(), id="that has expired"),
]


@pytest.mark.parametrize("server", UNTRUSTED)
@pytest.mark.parametrize("command", ["presync-standby", "postsync-verify", "return-to-active"])
def test_a_certificate_that_does_not_verify_is_refused_at_once(
    authorities: Authorities, command: str, server: Callable[[Authorities], ssl.SSLContext]
) -> None:
    """It will not verify by waiting; nothing was asked of it, and the reason says what is wrong."""
    with Peer(HELD().answers(), tls=server(authorities)) as peer:
        ending = run(command, given(peer, times=trusting(authorities)), within=5)
        assert (ending.code, peer.requests) == (1, [])
    assert "certificate" in ending.reason
    assert ending.seconds < AT_ONCE_SECONDS


def test_without_its_authority_nothing_private_is_trusted(authorities: Authorities) -> None:
    """What the system does not know is refused where OMS_CA_FILE is not set."""
    with Peer(Oms().answers(), tls=authorities.server()) as peer:
        ending = run("presync-standby", given(peer), within=5)
        assert (ending.code, peer.requests) == (1, [])


def test_a_client_certificate_is_shown(authorities: Authorities, tmp_path: Path) -> None:
    """A server that asks back is answered, and no line of the key is told."""
    certificate, key = authorities.client_files(tmp_path)
    settings = trusting(
        authorities, OMS_CLIENT_CERT_FILE=str(certificate), OMS_CLIENT_KEY_FILE=str(key), LOG_LEVEL="debug"
    )
    oms = Oms()
    with Peer(oms.answers(), tls=authorities.server_that_asks_back()) as peer:
        ending = run("presync-standby", given(peer, times=settings), within=5)
    assert (ending.code, oms.mode) == (0, "standby")
    assert [line for line in key.read_text().splitlines() if line in ending.told] == []


def test_without_a_client_certificate_nobody_is_let_in(authorities: Authorities) -> None:
    """The server breaks off; that may be a server that is starting, so the time is used."""
    with Peer(Oms().answers(), tls=authorities.server_that_asks_back()) as peer:
        ending = run("presync-standby", given(peer, times=trusting(authorities, BRIEF)), within=3)
        assert (ending.code, peer.requests) == (3, [])


def test_an_encrypted_key_is_a_fault(authorities: Authorities, tmp_path: Path) -> None:
    """Nobody is there to be asked for its password."""
    certificate, key = authorities.client_files(tmp_path, password=b"a password")
    files = {"OMS_CLIENT_CERT_FILE": str(certificate), "OMS_CLIENT_KEY_FILE": str(key)}
    ending = run("presync-standby", given("https://127.0.0.1:1", times=files), within=5)
    assert ending.code == 2
    assert "OMS_CLIENT_KEY_FILE" in ending.told


NOT_TLS: dict[str, tuple[Behaviour, Greeting | None]] = {
    "never shakes hands": (silence, hostile.never_shakes_hands),
    "resets": (silence, hostile.reset_at_once),
    "speaks HTTP": (
        reply(200),
        hostile.speaks_first(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    ),
    "speaks first": (silence, hostile.speaks_first(b"220 mail.test ESMTP\r\n")),
    "sends an alert": (silence, hostile.speaks_first(b"\x15\x03\x03\x00\x02\x02\x28")),
    "sends a record without end": (silence, hostile.speaks_first(b"\x16\x03\x03\xff\xff" + bytes(100_000))),
}


@pytest.mark.parametrize(
    ("behaviour", "greeting"), [pytest.param(*told, id=name) for name, told in NOT_TLS.items()]
)
def test_what_is_no_tls_takes_the_time_that_there_is(
    authorities: Authorities, behaviour: Behaviour, greeting: Greeting | None
) -> None:
    """A handshake is part of the attempt, and bounded as it is."""
    with Peer(behaviour, greeting=greeting) as peer:
        settings = given(f"https://{peer.address}", times=trusting(authorities, BRIEF))
        ending = run("presync-standby", settings, within=3)
        assert (ending.code, peer.requests) == (3, [])
        assert peer.connections > 1


def test_plain_http_to_a_tls_port_is_not_reached(authorities: Authorities) -> None:
    """The wrong scheme is no crash."""
    with Peer(Oms().answers(), tls=authorities.server()) as peer:
        ending = run("presync-standby", given(f"http://{peer.address}", times=BRIEF), within=3)
    assert ending.code == 3


@pytest.mark.parametrize(
    ("name", "code"),
    [pytest.param("oms.test", 0, id="its name"), pytest.param("127.0.0.1", 1, id="its address")],
)
def test_every_pod_is_known_by_the_name_that_they_share(
    authorities: Authorities, tmp_path: Path, name: str, code: int
) -> None:
    """With OMS_EVERY_POD the certificate must bear the name, whatever address is spoken to."""
    with Peer(Oms().answers(), tls=authorities.server(name)) as peer:
        settings = given(f"https://oms.test:{peer.port}", times=trusting(authorities, OMS_EVERY_POD="true"))
        ending = run("presync-standby", settings | answering(tmp_path, {"oms.test": ["127.0.0.1"]}), within=5)
        assert ending.code == code
        assert {request.header("host") for request in peer.requests} == (
            {f"oms.test:{peer.port}"} if not code else set()
        )


def test_a_page_over_a_bad_certificate_is_tried_again_and_told_elsewhere(authorities: Authorities) -> None:
    """PagerDuty is not spoken to, the fallback is told at once, and that is a delivery."""
    with (
        Peer(DELIVERED, tls=authorities.server_of_unknown()) as pagerduty,
        Peer(reply(200)) as fallback,
    ):
        times = PATIENT | {"ALERT_TIMEOUT_SECONDS": "3", "ALERT_FALLBACK_AFTER_SECONDS": "2.9"}
        ending = run("syncfail-alert", given(pagerduty=pagerduty, fallback=fallback, times=times), within=5)
        assert (ending.code, pagerduty.requests, len(fallback.asked(MESSAGE))) == (0, [], 1)
        assert pagerduty.connections > 1
    delivered = [line["elapsed_seconds"] for line in ending.events("page_delivered")]
    assert min(delivered) < 2.5


def test_a_page_over_a_bad_certificate_alone_is_refused(authorities: Authorities) -> None:
    """Without a fallback nobody is told, and the code says that it was a refusal."""
    with Peer(DELIVERED, tls=authorities.server_of_unknown()) as pagerduty:
        ending = run("syncfail-alert", given(pagerduty=pagerduty, times=BRIEF), within=5)
        assert (ending.code, pagerduty.requests) == (1, [])
        assert pagerduty.connections > 1
    assert "certificate" in ending.reason


def test_a_bad_certificate_of_the_oms_costs_no_page(authorities: Authorities) -> None:
    """The page says that the mode is not known."""
    with Peer(Oms().answers(), tls=authorities.server_that_expired()) as oms, Peer(DELIVERED) as pagerduty:
        ending = run(
            "syncfail-alert", given(oms, pagerduty=pagerduty, times=trusting(authorities)), within=10
        )
        assert (ending.code, oms.requests, len(pagerduty.asked(EVENT))) == (0, [], 1)


def test_a_server_that_changes_its_certificate_is_not_believed(authorities: Authorities) -> None:
    """After the switch somebody else answers at its address: a refusal, and no confirmation of anything."""
    oms = Oms(drains_for=10**9)
    mode = in_turn(oms.read_mode, hostile.closes_after(oms.read_mode))
    good, bad = authorities.server(), authorities.server_of_unknown()
    with Peer(hostile.closes_after(oms.answers(mode=mode)), tls=good) as peer:

        def let_in_another(connection: hostile.Connection, request: hostile.Request) -> None:
            peer.tls = bad
            oms.switch(connection, request)

        peer.behaviour = hostile.closes_after(oms.answers(mode=mode, switch=let_in_another))
        settings = trusting(authorities, STANDBY_UNDO_SECONDS="1")
        ending = run("presync-standby", given(peer, times=settings), within=5)
    assert (ending.code, oms.modes_told) == (4, ["standby"])
    assert "certificate" in ending.reason
