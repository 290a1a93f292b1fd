"""The OMS of the rehearsals: what it answers, what can be done to it, what can be wrong with it."""

import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from rehearsal.mock_oms import Answer, Faults, Listener, MockOms, ModeChange, Question, Received, Replica

TOKEN = "correct-horse"
NOON = 1_767_268_800.0
AT_NOON = "2026-01-01T12:00:00Z"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def oms(clock: Clock) -> Iterator[Replica]:
    """One replica that trades and drains for ten seconds; time stands still."""
    with MockOms(drain_seconds=10, start_mode="active", clock=clock) as opened:
        yield opened.replicas[0]


@pytest.fixture
def ask(oms: Replica) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=oms.url, trust_env=False, timeout=20) as client:
        yield client


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def switch(ask: httpx.Client, mode: str, reason: str | None = "sync/1") -> httpx.Response:
    return ask.post("/admin/mode", json={"mode": mode, "reason": reason})


def told(ask: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = ask.get("/health/mode").json()
    return document


class TestModes:
    def test_it_tells_its_mode(self, ask: httpx.Client) -> None:
        """The mode document has every field that the contract names."""
        assert told(ask) == {
            "mode": "active",
            "reason": None,
            "since": AT_NOON,
            "version": "1",
            "open_orders": 5,
        }

    @pytest.mark.parametrize(
        ("seconds", "mode", "open_orders", "since"),
        [
            pytest.param(0, "draining", 5, AT_NOON, id="at once"),
            pytest.param(3, "draining", 4, AT_NOON, id="after a third"),
            pytest.param(9.9, "draining", 1, AT_NOON, id="just before the end"),
            pytest.param(10, "standby", 0, "2026-01-01T12:00:10Z", id="at the end"),
            pytest.param(99, "standby", 0, "2026-01-01T12:00:10Z", id="looked at much later"),
        ],
    )
    def test_it_drains_into_standby(
        self, clock: Clock, ask: httpx.Client, seconds: float, mode: str, open_orders: int, since: str
    ) -> None:
        """Open orders fall while it drains; standby begins when draining ends, not when somebody looks."""
        switch(ask, "standby")
        clock.now += seconds
        assert {
            "mode": mode,
            "reason": "sync/1",
            "since": since,
            "version": "1",
            "open_orders": open_orders,
        } == told(ask)

    def test_a_switch_is_accepted_with_the_new_mode(self, ask: httpx.Client) -> None:
        """The answer is 202 and what the mode document tells."""
        answer = switch(ask, "standby")
        assert (202, told(ask)) == (answer.status_code, answer.json())

    @pytest.mark.parametrize("seconds", [pytest.param(5, id="draining"), pytest.param(15, id="in standby")])
    def test_active_is_active_at_once(self, clock: Clock, ask: httpx.Client, seconds: float) -> None:
        """A switch to active ends draining and standby alike, and standby does not come back by itself."""
        switch(ask, "standby")
        clock.now += seconds
        switch(ask, "active", "sync/2")
        clock.now += 60
        assert (told(ask)["mode"], told(ask)["reason"]) == ("active", "sync/2")

    @pytest.mark.parametrize(
        ("seconds", "mode", "since"),
        [
            pytest.param(5, "draining", AT_NOON, id="draining"),
            pytest.param(15, "standby", "2026-01-01T12:00:10Z", id="in standby"),
        ],
    )
    def test_the_latest_reason_is_told(
        self, clock: Clock, ask: httpx.Client, seconds: float, mode: str, since: str
    ) -> None:
        """A second standby request renames the owner; neither the drain nor the mode begins anew."""
        switch(ask, "standby", "sync/1")
        clock.now += seconds
        switch(ask, "standby", "sync/2")
        assert (mode, "sync/2", since) == tuple(told(ask)[name] for name in ("mode", "reason", "since"))
        clock.now = NOON + 15
        assert told(ask)["mode"] == "standby"

    def test_without_drain_time_it_is_in_standby_at_once(self, web: httpx.Client) -> None:
        """No draining is told where there is nothing to drain."""
        with MockOms(start_mode="active") as oms:
            web.post(f"{oms.url}/admin/mode", json={"mode": "standby"})
            assert [change.mode for change in oms.replicas[0].state.history] == ["active", "standby"]

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"standby", id="no JSON"),
            pytest.param(b'{"mode": "standby", "reason": NaN}', id="NaN"),
            pytest.param(b'{"mode": "standby", "reason": "\\ud800"}', id="a lone surrogate"),
            pytest.param(b'{"mode": "standby", "reason": "\xff"}', id="not UTF-8"),
            pytest.param(b"[" * 100_000, id="deep nesting"),
            pytest.param(b"[]", id="a list"),
            pytest.param(b"{}", id="no mode"),
            pytest.param(b'{"mode": "draining"}', id="a mode that cannot be asked for"),
            pytest.param(b'{"mode": ["standby"]}', id="a mode that is no text"),
            pytest.param(b'{"mode": "standby", "reason": 7}', id="a reason that is no text"),
        ],
    )
    def test_what_is_not_understood_changes_nothing(self, ask: httpx.Client, body: bytes) -> None:
        """A switch that is no JSON, or not the JSON that is expected, is answered 400."""
        assert (ask.post("/admin/mode", content=body).status_code, told(ask)["mode"]) == (400, "active")

    def test_more_than_mode_and_reason_may_be_said(self, ask: httpx.Client) -> None:
        """Other members of a switch are none of its business."""
        assert ask.post("/admin/mode", json={"mode": "standby", "ticket": 7}).status_code == 202

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            pytest.param("GET", "/nowhere", 404, id="an unknown path"),
            pytest.param("GET", "/admin/mode", 405, id="reading the switch"),
            pytest.param("PUT", "/admin/mode", 405, id="putting a switch"),
            pytest.param("POST", "/health/mode", 405, id="posting to the mode"),
            pytest.param("DELETE", "/health/deep", 405, id="deleting health"),
            pytest.param("GET", "/health/mode?verbose=1", 200, id="a query"),
        ],
    )
    def test_only_what_is_there_is_answered(
        self, ask: httpx.Client, method: str, path: str, status: int
    ) -> None:
        """Paths and methods that the OMS does not have are 404 and 405; a query is ignored."""
        assert status == ask.request(method, path).status_code

    @pytest.mark.parametrize(
        "header",
        [
            pytest.param("Transfer-Encoding: chunked", id="chunks"),
            pytest.param(f"Content-Length: {2**40}", id="too much"),
            pytest.param("Content-Length: -1", id="less than nothing"),
        ],
    )
    def test_a_body_without_a_usable_length_is_refused(self, oms: Replica, header: str) -> None:
        """Neither chunks nor more than 4 MiB are waited for: it answers 413 and closes."""
        with (
            socket.create_connection(oms.bound, timeout=20) as connection,
            connection.makefile("rb") as answer,
        ):
            connection.sendall(f"POST /admin/mode HTTP/1.1\r\nHost: oms\r\n{header}\r\n\r\n".encode())
            assert answer.read().startswith(b"HTTP/1.1 413 ")


