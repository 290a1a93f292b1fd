"""The PagerDuty of the rehearsals: what it accepts, what it keeps of it, what can be wrong with it."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rehearsal.mock_oms import Received
from rehearsal.mock_pagerduty import (
    DeliveryFaults,
    Event,
    Incident,
    IncidentEntry,
    MockPagerDuty,
    WebhookMessage,
    errors_in,
)

KEY = "0123456789abcdef0123456789ABCDEF"
OTHER_KEY = "f" * 32
NOON = 1_767_268_800.0
DEDUP_KEY = "argocd-sync/argocd/oms"

WRONG_LENGTH = "Length of 'routing_key' is incorrect (should be 32 characters)"
NON_ALPHANUMERIC = "'routing_key' cannot contain non-alphanumeric characters."
UNKNOWN_ACTION = (
    "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"
)
UNKNOWN_SEVERITY = (
    "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
)

TRIGGER: dict[str, Any] = {
    "routing_key": KEY,
    "event_action": "trigger",
    "dedup_key": DEDUP_KEY,
    "payload": {"summary": "oms: sync failed", "source": "argocd", "severity": "critical"},
}
RESOLVE: dict[str, Any] = {"routing_key": KEY, "event_action": "resolve", "dedup_key": DEDUP_KEY}
ACKNOWLEDGE: dict[str, Any] = {**RESOLVE, "event_action": "acknowledge"}

# As Alertmanager's pagerdutyV2 client builds it, on trigger and on resolve alike.
ALERTMANAGER: dict[str, Any] = {
    "routing_key": KEY,
    "dedup_key": "9a3f" * 16,
    "event_action": "trigger",
    "payload": {
        "summary": "[FIRING:1] OmsInStandby oms (critical)",
        "source": "Alertmanager",
        "severity": "critical",
        "timestamp": "2026-01-01T12:00:00Z",
        "class": "deploy",
        "component": "oms",
        "group": "prod",
        "custom_details": {
            "firing": "Labels:\n - alertname = OmsInStandby\n",
            "num_firing": "1",
            "num_resolved": "0",
            "resolved": "",
        },
    },
    "client": "Alertmanager",
    "client_url": "http://alertmanager.example:9093/#/alerts?receiver=pager",
    "links": [{"href": "https://runbooks.example/oms", "text": "runbook"}],
    "images": [
        {"src": "https://grafana.example/oms.png", "alt": "orders", "href": "https://grafana.example"}
    ],
}


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def pagerduty() -> Iterator[MockPagerDuty]:
    """PagerDuty with its webhook; it is always noon."""
    with MockPagerDuty(webhook=True, clock=lambda: NOON) as opened:
        yield opened


@pytest.fixture
def ask(pagerduty: MockPagerDuty) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{pagerduty.address}", trust_env=False, timeout=20) as client:
        yield client


def send(ask: httpx.Client, event: Any) -> httpx.Response:
    return ask.post("/v2/enqueue", json=event)


def changed(change: dict[str, Any]) -> dict[str, Any]:
    """Give the trigger with members replaced; `payload.x` is one of its payload."""
    payload = {name[8:]: value for name, value in change.items() if name.startswith("payload.")}
    members = {name: value for name, value in change.items() if not name.startswith("payload.")}
    return {**TRIGGER, "payload": {**TRIGGER["payload"], **payload}, **members}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestValidation:
    @pytest.mark.parametrize(
        "event",
        [
            pytest.param(TRIGGER, id="the least of a trigger"),
            pytest.param(RESOLVE, id="the least of a resolve"),
            pytest.param(ACKNOWLEDGE, id="the least of an acknowledge"),
            pytest.param(ALERTMANAGER, id="Alertmanager's trigger"),
            pytest.param({**ALERTMANAGER, "event_action": "resolve"}, id="Alertmanager's resolve"),
            pytest.param(changed({"payload.summary": "x" * 1024}), id="the longest summary"),
            pytest.param(changed({"payload.summary": "é" * 1024}), id="the longest summary, in characters"),
            pytest.param(changed({"dedup_key": "x" * 255}), id="the longest dedup key"),
            pytest.param(changed({"links": [], "images": []}), id="empty lists"),
            pytest.param(changed({"links": None, "payload.custom_details": None}), id="nulls"),
            pytest.param(changed({"payload.custom_details": {"deep": [{"er": 1.5}]}}), id="any details"),
            pytest.param({**RESOLVE, "payload": {"summary": ""}}, id="a resolve with half a payload"),
            pytest.param(changed({"links": [{"href": "/runbook"}]}), id="a relative link"),
        ],
    )
    def test_it_accepts(self, ask: httpx.Client, event: dict[str, Any]) -> None:
        """What PagerDuty accepts is answered 202 with its dedup key."""
        answer = send(ask, event)
        expected = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        assert (answer.status_code, answer.json()) == (202, expected)

    @pytest.mark.parametrize("severity", ["critical", "error", "warning", "info"])
    def test_it_knows_four_severities(self, ask: httpx.Client, severity: str) -> None:
        """Each of them is accepted."""
        assert send(ask, changed({"payload.severity": severity})).status_code == 202

    @pytest.mark.parametrize("missing", [{"dedup_key": None}, {"dedup_key": ""}])
    def test_it_chooses_a_dedup_key(self, pagerduty: MockPagerDuty, ask: httpx.Client, missing: Any) -> None:
        """A trigger without one gets one of its own, each time another."""
        keys = [send(ask, changed(missing)).json()["dedup_key"] for _ in range(2)]
        assert list(pagerduty.incidents) == keys
        assert [event.document["dedup_key"] for event in pagerduty.events] == keys
        assert len(set(keys)) == 2

    @pytest.mark.parametrize(
        ("change", "errors"),
        [
            ({"routing_key": None}, ["'routing_key' is missing or blank"]),
            ({"routing_key": " "}, ["'routing_key' is missing or blank"]),
            (
                {"routing_key": "x" * 20},
                [WRONG_LENGTH],
            ),
            (
                {"routing_key": KEY + "\n"},
                [
                    WRONG_LENGTH,
                    NON_ALPHANUMERIC,
                ],
            ),
            (
                {"routing_key": "é" * 32},
                [NON_ALPHANUMERIC],
            ),
            (
                {"routing_key": 7},
                [
                    WRONG_LENGTH,
                    NON_ALPHANUMERIC,
                ],
            ),
            ({"dedup_key": "x" * 256}, ["'dedup_key' is too long (maximum is 255 characters)"]),
            ({"dedup_key": 7}, ["'dedup_key' is not a string"]),
            ({"payload": None}, ["'payload' is missing or blank"]),
            ({"payload": "oms failed"}, ["'payload' is missing or blank"]),
            ({"payload.summary": None}, ["'payload.summary' is missing or blank"]),
            ({"payload.summary": "\n"}, ["'payload.summary' is missing or blank"]),
            ({"payload.summary": ["oms"]}, ["'payload.summary' is not a string"]),
            (
                {"payload.summary": "x" * 1025},
                ["'payload.summary' is too long (maximum is 1024 characters)"],
            ),
            ({"payload.source": None}, ["'payload.source' is missing or blank"]),
            ({"payload.source": 1}, ["'payload.source' is not a string"]),
            ({"payload.severity": None}, ["'payload.severity' is missing or blank"]),
            ({"payload.severity": "high"}, [UNKNOWN_SEVERITY]),
            ({"payload.severity": "Critical"}, [UNKNOWN_SEVERITY]),
            ({"payload.severity": {}}, [UNKNOWN_SEVERITY]),
            ({"payload.timestamp": 1}, ["'payload.timestamp' is not a string"]),
            ({"payload.component": 1}, ["'payload.component' is not a string"]),
            ({"payload.group": 1}, ["'payload.group' is not a string"]),
            ({"payload.class": 1}, ["'payload.class' is not a string"]),
            ({"payload.custom_details": "text"}, ["'payload.custom_details' is not an object"]),
            ({"client": 1}, ["'client' is not a string"]),
            ({"client_url": 1}, ["'client_url' is not a string"]),
            ({"links": {}}, ["'links' is not a list"]),
            ({"links": ["https://x"]}, ["'links[0].href' is missing or blank"]),
            ({"links": [{"href": "/a"}, {"href": " "}]}, ["'links[1].href' is missing or blank"]),
            ({"images": [{"href": "https://x"}]}, ["'images[0].src' is missing or blank"]),
            ({"images": [{"src": "http://x"}]}, ["'images[0].src' does not begin with https://"]),
        ],
    )
    def test_it_refuses(
        self, pagerduty: MockPagerDuty, ask: httpx.Client, change: dict[str, Any], errors: list[str]
    ) -> None:
        """What PagerDuty refuses is answered 400, names every fault, and leaves nothing behind."""
        answer = send(ask, changed(change))
        expected = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        assert (answer.status_code, answer.json()) == (400, expected)
        assert (pagerduty.incidents, pagerduty.events) == ({}, ())

    @pytest.mark.parametrize(
        ("event", "errors"),
        [
            pytest.param([], ["the event is not a JSON object"], id="a list"),
            pytest.param(
                {},
                [
                    "'routing_key' is missing or blank",
                    "'event_action' is missing or blank",
                    "'dedup_key' is missing or blank",
                ],
                id="nothing",
            ),
            pytest.param(
                {**TRIGGER, "event_action": "page"},
                [UNKNOWN_ACTION],
                id="an unknown action",
            ),
            pytest.param(
                {**RESOLVE, "dedup_key": ""}, ["'dedup_key' is missing or blank"], id="a resolve of nothing"
            ),
            pytest.param(
                {**ACKNOWLEDGE, "dedup_key": None},
                ["'dedup_key' is missing or blank"],
                id="an acknowledge of nothing",
            ),
            pytest.param(
                {**RESOLVE, "links": [{}]}, ["'links[0].href' is missing or blank"], id="a link in a resolve"
            ),
        ],
    )
    def test_every_fault_is_named(self, event: Any, errors: list[str]) -> None:
        """All faults of an event are told together."""
        assert errors_in(event) == errors

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            pytest.param(b"", "the event is not JSON: Expecting value", id="nothing"),
            pytest.param(
                b'{"routing_key": "a\nb"}', "the event is not JSON: Invalid control", id="a raw newline"
            ),
            pytest.param(b'{"a": NaN}', "the event is not JSON: Out of range float", id="NaN"),
            pytest.param(
                b'{"a": 1e999}', "the event is not JSON: Out of range float", id="too large a number"
            ),
            pytest.param(b'{"a": "\\udc00"}', "the event is not JSON: 'utf-8'", id="a lone surrogate"),
            pytest.param(b'{"a": "\xff"}', "the event is not JSON: 'utf-8'", id="not UTF-8"),
            pytest.param(b"[" * 100_000, "the event is not JSON: the JSON is nested too deeply", id="deep"),
            pytest.param(b" " * 512_001, "the event is larger than 512000 bytes", id="too large"),
        ],
    )
    def test_what_is_no_strict_json_is_refused(self, ask: httpx.Client, body: bytes, error: str) -> None:
        """It is answered 400 like any other event that is invalid."""
        answer = ask.post("/v2/enqueue", content=body)
        assert answer.status_code == 400
        assert re.match(re.escape(error), answer.json()["errors"][0])

    def test_the_largest_event_is_accepted(self, ask: httpx.Client) -> None:
        """512,000 bytes are not too many."""
        body = json.dumps(TRIGGER).encode()
        assert ask.post("/v2/enqueue", content=body.ljust(512_000)).status_code == 202


class TestIncidents:
    def test_a_trigger_opens_one(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """It is open, with what it said and when."""
        send(ask, TRIGGER)
        assert pagerduty.incidents == {
            DEDUP_KEY: Incident(
                dedup_key=DEDUP_KEY,
                status="open",
                triggers=1,
                opened=1,
                summary="oms: sync failed",
                history=(IncidentEntry(NOON, "trigger", "oms: sync failed"),),
            )
        }

    @pytest.mark.parametrize(
        ("events", "status", "triggers", "opened", "entries"),
        [
            pytest.param([TRIGGER, TRIGGER], "open", 2, 1, 2, id="the same again calls nobody again"),
            pytest.param([TRIGGER, RESOLVE], "resolved", 1, 1, 2, id="a resolve closes it"),
            pytest.param([TRIGGER, RESOLVE, RESOLVE], "resolved", 1, 1, 2, id="a second resolve is dropped"),
            pytest.param([TRIGGER, RESOLVE, TRIGGER], "open", 2, 2, 3, id="a trigger afterwards opens anew"),
            pytest.param([TRIGGER, ACKNOWLEDGE], "acknowledged", 1, 1, 2, id="somebody takes it"),
            pytest.param(
                [TRIGGER, ACKNOWLEDGE, TRIGGER], "acknowledged", 2, 1, 3, id="a trigger then makes no sound"
            ),
            pytest.param([TRIGGER, ACKNOWLEDGE, RESOLVE], "resolved", 1, 1, 3, id="taken, then closed"),
            pytest.param(
                [TRIGGER, RESOLVE, ACKNOWLEDGE], "resolved", 1, 1, 2, id="nothing is left to be taken"
            ),
            pytest.param(
                [TRIGGER, {**RESOLVE, "routing_key": OTHER_KEY}], "open", 1, 1, 1, id="another key's resolve"
            ),
        ],
    )
    def test_one_dedup_key_is_one_incident(
        self,
        pagerduty: MockPagerDuty,
        ask: httpx.Client,
        events: list[dict[str, Any]],
        status: str,
        triggers: int,
        opened: int,
        entries: int,
    ) -> None:
        """Events of one key follow PagerDuty's rules; all of them are accepted."""
        assert {send(ask, event).status_code for event in events} == {202}
        incident = pagerduty.incidents[DEDUP_KEY]
        assert (incident.status, incident.triggers, incident.opened, len(incident.history)) == (
            status,
            triggers,
            opened,
            entries,
        )

    def test_the_last_trigger_says_what_it_is(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """The summary is that of the last trigger; a resolve does not change it."""
        send(ask, TRIGGER)
        send(ask, changed({"payload.summary": "still failing"}))
        send(ask, {**RESOLVE, "payload": {"summary": "mended"}})
        incident = pagerduty.incidents[DEDUP_KEY]
        said = [entry.summary for entry in incident.history]
        assert (incident.summary, said) == ("still failing", ["oms: sync failed", "still failing", "mended"])

    def test_a_resolve_without_an_incident_is_dropped(
        self, pagerduty: MockPagerDuty, ask: httpx.Client
    ) -> None:
        """It is accepted, as at PagerDuty, and nothing comes of it."""
        assert send(ask, RESOLVE).status_code == 202
        assert (pagerduty.incidents, len(pagerduty.events)) == ({}, 1)

    def test_each_dedup_key_is_its_own(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """Resolving one incident leaves the other open."""
        send(ask, TRIGGER)
        send(ask, changed({"dedup_key": f"{DEDUP_KEY}/standby"}))
        send(ask, RESOLVE)
        assert {key: incident.status for key, incident in pagerduty.incidents.items()} == {
            DEDUP_KEY: "resolved",
            f"{DEDUP_KEY}/standby": "open",
        }

    def test_events_are_kept_without_their_key(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """What was accepted can be looked at whole; the routing key can nowhere."""
        send(ask, ALERTMANAGER)
        rest = {name: value for name, value in ALERTMANAGER.items() if name != "routing_key"}
        assert pagerduty.events == (Event(NOON, rest),)
        said = "".join(ask.get(f"/mock/{what}").text for what in ("incidents", "events", "requests"))
        assert KEY not in said + repr(pagerduty.incidents) + repr(pagerduty.events)

    def test_what_it_keeps_is_told_over_http(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """Incidents, events, webhooks and attempts are the same over HTTP as in the process."""
        send(ask, TRIGGER)
        send(ask, {})
        ask.post("/webhook/on-call", json={"text": "oms: sync failed"})
        incidents = {key: dataclasses.asdict(incident) for key, incident in pagerduty.incidents.items()}
        assert ask.get("/mock/incidents").json() == json.loads(json.dumps(incidents))
        for what in ("events", "webhooks", "requests"):
            kept = [dataclasses.asdict(thing) for thing in getattr(pagerduty, what)]
            assert ask.get(f"/mock/{what}").json() == kept

    def test_every_attempt_is_entered(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """Accepted or not, each has its time and its status; looking is no attempt."""
        send(ask, TRIGGER)
        send(ask, {})
        ask.get("/mock/requests")
        ask.get("/v2/enqueue")
        ask.post("/v1/enqueue")
        assert pagerduty.requests == (
            Received(NOON, "POST", "/v2/enqueue", None, 202),
            Received(NOON, "POST", "/v2/enqueue", None, 400),
            Received(NOON, "GET", "/v2/enqueue", None, 405),
            Received(NOON, "POST", "/v1/enqueue", None, 404),
        )


class TestWebhook:
    @pytest.mark.parametrize("path", ["/webhook/on-call", "/webhook/T000/B000/secret"])
    def test_it_takes_a_text(self, pagerduty: MockPagerDuty, ask: httpx.Client, path: str) -> None:
        """A Slack-compatible message under any path is answered ok."""
        answer = ask.post(path, json={"text": "oms: sync failed", "channel": "#oms"})
        assert (answer.status_code, answer.text) == (200, "ok")
        assert pagerduty.webhooks == (WebhookMessage(NOON, path, "oms: sync failed"),)

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"oms", id="no JSON"),
            pytest.param(b"[]", id="a list"),
            pytest.param(b"{}", id="no text"),
            pytest.param(b'{"text": " "}', id="a blank text"),
            pytest.param(b'{"text": 7}', id="a text that is none"),
        ],
    )
    def test_it_takes_nothing_else(self, pagerduty: MockPagerDuty, ask: httpx.Client, body: bytes) -> None:
        """Whatever has no text is answered invalid_payload."""
        answer = ask.post("/webhook/on-call", content=body)
        assert (answer.status_code, answer.text, pagerduty.webhooks) == (400, "invalid_payload", ())

    def test_it_is_there_on_demand(self, web: httpx.Client) -> None:
        """Without being asked for there is no webhook."""
        with MockPagerDuty() as pagerduty:
            assert web.post(pagerduty.webhook_url, json={"text": "oms"}).status_code == 404

    def test_its_address_is_one_of_its_paths(self, pagerduty: MockPagerDuty, ask: httpx.Client) -> None:
        """`webhook_url` takes a message, and reading it is no message."""
        assert [ask.post(pagerduty.webhook_url, json={"text": "oms"}).status_code] == [200]
        assert ask.get(pagerduty.webhook_url).status_code == 405


@pytest.fixture(params=["enqueue", "webhook"])
def door(request: pytest.FixtureRequest, pagerduty: MockPagerDuty, web: httpx.Client) -> "Door":
    """PagerDuty, then the webhook: what is true of the faults of one is true of the other's."""
    return Door(pagerduty, web, request.param)


class Door:
    """One of the two that can be told."""

    def __init__(self, pagerduty: MockPagerDuty, web: httpx.Client, name: str) -> None:
        self._pagerduty = pagerduty
        self._web = web
        self.at_webhook = name == "webhook"
        self.url = pagerduty.webhook_url if self.at_webhook else pagerduty.url
        self.control = "/mock/webhook-faults" if self.at_webhook else "/mock/faults"
        self.fine = 200 if self.at_webhook else 202

    def knock(self, **options: Any) -> httpx.Response:
        return self._web.post(self.url, json={"text": "oms"} if self.at_webhook else TRIGGER, **options)

    def knock_next_door(self) -> httpx.Response:
        return Door(self._pagerduty, self._web, "enqueue" if self.at_webhook else "webhook").knock()

    @property
    def processed(self) -> int:
        return len(self._pagerduty.webhooks if self.at_webhook else self._pagerduty.events)

    @property
    def faults(self) -> DeliveryFaults:
        return self._pagerduty.webhook_faults if self.at_webhook else self._pagerduty.faults

    @faults.setter
    def faults(self, faults: DeliveryFaults) -> None:
        if self.at_webhook:
            self._pagerduty.webhook_faults = faults
        else:
            self._pagerduty.faults = faults


class TestFaults:
    @pytest.mark.parametrize("status", [200, 202, 301, 400, 403, 429, 500, 503])
    def test_it_answers_with_a_status(self, door: Door, status: int) -> None:
        """It answers so until told otherwise, with the text and the Retry-After; nothing is processed."""
        door.faults = DeliveryFaults(status=status, body="<html>", retry_after="1")
        answers = [door.knock() for _ in range(2)]
        assert [(answer.status_code, answer.text, answer.headers["Retry-After"]) for answer in answers] == [
            (status, "<html>", "1")
        ] * 2
        assert door.processed == 0
        door.faults = DeliveryFaults()
        assert (door.knock().status_code, door.processed) == (door.fine, 1)

    def test_it_names_no_time_of_its_own(self, door: Door) -> None:
        """Without one there is no Retry-After."""
        door.faults = DeliveryFaults(status=503)
        assert "Retry-After" not in door.knock().headers

    def test_it_fails_so_often(self, door: Door) -> None:
        """After so many requests it is well again."""
        door.faults = DeliveryFaults(status=500, count=2)
        assert [door.knock().status_code for _ in range(3)] == [500, 500, door.fine]
        assert door.faults == DeliveryFaults()

    def test_it_resets_connections(self, door: Door) -> None:
        """The connection is reset, and nothing is processed."""
        door.faults = DeliveryFaults(reset=True)
        with pytest.raises(httpx.ReadError):
            door.knock()
        assert door.processed == 0

    def test_it_drops_its_answer(self, door: Door) -> None:
        """It is processed, and nobody is told."""
        door.faults = DeliveryFaults(drop_answer=True)
        with pytest.raises(httpx.RemoteProtocolError):
            door.knock()
        assert door.processed == 1

    def test_it_hangs(self, door: Door) -> None:
        """It answers late, and processes also what nobody waits for any more."""
        door.faults = DeliveryFaults(hang_seconds=0.3)
        began = time.monotonic()
        assert door.knock().status_code == door.fine
        assert time.monotonic() - began >= 0.3
        with pytest.raises(httpx.ReadTimeout):
            door.knock(timeout=0.05)
        until(lambda: door.processed == 2)

    def test_a_hanging_answer_ends_with_it(self, web: httpx.Client) -> None:
        """Leaving the context does not wait for what hangs, and does not process it."""
        with MockPagerDuty() as pagerduty:
            pagerduty.faults = DeliveryFaults(hang_seconds=3600)
            with pytest.raises(httpx.ReadTimeout):
                web.post(pagerduty.url, json=TRIGGER, timeout=0.05)
            until(lambda: len(pagerduty.requests) == 1)
        assert pagerduty.events == ()

    def test_the_other_is_well(self, door: Door) -> None:
        """PagerDuty and the webhook fail each by itself."""
        door.faults = DeliveryFaults(status=500, count=1)
        door.knock_next_door()
        assert (door.faults.count, door.knock().status_code) == (1, 500)

    def test_it_can_be_asked_for_over_http(self, door: Door, ask: httpx.Client) -> None:
        """Faults are replaced whole; {} switches all of them off."""
        wanted = {"status": 500, "count": 3, "retry_after": "1", "hang_seconds": 0, "body": "down"}
        assert ask.post(door.control, json=wanted).status_code == 200
        assert door.faults == DeliveryFaults(status=500, count=3, retry_after="1", body="down")
        ask.post(door.control, json={})
        assert door.faults == DeliveryFaults()

    @pytest.mark.parametrize(
        ("faults", "what"),
        [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ('{"nonsense": 1}', "got an unexpected keyword argument 'nonsense'"),
            ('{"status": "500"}', 'status cannot be "500"'),
            ('{"status": 600}', "status must be from 200 to 599"),
            ('{"count": 0}', "count must be from 1 to inf"),
            ('{"hang_seconds": -1}', "hang_seconds must be from 0 to 86400"),
        ],
    )
    def test_a_wrong_order_is_named(self, door: Door, ask: httpx.Client, faults: str, what: str) -> None:
        """Faults that cannot be played are 400, say why, and leave what was."""
        door.faults = DeliveryFaults(status=503)
        answer = ask.post(door.control, content=faults)
        assert (answer.status_code, answer.json()) == (400, {"error": what})
        assert door.faults == DeliveryFaults(status=503)

    @pytest.mark.parametrize(("method", "path"), [("GET", "/mock/faults"), ("POST", "/mock/incidents")])
    def test_there_are_no_other_orders(self, ask: httpx.Client, method: str, path: str) -> None:
        """What the mock does not know is 404."""
        assert ask.request(method, path).status_code == 404


class TestProgram:
    COMMAND = (sys.executable, "-m", "rehearsal.mock_pagerduty")

    def test_it_tells_its_address_and_ends_when_told(self, web: httpx.Client) -> None:
        """One JSON line when ready; SIGTERM ends it with 0, whatever hangs, and it says nothing more."""
        with subprocess.Popen(
            [*self.COMMAND, "--webhook"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            line = json.loads(process.stdout.readline())
            url = f"http://{line.pop('address')}"
            assert line == {"event": "listening"}
            assert web.post(f"{url}/v2/enqueue", json=TRIGGER).status_code == 202
            assert web.post(f"{url}/webhook/x", json={"text": "oms"}).status_code == 200
            web.post(f"{url}/mock/faults", json={"hang_seconds": 3600})
            with pytest.raises(httpx.ReadTimeout):
                web.post(f"{url}/v2/enqueue", json=TRIGGER, timeout=0.1)
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0

    def test_help_says_what_can_be_done_to_it(self) -> None:
        """Every endpoint and every fault is in --help."""
        text = subprocess.run([*self.COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
        paths = ("incidents", "events", "requests", "webhooks", "faults", "webhook-faults")
        names = [*(f"/mock/{path}" for path in paths), *DeliveryFaults.__annotations__]
        assert [name for name in names if name not in text] == []

    @pytest.mark.parametrize("listen", ["nowhere", "192.0.2.1:0"])
    def test_what_cannot_be_is_said_in_a_line(self, listen: str) -> None:
        """An address that it cannot have ends it with 2 and a sentence, not a traceback."""
        ended = subprocess.run(
            [*self.COMMAND, "--listen", listen], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "error: " in ended.stderr
        assert "Traceback" not in ended.stderr
