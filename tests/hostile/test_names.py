"""Names that hang, fail, are unknown, or stand for many: no command waits for a resolver past its time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.hostile.environment import BRIEF, PATIENT, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE, trigger
from tests.hostile.peer import Behaviour, Peer, reply, silence
from tests.hostile.process import Ending, Process, run
from tests.hostile.resolver import FAILS, HANGS, UNKNOWN, answering, looked_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.scene import Play

Table = Mapping[str, str | Sequence[str]]

LESS_THAN_A_LOOKUP = 20.0
"""Seconds; a lookup that hangs takes thirty."""


class Looked(NamedTuple):
    """How a command ended, and the names that it asked for."""

    ending: Ending
    names: list[str]


def told(command: str, table: Table, *oms: Peer | str, **environment: str) -> Looked:
    """Play a command whose names are answered by the table."""
    with tempfile.TemporaryDirectory() as folder:
        resolver = answering(Path(folder), table)
        settings = given(*oms, times=BRIEF) | environment | resolver
        return Looked(run(command, settings, within=5), looked_up(Path(folder)))


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(told, command, {"oms.test": answer}, "http://oms.test", OMS_EVERY_POD=every), id=name
        )
        for command in ("presync-standby", "postsync-verify")
        for answer, every in ((HANGS, "false"), (HANGS, "true"), (FAILS, "false"), (UNKNOWN, "true"))
        for name in (f"{command}, {answer}{', every pod' if every == 'true' else ''}",)
    ],
)
def test_a_name_that_is_not_resolved_takes_the_time_that_there_is(
    scene: Callable[[], Looked], play: Play
) -> None:
    """It is not reached in time, whatever the resolver does, and no lookup is piled on one that hangs."""
    ending, names = play(scene)
    assert ending.code == 3
    assert ending.seconds < LESS_THAN_A_LOOKUP
    assert names
    assert "oms.test" in ending.reason


@pytest.mark.parametrize(
    "scene",
    [pytest.param(partial(told, "presync-standby", {"oms.test": HANGS}, "http://oms.test"), id="hangs")],
)
def test_a_lookup_that_hangs_is_alone(scene: Callable[[], Looked], play: Play) -> None:
    """One lookup a name: those that hang do not add up."""
    _, names = play(scene)
    assert names == ["oms.test"]


class Paged(NamedTuple):
    """How syncfail-alert ended, and who was told."""

    ending: Ending
    events: int
    messages: int


SHORTLY = PATIENT | {"ALERT_TIMEOUT_SECONDS": "4", "ALERT_FALLBACK_AFTER_SECONDS": "0.5"}


def alert(
    table: Table,
    *oms: str,
    pagerduty: str = "127.0.0.1",
    fallback: str = "127.0.0.1",
    times: Mapping[str, str] = PATIENT,
) -> Paged:
    """Play syncfail-alert with PagerDuty and the fallback under these names."""
    with Peer(DELIVERED) as first, Peer(reply(200)) as second:
        environment = given(*oms, pagerduty=first, fallback=second, times=times)
        environment["PAGERDUTY_EVENTS_URL"] = environment["PAGERDUTY_EVENTS_URL"].replace(
            "127.0.0.1", pagerduty
        )
        environment["ALERT_FALLBACK_URL"] = environment["ALERT_FALLBACK_URL"].replace("127.0.0.1", fallback)
        with tempfile.TemporaryDirectory() as folder:
            ending = run("syncfail-alert", environment | answering(Path(folder), table), within=5)
        for event in first.asked(EVENT):
            trigger(event)
        return Paged(ending, len(first.asked(EVENT)), len(second.asked(MESSAGE)))


CROWD = [f"oms-{number}.test" for number in range(40)]
PAGERDUTY = {"pagerduty.test": ["127.0.0.1"], "fallback.test": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("scene", "events", "messages"),
    [
        pytest.param(
            partial(alert, {"oms.test": HANGS}, "http://oms.test"), 1, 0, id="the name of the OMS hangs"
        ),
        pytest.param(
            partial(
                alert,
                {**dict.fromkeys(CROWD, HANGS), **PAGERDUTY},
                *(f"http://{name}" for name in CROWD),
                pagerduty="pagerduty.test",
                fallback="fallback.test",
            ),
            1,
            0,
            id="forty names of the OMS hang",
        ),
        pytest.param(
            partial(alert, {"pagerduty.test": HANGS}, pagerduty="pagerduty.test", times=SHORTLY),
            0,
            1,
            id="PagerDuty's name hangs",
        ),
        pytest.param(
            partial(alert, {"pagerduty.test": UNKNOWN}, pagerduty="pagerduty.test", times=SHORTLY),
            0,
            1,
            id="PagerDuty's name is unknown",
        ),
        pytest.param(
            partial(alert, {"fallback.test": HANGS}, fallback="fallback.test"),
            1,
            0,
            id="the fallback's name hangs",
        ),
    ],
)
def test_no_name_costs_the_page(scene: Callable[[], Paged], events: int, messages: int, play: Play) -> None:
    """Somebody is told, and in time."""
    ending, told_pagerduty, told_fallback = play(scene)
    assert (ending.code, told_pagerduty, told_fallback) == (0, events, messages)
    assert ending.seconds < LESS_THAN_A_LOOKUP


def terminated_while_resolving() -> Looked:
    """Terminate presync-standby while the name of the OMS hangs."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        environment = given("http://oms.test") | answering(folder, {"oms.test": HANGS})
        with Process("presync-standby", environment) as process:
            while not looked_up(folder) and process.popen.poll() is None:
                time.sleep(0.02)
            process.terminate()
            return Looked(process.ends(LESS_THAN_A_LOOKUP), looked_up(folder))