class TestToken:
    @pytest.mark.parametrize(
        ("headers", "status", "mode"),
        [
            pytest.param({}, 401, "active", id="none"),
            pytest.param({"Authorization": "Bearer battery-staple"}, 403, "active", id="another"),
            pytest.param({"Authorization": f"Basic {TOKEN}"}, 403, "active", id="another scheme"),
            pytest.param({"Authorization": f"Bearer {TOKEN}"}, 202, "standby", id="the right one"),
        ],
    )
    def test_only_the_token_may_switch(
        self, headers: dict[str, str], status: int, mode: str, web: httpx.Client
    ) -> None:
        """Without a token a switch is 401, with another one 403, and both change nothing."""
        with MockOms(token=TOKEN, start_mode="active") as oms:
            answer = web.post(f"{oms.url}/admin/mode", json={"mode": "standby"}, headers=headers)
            assert (status, mode) == (answer.status_code, oms.replicas[0].state.mode)

    def test_reading_needs_no_token(self, web: httpx.Client) -> None:
        """Mode, health and the mock's own state are open."""
        with MockOms(token=TOKEN) as oms:
            paths = ("/health/mode", "/health/deep", "/mock/state")
            assert [web.get(oms.url + path).status_code for path in paths] == [200, 200, 200]

    def test_the_token_is_told_to_nobody(self, web: httpx.Client) -> None:
        """Neither the state nor the replica's text holds a token, right or wrong."""
        with MockOms(token=TOKEN) as oms:
            for token in (TOKEN, "battery-staple"):
                web.post(f"{oms.url}/admin/mode", headers={"Authorization": f"Bearer {token}"})
            said = web.get(f"{oms.url}/mock/state").text + repr(oms.replicas[0].state) + repr(vars(oms))
        assert not [token for token in (TOKEN, "battery-staple") if token in said]


