"""One target: what it is sent and by whose name, what is remembered of its answers, what is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hooks import redaction, settings
from hooks.attempt import Failure
from hooks.oms.addresses import Address
from hooks.oms.documents import Documents
from hooks.oms.target import Target, trust_of
from tests.conftest import Loading, Serving
from tests.hostile import oms as hostile
from tests.hostile.certificates import Authorities
from tests.hostile.peer import ok_head, raw
from tests.network import HEALTHY, Behaviour, Network, Oms, answering, hung_up, in_turn, silent

OWNER = "argocd-sync/run-1"
TOKEN = "token-Zx81kQpL0nVt"
TURNED = pytest.mark.looptime(noop_cycles=3)


def target_of(given: settings.Oms, ip: str | None = None) -> Target:
    """Return the target of the first address, by way of an IP address where one is given."""
    return Target(Address(given.oms_url[0], ip), given, Documents(given), trust_of(given))


@pytest.fixture
def oms(monkeypatch: pytest.MonkeyPatch) -> Oms:
    """Be there in memory, under the name oms."""
    there = Oms("standby", OWNER)
    Network(monkeypatch).add("oms", there)
    return there


@pytest.fixture
def target(loading: Loading) -> Target:
    """Speak to the name oms."""
    return target_of(loading(settings.Oms, OMS_URL="http://oms"))


class TestWhatIsSent:
    """Requests as they arrive."""

    @pytest.mark.parametrize(
        ("url", "variables", "ip", "expected"),
        [
            pytest.param("http://oms", {}, None, {"host": "oms"}, id="a name"),
            pytest.param(
                "http://oms:8080", {}, None, {"host": "oms:8080"}, id="a port that is not the scheme's own"
            ),
            pytest.param("http://oms:80", {}, None, {"host": "oms"}, id="one that is"),
            pytest.param("http://oms:8080", {}, "10.0.0.1", {"host": "oms:8080"}, id="a pod of a name"),
            pytest.param(
                "http://oms",
                {"OMS_ADMIN_TOKEN": TOKEN},
                None,
                {"host": "oms", "authorization": f"Bearer {TOKEN}"},
                id="a token",
            ),
            pytest.param(
                "http://user:pass%40word@oms",
                {},
                None,
                {"host": "oms", "authorization": "Basic dXNlcjpwYXNzQHdvcmQ="},
                id="a name and a password",
            ),
            pytest.param(
                "http://user:password@oms",
                {"OMS_ADMIN_TOKEN": TOKEN},
                None,
                {"host": "oms", "authorization": f"Bearer {TOKEN}"},
                id="both, of which the token counts",
            ),
        ],
    )
    @TURNED
    async def test_headers(
        self,
        oms: Oms,
        loading: Loading,
        url: str,
        variables: dict[str, str],
        ip: str | None,
        expected: dict[str, str],
    ) -> None:
        """The Host is that of the name, the authorization what was given; all three requests bear them."""
        target = target_of(loading(settings.Oms, OMS_URL=url, **variables), ip)
        await target.read_mode(5)
        await target.read_health(5)
        await target.switch('{"mode":"active","reason":null}', 5)
        sent = [
            {name: request.headers[name] for name in ("host", "authorization") if name in request.headers}
            for request in oms.requests
        ]
        assert [expected] * 3 == sent

    @TURNED
    async def test_paths_and_method(self, oms: Oms, loading: Loading) -> None:
        """Each below the base path, query and all."""
        target = target_of(
            loading(
                settings.Oms,
                OMS_URL="http://oms/eu/",
                OMS_MODE_PATH="/mode?verbose=1",
                OMS_HEALTH_PATH="/health",
                OMS_SWITCH_PATH="/switch",
                OMS_SWITCH_METHOD="put",
            )
        )
        oms.health_answer = answering(204)
        await target.read_mode(5)
        await target.read_health(5)
        await target.switch('{"mode":"standby","reason":"Überführung"}', 5)
        sent = [(request.method, request.path, request.body.decode()) for request in oms.requests]
        assert sent == [
            ("GET", "/eu/mode?verbose=1", ""),
            ("GET", "/eu/health", ""),
            ("PUT", "/eu/switch", '{"mode":"standby","reason":"Überführung"}'),
        ]
        assert oms.requests[-1].headers["content-type"] == "application/json"

    async def test_a_switch_is_decided_by_its_status(self, loading: Loading, serving: Serving) -> None:
        """The body of a 2xx is not waited for: this one never ends."""
        peer = serving(raw(ok_head("Content-Length: 1000000", status=202) + b"x", keep=True))
        target = target_of(loading(settings.Oms, OMS_URL=peer.url))
        outcome = await target.switch("{}", 5)
        await target.aclose()
        assert (str(outcome), target.label) == ("202", f"{peer.host}:{peer.port}")


class TestTrust:
    """Who is spoken to over TLS."""

    async def test_a_pod_has_to_bear_the_name(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """It is dialled by its address, and its certificate is that of the name."""
        peer = serving(hostile.Oms().answers(), tls=authorities.server("oms.test"))
        given = loading(
            settings.Oms, OMS_URL=f"https://oms.test:{peer.port}", OMS_CA_FILE=str(authorities.ca_file)
        )
        target = target_of(given, "127.0.0.1")
        look = await target.read_mode(10)
        await target.aclose()
        assert (look.problem, peer.requests[0].header("host")) == (None, f"oms.test:{peer.port}")

    async def test_another_name_is_refused(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """Though the authority is trusted."""
        peer = serving(hostile.Oms().answers(), tls=authorities.server("other.test", "127.0.0.1"))
        given = loading(
            settings.Oms, OMS_URL=f"https://oms.test:{peer.port}", OMS_CA_FILE=str(authorities.ca_file)
        )
        look = await target_of(given, "127.0.0.1").read_mode(10)
        assert (look.failure, look.refused, peer.requests) == (Failure.UNTRUSTED, True, [])

    async def test_an_address_has_to_be_in_the_certificate(
        self, loading: Loading, serving: Serving, authorities: Authorities
    ) -> None:
        """Where no name is given."""
        peer = serving(hostile.Oms().answers(), tls=authorities.server("127.0.0.1"))
        target = target_of(loading(settings.Oms, OMS_URL=peer.url, OMS_CA_FILE=str(authorities.ca_file)))
        look = await target.read_mode(10)
        await target.aclose()
        assert look.problem is None

    async def test_without_an_authority_of_its_own_the_system_is_believed(
        self,
        loading: Loading,
        serving: Serving,
        authorities: Authorities,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What the system trusts is trusted."""
        peer = serving(hostile.Oms().answers(), tls=authorities.server())
        given = loading(settings.Oms, OMS_URL=peer.url)
        unknown = await target_of(given).read_mode(10)
        monkeypatch.setenv("SSL_CERT_FILE", str(authorities.ca_file))
        target = target_of(given)
        known = await target.read_mode(10)
        await target.aclose()
        assert (unknown.failure, known.failure) == (Failure.UNTRUSTED, None)

    async def test_a_client_certificate_is_shown(
        self, loading: Loading, serving: Serving, authorities: Authorities, tmp_path: Path
    ) -> None:
        """To an OMS that asks for one."""
        peer = serving(hostile.Oms().answers(), tls=authorities.server_that_asks_back())
        certificate, key = authorities.client_files(tmp_path)
        target = target_of(
            loading(
                settings.Oms,
                OMS_URL=peer.url,
                OMS_CA_FILE=str(authorities.ca_file),
                OMS_CLIENT_CERT_FILE=str(certificate),
                OMS_CLIENT_KEY_FILE=str(key),
            )
        )
        look = await target.read_mode(10)
        await target.aclose()
        assert look.problem is None

    def test_without_tls_nothing_is_loaded(self, loading: Loading) -> None:
        """Loading trust takes time in which the OMS does not trade."""
        given = loading(settings.Oms, OMS_URL="http://oms-1,http://oms-2")
        assert trust_of(given).get_ca_certs() == []