@pytest.mark.parametrize("scene", [pytest.param(terminated_while_resolving, id="presync-standby")])
def test_a_lookup_that_hangs_holds_no_process(scene: Callable[[], Looked], play: Play) -> None:
    """SIGTERM ends it, though the C library cannot be interrupted."""
    ending, names = play(scene)
    assert (ending.code, names) == (143, ["oms.test"])


ABSENT = {"STANDBY_IF_ABSENT": "skip", "STANDBY_ABSENT_SECONDS": "0.4"}


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        pytest.param(partial(told, "presync-standby", table, *urls, **ABSENT), code, id=name)
        for name, table, urls, code in (
            ("an unknown name is absence", {"oms.test": UNKNOWN}, ["http://oms.test"], 0),
            (
                "two of them are",
                {"a.test": UNKNOWN, "b.test": UNKNOWN},
                ["http://a.test", "http://b.test"],
                0,
            ),
            (
                "one of two is not",
                {"a.test": UNKNOWN, "b.test": FAILS},
                ["http://a.test", "http://b.test"],
                3,
            ),
            ("a resolver that fails tells of none", {"oms.test": FAILS}, ["http://oms.test"], 3),
            ("nor does one that hangs", {"oms.test": HANGS}, ["http://oms.test"], 3),
            ("nor a closed port", {"oms.test": ["127.0.0.1"]}, ["http://oms.test:1"], 3),
        )
    ],
)
def test_only_an_unknown_name_is_absence(scene: Callable[[], Looked], code: int, play: Play) -> None:
    """With STANDBY_IF_ABSENT=skip the first installation succeeds, and nothing else does."""
    ending, _ = play(scene)
    assert ending.code == code


class Pods(NamedTuple):
    """How presync-standby ended for three addresses of one name, what they were told, and as whom."""

    ending: Ending
    told: list[list[str]]
    hosts: set[str | None]
    port: int


def every_pod(*third: Behaviour, seconds: str = "25", minimum: str = "1") -> Pods:
    """Play presync-standby for a name of three addresses, the last of which may misbehave."""
    pods = [Oms(), Oms(), Oms()]
    with ExitStack() as stack:
        behaviours = [pods[0].answers(), pods[1].answers(), *(third or [pods[2].answers()])]
        first = stack.enter_context(Peer(behaviours[0]))
        others = [
            stack.enter_context(Peer(behaviour, host=f"127.0.0.{number}", port=first.port))
            for number, behaviour in enumerate(behaviours[1:], 2)
        ]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        resolver = answering(folder, {"oms.test": [peer.host for peer in (first, *others)]})
        settings = given(f"http://oms.test:{first.port}", STANDBY_TIMEOUT_SECONDS=seconds)
        ending = run(
            "presync-standby",
            settings | {"OMS_EVERY_POD": "true", "OMS_MIN_TARGETS": minimum} | resolver,
            within=6,
        )
        hosts = {request.header("host") for peer in (first, *others) for request in peer.requests}
        return Pods(ending, [pod.modes_told for pod in pods], hosts, first.port)


@pytest.mark.parametrize("scene", [pytest.param(every_pod, id="three pods")])
def test_every_address_of_a_name_goes_into_standby(scene: Callable[[], Pods], play: Play) -> None:
    """Each is told, under the name that they share."""
    ending, modes_told, hosts, port = play(scene)
    assert (ending.code, modes_told, hosts) == (0, 3 * [["standby"]], {f"oms.test:{port}"})
    assert len(ending.verdict["targets"]) == 3


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(partial(every_pod, silence, seconds="3"), id="never answers"),
        pytest.param(partial(every_pod, reply(503), seconds="3"), id="is busy"),
        pytest.param(partial(every_pod, Oms(stuck=True).answers(), seconds="3"), id="goes on trading"),
        pytest.param(partial(every_pod, seconds="3", minimum="4"), id="is one too few"),
    ],
)
def test_one_pod_that_does_not_follow_returns_all(scene: Callable[[], Pods], play: Play) -> None:
    """Two of three are no standby: whoever was moved trades again."""
    ending, modes_told, _, _ = play(scene)
    assert ending.code == 3
    for modes in modes_told:
        assert modes == [] or modes[-1] == "active"