class TestStart:
    @pytest.mark.parametrize(
        ("seconds", "status", "document"),
        [
            pytest.param(0, 503, {"status": "starting", "exchange_connections": "connecting"}, id="at first"),
            pytest.param(2.9, 503, {"status": "starting", "exchange_connections": "connecting"}, id="nearly"),
            pytest.param(
                3, 200, {"status": "healthy", "exchange_connections": "all_connected"}, id="started up"
            ),
        ],
    )
    def test_it_is_healthy_once_started_up(
        self, clock: Clock, seconds: float, status: int, document: dict[str, str], web: httpx.Client
    ) -> None:
        """Health is 503 and starting for the start-up time, then 200 and healthy."""
        with MockOms(startup_seconds=3, version="7", clock=clock) as oms:
            clock.now += seconds
            answer = web.get(f"{oms.url}/health/deep")
        assert (status, {**document, "version": "7"}) == (answer.status_code, answer.json())

    @pytest.mark.parametrize(
        ("start_mode", "modes"),
        [
            pytest.param("standby", ["standby", "standby"], id="in standby"),
            pytest.param("active", ["active", "active"], id="trading"),
            pytest.param("starting", ["starting", "standby"], id="starting until started up"),
        ],
    )
    def test_it_starts_in_the_mode_that_is_asked_for(
        self, clock: Clock, start_mode: Any, modes: list[str]
    ) -> None:
        """It starts in standby, active or starting, and names nobody; starting ends in standby."""
        with MockOms(start_mode=start_mode, startup_seconds=3, clock=clock) as oms:
            before = oms.replicas[0].state
            clock.now += 3
            after = oms.replicas[0].state
        assert (modes, [None, None]) == ([before.mode, after.mode], [before.reason, after.reason])

    def test_it_can_be_switched_while_starting(self, web: httpx.Client) -> None:
        """There is nothing to drain before it ever traded: standby is at once, and names who asked."""
        with MockOms(start_mode="starting", startup_seconds=60, drain_seconds=60) as oms:
            web.post(f"{oms.url}/admin/mode", json={"mode": "standby", "reason": "sync/1"})
            assert (oms.replicas[0].state.mode, oms.replicas[0].state.reason) == ("standby", "sync/1")