class TestWhatIsRemembered:
    """What was last seen, for decisions and for the verdict."""

    @TURNED
    async def test_a_target_that_was_never_asked_is_unknown(self, target: Target) -> None:
        """It says so."""
        assert ({}, "oms:80 was not read") == (target.observation, str(target))

    @TURNED
    async def test_mode_and_health(self, target: Target, oms: Oms) -> None:
        """The documents as they came."""
        await target.read_mode(5)
        await target.read_health(5)
        assert str(target) == f"oms:80 is standby ({OWNER})"
        assert target.observation == {
            "mode": "standby",
            "owner": OWNER,
            "mode_document": {"mode": "standby", "reason": OWNER},
            "health_document": HEALTHY,
        }

    @TURNED
    async def test_what_cannot_be_read_says_why(self, target: Target, oms: Oms) -> None:
        """With the document of a health that came all the same."""
        oms.mode_answer = answering(500, b"no disk\n")
        oms.health_answer = answering(503, {"status": "starting"})
        await target.read_mode(5)
        await target.read_health(5)
        assert str(target) == "oms:80 cannot be read (answered 500 no disk)"
        assert target.observation == {
            "mode": "unreadable",
            "mode_problem": "answered 500 no disk",
            "health_document": {"status": "starting"},
            "health_problem": 'answered 503 {"status": "starting"}',
        }

    @TURNED
    async def test_a_long_document_is_cut(self, target: Target, oms: Oms) -> None:
        """To one kilobyte, not in the midst of a character."""
        oms.mode_answer = answering(200, {"mode": "standby", "notes": "ü" * 5000})
        await target.read_mode(5)
        told = target.observation["mode_document"]
        assert told == '{"mode":"standby","notes":"' + "ü" * 498 + "…"

    @TURNED
    async def test_no_secret_is_cut_in_two(self, target: Target, oms: Oms) -> None:
        """It is hidden before the document is cut."""
        redaction.hide(TOKEN)
        oms.mode_answer = answering(200, {"mode": "standby", "notes": "x" * 990 + TOKEN + "x" * 500})
        await target.read_mode(5)
        assert TOKEN[:4] not in json.dumps(target.observation)

    @TURNED
    async def test_what_our_own_deadline_cut_short_is_not_remembered(self, target: Target, oms: Oms) -> None:
        """What was seen before says more than that there was no time."""
        await target.read_mode(5)
        await target.read_health(5)
        oms.mode_answer = oms.health_answer = silent
        seen = target.observation
        look, health = await target.read_mode(0.1), await target.read_health(0.1)
        assert (look.mode, look.failure, health.text) == (None, Failure.TIMED_OUT, None)
        assert seen == target.observation

    @TURNED
    async def test_silence_is(self, target: Target, oms: Oms) -> None:
        """An attempt that had all the time that one gets."""
        await target.read_mode(5)
        oms.mode_answer = silent
        await target.read_mode(60)
        assert str(target) == "oms:80 cannot be read (not answered within 5 s)"