class TestRestart:
    def test_it_forgets(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """A restarted replica has another version, its start mode, no reason and its start-up before it."""
        switch(ask, "standby")
        clock.now += 4
        oms.restart(version="2", start_mode="standby", startup_seconds=3)
        assert told(ask) == {
            "mode": "standby",
            "reason": None,
            "since": "2026-01-01T12:00:04Z",
            "version": "2",
            "open_orders": 0,
        }
        assert ask.get("/health/deep").status_code == 503

    def test_what_is_not_said_stays(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """Version, start mode and start-up time are those of the start before."""
        oms.restart(version="2", start_mode="starting", startup_seconds=3)
        clock.now += 60
        oms.restart()
        assert (
            told(ask)["mode"],
            told(ask)["version"],
            ask.get("/health/deep").status_code,
        ) == ("starting", "2", 503)

    def test_connections_are_refused_while_it_is_down(self, oms: Replica, ask: httpx.Client) -> None:
        """Being down closes what was open and refuses what is new."""
        told(ask)
        oms.restart(down_seconds=3600)
        assert oms.state.mode == "down"
        with pytest.raises(httpx.ConnectError):
            told(ask)

    def test_it_comes_up_by_itself(self, oms: Replica, ask: httpx.Client) -> None:
        """When the time is over it answers at the same address."""
        oms.restart(down_seconds=0.05)
        until(lambda: oms.state.mode == "active")
        assert told(ask)["mode"] == "active"

    def test_a_connection_that_was_open_is_cut(self, oms: Replica) -> None:
        """A new pod does not know the old one's connections."""
        with socket.create_connection(oms.bound, timeout=20) as connection:
            connection.sendall(b"GET /health/mode HTTP/1.1\r\nHost: oms\r\n\r\n")
            assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
            oms.restart()
            while received := connection.recv(1024):
                assert b"HTTP/1.1" not in received

    def test_it_can_be_restarted_while_it_is_down(self, oms: Replica) -> None:
        """The second restart takes the place of the first."""
        oms.restart(version="2", down_seconds=3600)
        oms.restart(version="3")
        assert (oms.state.mode, oms.state.version) == ("active", "3")

    def test_what_was_to_come_up_may_be_overtaken(self, oms: Replica) -> None:
        """A restart that went off as another took its place does nothing."""
        oms.restart(down_seconds=3600)
        oms._come_up()
        assert oms.state.mode == "down"

    def test_a_replica_that_is_down_can_be_closed(self, clock: Clock) -> None:
        """What was to come up does not, once the context is left."""
        with MockOms(clock=clock) as oms:
            replica = oms.replicas[0]
            replica.restart(down_seconds=3600)
        until(lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(replica.bound).close()

    def test_it_can_be_asked_for_over_http(self, oms: Replica, ask: httpx.Client) -> None:
        """The answer is the state after it, although the connection belonged to the pod before."""
        order = {"version": "2", "startup_seconds": 3, "start_mode": "starting", "down_seconds": 0}
        answer = ask.post("/mock/restart", json=order)
        assert (
            answer.status_code,
            answer.json()["version"],
            answer.json()["mode"],
        ) == (200, "2", "starting")
        assert (oms.state.version, oms.state.mode) == ("2", "starting")

    def test_faults_outlive_it(self, oms: Replica) -> None:
        """What is wrong is wrong with the replica, not with its pod."""
        oms.faults = Faults(never_drain=True)
        oms.restart()
        assert Faults(never_drain=True) == oms.faults

    def test_what_was_under_way_does_not_reach_the_new_pod(self, oms: Replica, ask: httpx.Client) -> None:
        """A switch that still hangs in the old pod dies with it."""
        before = threading.active_count()
        oms.faults = Faults(hang_seconds=3600)
        with pytest.raises(httpx.ReadTimeout):
            ask.post("/admin/mode", json={"mode": "standby"}, timeout=0.05)
        until(lambda: len(oms.state.switches) == 1)
        oms.restart()
        until(lambda: threading.active_count() <= before)
        assert (oms.state.mode, oms.state.switches[0].status) == ("active", None)


class TestFaults:
    def test_it_never_drains(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """Draining does not end, and at least one order stays open."""
        oms.faults = Faults(never_drain=True)
        switch(ask, "standby")
        clock.now += 3600
        assert (told(ask)["mode"], told(ask)["open_orders"]) == ("draining", 1)

    def test_a_drain_that_was_held_ends_when_it_is_let_go(
        self, clock: Clock, oms: Replica, ask: httpx.Client
    ) -> None:
        """Standby begins when the fault is switched off, not before."""
        oms.faults = Faults(never_drain=True)
        switch(ask, "standby")
        clock.now += 3600
        oms.faults = Faults()
        assert (told(ask)["mode"], told(ask)["since"]) == ("standby", "2026-01-01T13:00:00Z")

    @pytest.mark.parametrize(
        ("seconds", "document"),
        [
            pytest.param(0, {"status": "starting", "exchange_connections": "connecting"}, id="starting up"),
            pytest.param(
                60, {"status": "degraded", "exchange_connections": "reconnecting"}, id="once started up"
            ),
        ],
    )
    def test_it_is_never_healthy(
        self, clock: Clock, seconds: float, document: dict[str, str], web: httpx.Client
    ) -> None:
        """It goes on starting, and is degraded when it should have started; both are 503."""
        with MockOms(startup_seconds=3, clock=clock) as oms:
            oms.replicas[0].faults = Faults(never_healthy=True)
            clock.now += seconds
            answer = web.get(f"{oms.url}/health/deep")
        assert (503, {**document, "version": "1"}) == (answer.status_code, answer.json())

    def test_it_never_leaves_starting(self, clock: Clock) -> None:
        """A replica that is never healthy does not get from starting into standby."""
        with MockOms(start_mode="starting", startup_seconds=3, clock=clock) as oms:
            oms.replicas[0].faults = Faults(never_healthy=True)
            clock.now += 60
            assert oms.replicas[0].state.mode == "starting"

    @pytest.mark.parametrize(
        ("forgets_after", "modes"),
        [
            pytest.param(4, ["active", "draining", "active"], id="while draining"),
            pytest.param(40, ["active", "draining", "standby", "active"], id="in standby"),
        ],
    )
    def test_it_forgets(
        self, clock: Clock, oms: Replica, ask: httpx.Client, forgets_after: float, modes: list[str]
    ) -> None:
        """It is active again by itself, names nobody, and knows since when."""
        oms.faults = Faults(forget_after_seconds=forgets_after)
        switch(ask, "standby")
        clock.now += 3600
        assert modes == [change.mode for change in oms.state.history]
        assert ModeChange(NOON + forgets_after, "active", None, "1") == oms.state.history[-1]

    @pytest.mark.parametrize(
        ("fault", "method", "path"),
        [
            pytest.param("mode_status", "GET", "/health/mode", id="the mode"),
            pytest.param("health_status", "GET", "/health/deep", id="health"),
            pytest.param("switch_status", "POST", "/admin/mode", id="the switch"),
        ],
    )
    @pytest.mark.parametrize("status", [204, 302, 403, 409, 429, 500, 503])
    def test_it_answers_with_a_status(
        self, oms: Replica, ask: httpx.Client, fault: str, method: str, path: str, status: int
    ) -> None:
        """That endpoint alone answers so, as long as the fault lasts, with its Retry-After; nothing is done."""
        faults: dict[str, Any] = {fault: status, "retry_after": "7"}
        oms.faults = Faults(**faults)
        answers = [ask.request(method, path, json={"mode": "standby"}) for _ in range(2)]
        assert [(status, "7")] * 2 == [
            (answer.status_code, answer.headers["Retry-After"]) for answer in answers
        ]
        assert oms.state.mode == "active"
        others = {"/health/mode", "/health/deep"} - {path}
        assert {200} == {ask.get(other).status_code for other in others}

    def test_it_refuses_to_be_active(self, ask: httpx.Client, oms: Replica) -> None:
        """A switch to active is 409 and changes nothing; one to standby is taken."""
        oms.faults = Faults(refuse_active=True)
        assert [switch(ask, mode).status_code for mode in ("standby", "active")] == [202, 409]
        assert oms.state.mode == "draining"

    def test_it_ignores_a_switch(self, ask: httpx.Client, oms: Replica) -> None:
        """A switch is accepted and nothing happens."""
        oms.faults = Faults(ignore_switch=True)
        assert (switch(ask, "standby").status_code, oms.state.mode) == (202, "active")

    def test_it_drops_its_answer(self, ask: httpx.Client, oms: Replica) -> None:
        """A switch is done, and nobody is told."""
        oms.faults = Faults(drop_answer=True)
        with pytest.raises(httpx.RemoteProtocolError):
            switch(ask, "standby")
        assert (oms.state.mode, oms.state.switches[0].status) == ("draining", None)

    def test_it_resets_connections(self, ask: httpx.Client, oms: Replica) -> None:
        """Every request ends in a reset, and nothing is done; the mock's own paths still answer."""
        oms.faults = Faults(reset=True)
        for request in (lambda: told(ask), lambda: switch(ask, "standby")):
            with pytest.raises(httpx.ReadError):
                request()
        assert (ask.get("/mock/state").status_code, oms.state.mode) == (200, "active")

    def test_it_hangs(self, oms: Replica, ask: httpx.Client) -> None:
        """It acts and answers late, also where nobody waits any more."""
        oms.faults = Faults(hang_seconds=0.3)
        began = time.monotonic()
        assert ask.get("/health/deep").status_code == 200
        assert time.monotonic() - began >= 0.3
        with pytest.raises(httpx.ReadTimeout):
            ask.post("/admin/mode", json={"mode": "standby"}, timeout=0.05)
        until(lambda: oms.state.mode == "draining")

    def test_a_hanging_answer_does_not_hold_it_up(self, oms: Replica) -> None:
        """Closing ends what hangs at once."""
        oms.faults = Faults(hang_seconds=3600)
        with socket.create_connection(oms.bound, timeout=20) as connection:
            connection.sendall(b"GET /health/mode HTTP/1.1\r\nHost: oms\r\n\r\n")
            until(lambda: len(oms.requests) == 1)
            oms.restart()
            assert connection.recv(1024) == b""

    @pytest.mark.parametrize(
        ("faults", "struck", "spared"),
        [
            pytest.param({"mode_status": 500}, "/health/mode", "/health/deep", id="a status of the mode"),
            pytest.param({"health_status": 500}, "/health/deep", "/health/mode", id="a status of health"),
        ],
    )
    def test_it_strikes_so_often(
        self, oms: Replica, ask: httpx.Client, faults: dict[str, Any], struck: str, spared: str
    ) -> None:
        """Only a request that is disturbed counts; then only what is no single event is left."""
        oms.faults = Faults(**faults, never_drain=True, never_healthy=False, count=2)
        paths = (struck, spared, struck, struck)
        assert [ask.get(path).status_code for path in paths] == [500, 200, 500, 200]
        assert Faults(never_drain=True) == oms.faults

    @pytest.mark.parametrize(
        ("faults", "mode"),
        [
            pytest.param(Faults(ignore_switch=True, count=1), "standby", id="ignored"),
            pytest.param(Faults(drop_answer=True, count=1), "standby", id="dropped"),
            pytest.param(Faults(switch_status=500, count=1), "standby", id="failed"),
            pytest.param(Faults(forget_after_seconds=9, count=1), "standby", id="forgotten"),
            pytest.param(Faults(refuse_active=True, count=1), "active", id="refused"),
            pytest.param(Faults(reset=True, count=1), "active", id="reset"),
        ],
    )
    def test_a_switch_is_disturbed_once(
        self, oms: Replica, ask: httpx.Client, faults: Faults, mode: str
    ) -> None:
        """A switch uses up a count of one, whatever is wrong with it."""
        oms.faults = faults
        with suppress(httpx.TransportError):
            switch(ask, mode)
        assert Faults() == oms.faults

    def test_the_other_switch_is_spared(self, oms: Replica, ask: httpx.Client) -> None:
        """Refusing active and forgetting standby wait for the switch that they are about."""
        for faults, mode in (
            (Faults(refuse_active=True, count=1), "standby"),
            (Faults(forget_after_seconds=9, count=1), "active"),
        ):
            oms.faults = faults
            assert (202, faults) == (switch(ask, mode).status_code, oms.faults)

    @pytest.mark.parametrize(
        ("faults", "what"),
        [
            ({"switch_status": 99}, "switch_status must be from 200 to 599"),
            ({"mode_status": 600}, "mode_status must be from 200 to 599"),
            ({"health_status": 101}, "health_status must be from 200 to 599"),
            ({"hang_seconds": -1}, "hang_seconds must be from 0 to 86400"),
            ({"hang_seconds": float("nan")}, "hang_seconds must be from 0 to 86400"),
            ({"forget_after_seconds": 1e9}, "forget_after_seconds must be from 0 to 86400"),
            ({"count": 0}, "count must be from 1 to inf"),
        ],
    )
    def test_what_cannot_be_played_is_said(self, faults: dict[str, Any], what: str) -> None:
        """A fault out of range is refused by its name."""
        with pytest.raises(ValueError, match=f"^{what}$"):
            Faults(**faults)


class TestControl:
    def test_an_operator_switches_at_once(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """No drain, no token, no fault and no count stand in an operator's way, nor is it a switch request."""
        oms.faults = Faults(switch_status=500, never_drain=True, ignore_switch=True, count=1)
        body = {"mode": "standby", "reason": "operator/alice"}
        answer = ask.post("/mock/operator", json=body)
        clock.now += 60
        assert answer.status_code == 200
        assert (oms.state.mode, oms.state.reason, oms.state.switches) == ("standby", "operator/alice", ())

    def test_an_operator_is_not_forgotten(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """What was to be forgotten was the switch before."""
        oms.faults = Faults(forget_after_seconds=5)
        switch(ask, "standby")
        oms.operator("standby", "operator/alice")
        clock.now += 60
        assert (oms.state.mode, oms.state.reason) == ("standby", "operator/alice")

    def test_faults_are_replaced_over_http(self, oms: Replica, ask: httpx.Client) -> None:
        """What is not named is switched off."""
        ask.post("/mock/faults", json={"never_drain": True, "hang_seconds": 0})
        ask.post("/mock/faults", json={"switch_status": 409, "forget_after_seconds": 2})
        assert Faults(switch_status=409, forget_after_seconds=2) == oms.faults

    def test_the_state_tells_everything(self, clock: Clock, oms: Replica, ask: httpx.Client) -> None:
        """Modes, requests and the time without trading are told, over HTTP the same as in the process."""
        switch(ask, "standby")
        clock.now += 20
        ask.post("/admin/mode", content=b"\xff")
        switch(ask, "active")
        clock.now += 5
        state = oms.state
        assert {
            "address": oms.address,
            "mode": "active",
            "reason": "sync/1",
            "since": NOON + 20,
            "version": "1",
            "open_orders": 5,
            "healthy": True,
            "seconds_not_active": 20,
            "faults": Faults(),
            "history": (
                ModeChange(NOON, "active", None, "1"),
                ModeChange(NOON, "draining", "sync/1", "1"),
                ModeChange(NOON + 10, "standby", "sync/1", "1"),
                ModeChange(NOON + 20, "active", "sync/1", "1"),
            ),
            "switches": (
                Received(NOON, "POST", "/admin/mode", {"mode": "standby", "reason": "sync/1"}, 202),
                Received(NOON + 20, "POST", "/admin/mode", "\ufffd", 400),
                Received(NOON + 20, "POST", "/admin/mode", {"mode": "active", "reason": "sync/1"}, 202),
            ),
        } == {each.name: getattr(state, each.name) for each in dataclasses.fields(state)}
        assert json.loads(json.dumps(dataclasses.asdict(state))) == ask.get("/mock/state").json()

    def test_being_down_is_not_trading(self, clock: Clock, oms: Replica) -> None:
        """The time of a restart counts as time without trading."""
        clock.now += 100
        oms.restart(down_seconds=3600)
        clock.now += 7
        assert (oms.state.seconds_not_active, oms.state.healthy) == (7, False)
        oms.restart()
        clock.now += 100
        assert (oms.state.seconds_not_active, oms.state.healthy) == (7, True)

    def test_every_request_is_entered(self, oms: Replica, ask: httpx.Client) -> None:
        """Requests to the OMS are known in their order; those to the mock itself are not."""
        ask.get("/health/mode")
        ask.get("/mock/state")
        ask.get("/health/deep")
        assert (
            Received(NOON, "GET", "/health/mode", None, 200),
            Received(NOON, "GET", "/health/deep", None, 200),
        ) == oms.requests

    def test_a_request_is_known_when_it_arrives(self, oms: Replica, ask: httpx.Client) -> None:
        """One that is not answered has no status."""
        oms.faults = Faults(hang_seconds=3600)
        with pytest.raises(httpx.ReadTimeout):
            ask.get("/health/mode", timeout=0.05)
        until(lambda: oms.requests == (Received(NOON, "GET", "/health/mode", None, None),))

    @pytest.mark.parametrize(
        ("path", "body", "what"),
        [
            ("/mock/faults", "[]", "a JSON object is needed"),
            ("/mock/faults", "nonsense", "Expecting value: line 1 column 1 (char 0)"),
            ("/mock/faults", '{"nonsense": 1}', "got an unexpected keyword argument 'nonsense'"),
            ("/mock/faults", '{"never_drain": "yes"}', 'never_drain cannot be "yes"'),
            ("/mock/faults", '{"count": true}', "count cannot be true"),
            ("/mock/faults", '{"count": 0}', "count must be from 1 to inf"),
            ("/mock/operator", "{}", "missing a required argument: 'mode'"),
            ("/mock/operator", '{"mode": "draining"}', 'mode cannot be "draining"'),
            ("/mock/operator", '{"mode": "standby", "reason": 7}', "reason cannot be 7"),
            ("/mock/restart", '{"start_mode": "asleep"}', 'start_mode cannot be "asleep"'),
            ("/mock/restart", '{"startup_seconds": "3"}', 'startup_seconds cannot be "3"'),
            ("/mock/restart", '{"down_seconds": -1}', "down_seconds must be from 0 to 86400"),
        ],
    )
    def test_a_wrong_order_is_named(
        self, oms: Replica, ask: httpx.Client, path: str, body: str, what: str
    ) -> None:
        """An order with names or values that do not exist is 400, says what is wrong, and changes nothing."""
        before = oms.state
        answer = ask.post(path, content=body)
        assert (400, {"error": what}, before) == (answer.status_code, answer.json(), oms.state)

    @pytest.mark.parametrize(("method", "path"), [("GET", "/mock/faults"), ("POST", "/mock/nonsense")])
    def test_there_are_no_other_orders(self, ask: httpx.Client, method: str, path: str) -> None:
        """What the mock does not know is 404."""
        assert ask.request(method, path).status_code == 404


class TestConnections:
    def test_a_peer_that_goes_away_is_no_news(self, oms: Replica, capfd: pytest.CaptureFixture[str]) -> None:
        """A connection that is reset by the other side leaves nothing on stderr."""
        before = threading.active_count()
        with socket.create_connection(oms.bound, timeout=20) as connection:
            connection.sendall(b"GET /mock/state HTTP/1.1\r\nHost: oms\r\n\r\n")
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: threading.active_count() <= before)
        assert tuple(capfd.readouterr()) == ("", "")

    def test_a_mistake_of_ours_is(self, capfd: pytest.CaptureFixture[str], web: httpx.Client) -> None:
        """What a far end does not expect of itself is on stderr, and the connection closed."""

        def respond(question: Question) -> Answer:
            raise LookupError(question.path)

        listener = Listener(("127.0.0.1", 0), respond)
        with pytest.raises(httpx.RemoteProtocolError):
            web.get(f"http://{listener.address}/mistake")
        listener.close()
        assert "LookupError: /mistake" in capfd.readouterr().err


class TestReplicas:
    def test_they_stand_on_following_hosts_with_one_port(self) -> None:
        """Like the addresses of a headless Service: another host each, the same port."""
        with MockOms(replicas=3) as oms:
            bound = [replica.bound for replica in oms.replicas]
            assert oms.url == ",".join(replica.url for replica in oms.replicas)
        assert [(f"127.0.0.1{number}", bound[0][1]) for number in range(3)] == bound

    def test_each_has_its_own_state(self, web: httpx.Client) -> None:
        """What one is told, and what is wrong with it, is not the others'."""
        with MockOms(replicas=2, start_mode="active") as oms:
            first, second = oms.replicas
            first.faults = Faults(switch_status=500)
            for replica in oms.replicas:
                web.post(f"{replica.url}/admin/mode", json={"mode": "standby"})
            assert [first.state.mode, second.state.mode] == ["active", "standby"]

    def test_they_stand_where_they_are_told(self, web: httpx.Client) -> None:
        """Every address given is one replica."""
        with MockOms(listen=["127.0.0.7:0", "127.0.0.7:0"]) as oms:
            assert [replica.bound[0] for replica in oms.replicas] == ["127.0.0.7", "127.0.0.7"]
            assert {web.get(f"{replica.url}/health/mode").status_code for replica in oms.replicas} == {200}

    def test_an_address_may_be_of_ipv6(self, web: httpx.Client) -> None:
        """It is written in brackets, as in a URL."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("there is no IPv6 loopback here")
        with MockOms(listen=["[::1]:0"]) as oms:
            assert oms.url.startswith("http://[::1]:")
            assert web.get(f"{oms.url}/health/mode").status_code == 200

    def test_another_port_is_taken_where_one_is_not_free_on_every_host(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A port that is free on the first host alone is given back."""
        with MockOms(listen=["127.0.0.31:0"]) as other:
            taken = other.replicas[0].bound[1]
            bind = socket.socket.bind
            offered = iter([taken])

            def offer_the_taken_port_first(self: socket.socket, address: tuple[str, int]) -> None:
                bind(self, (address[0], address[1] or next(offered, 0)))

            monkeypatch.setattr(socket.socket, "bind", offer_the_taken_port_first)
            with MockOms(listen=["127.0.0.30:0"], replicas=2) as oms:
                assert taken not in {replica.bound[1] for replica in oms.replicas}

    def test_a_taken_address_is_said(self) -> None:
        """Nothing stays open where one address cannot be had."""
        with MockOms(listen=["127.0.0.21:0"]) as other:
            port = other.replicas[0].bound[1]
            with pytest.raises(OSError, match="in use"), MockOms(listen=[f"127.0.0.20:{port}"], replicas=2):
                pass
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.20", port)).close()

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param({"listen": ["127.0.0.1"]}, id="no port"),
            pytest.param({"listen": [":80"]}, id="no host"),
            pytest.param({"listen": ["127.0.0.1:http"]}, id="a port by name"),
            pytest.param({"listen": ["127.0.0.1:65536"]}, id="a port too high"),
            pytest.param({"listen": ["localhost:0"], "replicas": 2}, id="hosts that follow a name"),
            pytest.param({"listen": ["127.0.0.1:0", "127.0.0.2:0"], "replicas": 2}, id="both lists"),
            pytest.param({"replicas": 0}, id="no replica"),
            pytest.param({"drain_seconds": -1}, id="a negative drain"),
            pytest.param({"startup_seconds": float("inf")}, id="an endless start-up"),
        ],
    )
    def test_what_cannot_be_played_is_refused(self, wrong: dict[str, Any]) -> None:
        """Addresses that are none and times that cannot be are ValueErrors before anything listens."""
        with pytest.raises(ValueError, match=r".+"):
            MockOms(**wrong)


class TestProgram:
    COMMAND = (sys.executable, "-m", "rehearsal.mock_oms")

    def started(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def test_it_tells_its_addresses_and_ends_when_told(self, web: httpx.Client) -> None:
        """One JSON line a replica; SIGTERM ends it at once with 0, whatever hangs, and it says nothing more."""
        with self.started("--replicas", "2", "--start-mode", "active") as process:
            assert process.stdout
            lines = [json.loads(process.stdout.readline()) for _ in range(2)]
            urls = [f"http://{line.pop('address')}" for line in lines]
            assert lines == [{"event": "listening"}] * 2
            assert [web.get(f"{url}/health/mode").json()["mode"] for url in urls] == ["active"] * 2
            web.post(f"{urls[0]}/mock/faults", json={"hang_seconds": 3600})
            with pytest.raises(httpx.ReadTimeout):
                web.get(f"{urls[0]}/health/mode", timeout=0.1)
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0

    def test_its_token_comes_from_the_environment(self, web: httpx.Client) -> None:
        """MOCK_OMS_TOKEN is the token, so that none stands in a list of processes."""
        with self.started(MOCK_OMS_TOKEN=TOKEN) as process:
            assert process.stdout
            url = f"http://{json.loads(process.stdout.readline())['address']}/admin/mode"
            statuses = [
                web.post(url, json={"mode": "standby"}, headers=headers).status_code
                for headers in ({}, {"Authorization": f"Bearer {TOKEN}"})
            ]
            process.terminate()
            process.communicate(timeout=20)
        assert statuses == [401, 202]

    def test_help_says_what_can_be_done_to_it(self) -> None:
        """Every endpoint and every fault is in --help."""
        text = subprocess.run([*self.COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
        orders = ("/mock/state", "/mock/restart", "/mock/operator", "/mock/faults")
        assert [name for name in (*orders, *Faults.__annotations__) if name not in text] == []

    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param(["--drain-seconds", "-1"], id="a negative drain"),
            pytest.param(["--listen", "nowhere"], id="no address"),
            pytest.param(["--listen", "192.0.2.1:0"], id="an address that is not ours"),
        ],
    )
    def test_what_cannot_be_is_said_in_a_line(self, arguments: list[str]) -> None:
        """Wrong arguments end it with 2 and a sentence, not a traceback."""
        ended = subprocess.run([*self.COMMAND, *arguments], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "error: " in ended.stderr
        assert "Traceback" not in ended.stderr