@TURNED
class TestLeftAlone:
    """Retry-After is honoured up to 5 s; a look that was not asked is no look."""

    @pytest.mark.parametrize(
        ("told", "pause"), [("2", 2), ("5", 5), ("3600", 5), ("0", 0), ("-1", 0), ("", 0)]
    )
    @pytest.mark.parametrize("status", [404, 408, 429, 500, 503])
    async def test_so_long(self, target: Target, oms: Oms, status: int, told: str, pause: float) -> None:
        """It is asked again as soon as that has passed."""
        oms.mode_answer = in_turn(answering(status, Retry_After=told), oms.tell_mode)
        looks = []
        for _ in range(6):
            looks.append(await target.read_mode(5))
            await asyncio.sleep(1)
        asked = [True] + [second >= pause for second in range(1, 6)]
        assert asked == [look.asked for look in looks]

    async def test_health_and_mode_apart(self, target: Target, oms: Oms) -> None:
        """Who wants to be left alone by one question answers the other."""
        oms.health_answer = answering(503, Retry_After="5")
        await target.read_health(5)
        mode, health = await target.read_mode(5), await target.read_health(5)
        assert (mode.asked, health.asked, health.status) == (True, False, 503)

    async def test_a_good_answer_is_no_wish(self, target: Target, oms: Oms) -> None:
        """Retry-After beside a 200 means nothing."""
        oms.mode_answer = answering(200, {"mode": "active"}, Retry_After="5")
        await target.read_mode(5)
        look = await target.read_mode(5)
        assert look.asked


@TURNED
class TestWhatIsTold:
    """In the log: what changed, and what was sent."""

    async def test_a_mode_document_that_changed(self, target: Target, oms: Oms) -> None:
        """That is the drain's progress; the same again is not told again."""
        documents: list[Any] = [{"mode": "draining", "open_orders": left} for left in (5, 5, 3)]
        oms.mode_answer = in_turn(*[answering(200, document) for document in documents])
        with capture_logs() as lines:
            for _ in documents:
                await target.read_mode(5)
        assert [documents[0], documents[2]] == [line["document"] for line in lines]
        assert lines[0] == {
            "event": "mode",
            "log_level": "info",
            "target": "oms:80",
            "mode": "other",
            "owner": None,
            "document": documents[0],
        }

    async def test_a_mode_that_cannot_be_read(self, target: Target, oms: Oms) -> None:
        """Once for each reason; and when it can be read again."""
        oms.mode_answer = in_turn(answering(503), answering(503), hung_up, oms.tell_mode)
        with capture_logs() as lines:
            for _ in range(4):
                await target.read_mode(5)
        assert [("mode_unreadable", "warning"), ("mode_unreadable", "warning"), ("mode", "info")] == [
            (line["event"], line["log_level"]) for line in lines
        ]

    async def test_a_health_that_changed(self, target: Target, oms: Oms) -> None:
        """With the document, whatever the status."""
        starting: Behaviour = answering(503, {"status": "starting"})
        oms.health_answer = in_turn(starting, starting, answering(200, b"?"), oms.tell_health)
        with capture_logs() as lines:
            for _ in range(4):
                await target.read_health(5)
        assert [
            ("health_not_yet", {"status": "starting"}),
            ("health_not_yet", None),
            ("health", HEALTHY),
        ] == [(line["event"], line.get("document")) for line in lines]

    async def test_a_switch(self, target: Target, oms: Oms) -> None:
        """What was asked, and what was answered."""
        oms.switch_answer = in_turn(answering(503, b"busy"), oms.switch)
        body = '{"mode":"active","reason":"argocd-sync"}'
        with capture_logs() as lines:
            await target.switch(body, 5)
            await target.switch(body, 5)
        assert lines == [
            {
                "event": "switch_not_accepted",
                "log_level": "warning",
                "target": "oms:80",
                "request": body,
                "answer": "503 busy",
            },
            {
                "event": "switch_accepted",
                "log_level": "info",
                "target": "oms:80",
                "request": body,
                "answer": "202",
            },
        ]
