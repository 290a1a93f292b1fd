"""What is wrong with the environment is said at once, by name, without a value, and before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.hostile.environment import BRIEF, PATIENT, given
from tests.hostile.oms import SWITCH, Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE, alert, trigger
from tests.hostile.peer import Peer, Request, reply, routes
from tests.hostile.process import COMMANDS, FALLBACK_PATH, ROUTING_KEY, TOKEN, Ending, run
from tests.hostile.scene import Played

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.pages import Paged
    from tests.hostile.scene import Play, Scene

Faults = Mapping[str, tuple[str, ...]]

DURATION = ("0", "-1", "nan", "inf", "5s", "1e999")
COUNT = ("0", "-1", "1.5", "many")
FLAG = ("maybe", "2")
EXPRESSION = (".mode ==", "(", "nope(.)", "$unbound")
PATH = ("health", "/a b", "/a\tb")
FILE = ("/nonexistent", "/", os.devnull)

LOGGING: Faults = {
    "LOG_FORMAT": ("xml",),
    "LOG_LEVEL": ("loud",),
    "SECRETS_DIR": ("/nonexistent", os.devnull),
}
OMS: Faults = {
    "OMS_URL": (
        "ftp://oms",
        "oms:8080",
        "http://",
        "http://oms:99999",
        "http://oms:0",
        "http://a..b",
        "http://[::1",
        "http://oms?x=1",
        "http://oms,gopher://oms",
        ",",
        f"http://{'a' * 64}.test",
        "http://u5er-1nfo:p4ss-1nfo@",
        "http://o m s",
    ),
    "OMS_EVERY_POD": FLAG,
    "OMS_MIN_TARGETS": COUNT,
    "OMS_ADMIN_TOKEN": (f"{TOKEN}\n{TOKEN}", f"{TOKEN}ü", f"{TOKEN}\udcff", f"{TOKEN}\x7f"),
    "OMS_CA_FILE": FILE,
    "OMS_CLIENT_CERT_FILE": FILE,
    "OMS_MODE_PATH": PATH,
    "OMS_HEALTH_PATH": PATH,
    "OMS_SWITCH_PATH": PATH,
    "OMS_SWITCH_METHOD": ("PO ST", "POST\r\nX: 1", "P\u00d6ST"),
    "OMS_ACTIVE_BODY": ("{", "empty", "1, 2", "error"),
    "OMS_STANDBY_CONDITION": EXPRESSION,
    "OMS_ACTIVE_CONDITION": EXPRESSION,
    "OMS_OWNER_FILTER": EXPRESSION,
    "OMS_UNNAMED_IS_OURS": FLAG,
    "OMS_ATTEMPT_TIMEOUT_SECONDS": DURATION,
    "OMS_MAX_BODY_BYTES": COUNT,
    "STANDBY_UNDO_SECONDS": DURATION,
}
STANDBY: Faults = {
    "OMS_STANDBY_BODY": ("{", "empty", "1, 2"),
    "STANDBY_TIMEOUT_SECONDS": DURATION,
    "STANDBY_POLL_SECONDS": DURATION,
    "STANDBY_ON_FAILURE": ("undo",),
    "STANDBY_IF_ABSENT": ("ignore",),
    "STANDBY_ABSENT_SECONDS": DURATION,
    "STANDBY_IF_FOREIGN": ("no",),
    "STANDBY_GUARD_CONDITION": EXPRESSION,
}
HEALTH: Faults = {
    "VERIFY_POLL_SECONDS": DURATION,
    "VERIFY_CONDITION": EXPRESSION,
    "VERIFY_CONSECUTIVE": COUNT,
}
VERIFICATION: Faults = {
    **HEALTH,
    "VERIFY_TIMEOUT_SECONDS": DURATION,
    "VERIFY_FAIL_CONDITION": EXPRESSION,
}
INCIDENT: Faults = {
    "PAGERDUTY_SEVERITY": ("fatal",),
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": DURATION,
    "ARGOCD_URL": ("argo", "ssh://argo"),
    "ALERT_FALLBACK_URL": (FALLBACK_PATH, f"mailto:{TOKEN}", f"http://oms:99999{FALLBACK_PATH}"),
    "ALERT_FALLBACK_FORMAT": ("pigeon",),
}
ALERT: Faults = {
    "ALERT_TIMEOUT_SECONDS": DURATION,
    "ALERT_GATHER_SECONDS": DURATION,
    "ALERT_RECOVERY": ("maybe",),
    "ALERT_RUNBOOK_URL": ("runbook",),
    "ALERT_FALLBACK_AFTER_SECONDS": DURATION,
}

OF_COMMAND: Mapping[str, Faults] = {
    "presync-standby": {**LOGGING, **OMS, **STANDBY},
    "postsync-verify": {
        **LOGGING,
        **OMS,
        **VERIFICATION,
        **INCIDENT,
        "VERIFY_RETURN_TO_ACTIVE": FLAG,
        "VERIFY_SOAK_SECONDS": ("-1", "nan", "inf"),
        "PAGERDUTY_EVENTS_URL": ("events", "ftp://events"),
    },
    "return-to-active": {**LOGGING, **OMS, **VERIFICATION},
}


def rounds(faults: Faults) -> list[dict[str, str]]:
    """Return environments in which every variable is wrong, until each wrong value was had once."""
    most = max(len(values) for values in faults.values())
    return [{name: values[turn % len(values)] for name, values in faults.items()} for turn in range(most)]


class Heard(NamedTuple):
    """How a command ended, and what far ends that it should not have spoken to have heard of it."""

    ending: Ending
    connections: int


def misconfigured(command: str, faults: Mapping[str, str], *arguments: str) -> Heard:
    """Play a command with these faults in an otherwise good environment."""
    oms = Oms(mode="standby")
    with Peer(oms.answers()) as peer:
        environment = given(peer, pagerduty=peer) | dict(faults)
        return Heard(run(command, environment, *arguments, within=5), peer.connections)


ALL_AT_ONCE = [
    pytest.param(partial(misconfigured, command, faults), faults, id=f"{command}, {turn}")
    for command, of_command in OF_COMMAND.items()
    for turn, faults in enumerate(rounds(of_command))
    if command == "presync-standby" or turn in {0, 2}
]
ONE_BY_ONE: list[tuple[str, dict[str, str], str]] = [
    ("presync-standby", {"OMS_URL": ""}, "OMS_URL"),
    ("presync-standby", {"OMS_URL": "http://oms:0"}, "OMS_URL"),
    ("presync-standby", {"OMS_ADMIN_TOKEN": f"{TOKEN}\n{TOKEN}"}, "OMS_ADMIN_TOKEN"),
    ("presync-standby", {"STANDBY_IF_ABSENT": "skip"}, "STANDBY_ABSENT_SECONDS"),
    ("presync-standby", {"OMS_CLIENT_KEY_FILE": os.devnull}, "OMS_CLIENT_CERT_FILE"),
    ("presync-standby", {"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ("presync-standby", {"OMS_STANDBY_BODY": '{"reason": $reson}'}, "OMS_STANDBY_BODY"),
    ("postsync-verify", {"ARGOCD_APP_NAME": ""}, "ARGOCD_APP_NAME"),
    ("postsync-verify", {"VERIFY_SOAK_SECONDS": "soon"}, "VERIFY_SOAK_SECONDS"),
    ("return-to-active", {"VERIFY_CONSECUTIVE": "0"}, "VERIFY_CONSECUTIVE"),
]


@pytest.mark.parametrize(
    ("scene", "faults"),
    [
        *ALL_AT_ONCE,
        *(
            pytest.param(partial(misconfigured, command, faults), [named], id=f"{command}, {named} alone")
            for command, faults, named in ONE_BY_ONE
        ),
        *(
            pytest.param(
                partial(misconfigured, command, {"OMS_URL": "oms"}, "--check"),
                ["OMS_URL"],
                id=f"{command} --check",
            )
            for command in COMMANDS
        ),
    ],
)
def test_every_fault_is_named_and_nothing_is_sent(
    scene: Callable[[], Heard], faults: Mapping[str, str], play: Play
) -> None:
    """One exit code, every variable by its name, and no far end has heard of it."""
    ending, connections = play(scene)
    assert (ending.code, connections) == (2, 0)
    assert [name for name in faults if name not in ending.told] == []


PAGES_ALL_THE_SAME: Faults = {**LOGGING, **OMS, **HEALTH, **INCIDENT, **ALERT}
WITH_GOOD_OMS = {
    name: values
    for name, values in PAGES_ALL_THE_SAME.items()
    if not name.startswith("OMS_") and name not in {"ALERT_RECOVERY", "STANDBY_UNDO_SECONDS"}
}


def alert_with(faults: Mapping[str, str], **settings: str) -> Paged:
    """Play syncfail-alert with these faults and an OMS that could be recovered."""
    with Peer(Oms(mode="standby", reason="argocd-sync").answers()) as oms:
        return alert(DELIVERED, None, oms, times=PATIENT | settings | dict(faults))


@pytest.mark.parametrize(
    ("scene", "faults"),
    [
        pytest.param(partial(alert_with, faults), faults, id=f"all, {turn}")
        for turn, faults in enumerate(rounds(PAGES_ALL_THE_SAME)[:3])
    ],
)
def test_no_fault_costs_the_page(scene: Callable[[], Paged], faults: Mapping[str, str], play: Play) -> None:
    """What is wrong beside the key becomes the default, and is named to whoever is paged and in the log."""
    ending, events, _ = play(scene)
    assert (ending.code, len(events)) == (0, 1)
    trigger(events[0])
    assert [name for name in faults if name not in ending.told] == []
    assert [name for name in faults if name not in events[0].body.decode()] == []


def alert_with_faults_beside_a_good_oms() -> Played:
    """Play syncfail-alert that is to recover, with faults that have nothing to do with recovery."""
    oms = Oms(mode="standby", reason="argocd-sync")
    with Peer(routes({EVENT: DELIVERED}, otherwise=oms.answers())) as peer:
        faults = rounds(WITH_GOOD_OMS)[0]
        environment = given(peer, pagerduty=peer, ALERT_RECOVERY="return-to-active") | faults
        return Played(run("syncfail-alert", environment, within=15), peer, oms)


@pytest.mark.parametrize(
    "scene", [pytest.param(alert_with_faults_beside_a_good_oms, id="recovery was wanted")]
)
def test_a_fault_rules_recovery_out(scene: Scene, play: Play) -> None:
    """Nothing is returned to trading by an environment that nobody meant."""
    ending, peer, oms = play(scene)
    assert (ending.code, oms.mode, peer.asked(SWITCH)) == (0, "standby", [])


@pytest.mark.parametrize(
    ("scene", "named"),
    [
        pytest.param(
            partial(alert, DELIVERED, reply(200), times=PATIENT | {name: value}),
            name,
            id=f"{name}={value[:20]}",
        )
        for name, value in (
            ("PAGERDUTY_ROUTING_KEY", ""),
            ("PAGERDUTY_ROUTING_KEY", " "),
            ("PAGERDUTY_EVENTS_URL", "events"),
            ("PAGERDUTY_EVENTS_URL", "ftp://events"),
            ("PAGERDUTY_EVENTS_URL", "http://127.0.0.1:99999/v2/enqueue"),
        )
    ],
)
def test_without_pagerduty_the_fallback_is_told(scene: Callable[[], Paged], named: str, play: Play) -> None:
    """It is misconfigured, and somebody hears of it all the same."""
    ending, events, messages = play(scene)
    assert (ending.code, events, len(messages)) == (2, [], 1)
    assert named in ending.reason


LONG = "x" * 5000
STRANGE: Mapping[str, dict[str, str]] = {
    "paths in another script": {
        "OMS_MODE_PATH": "/mödé",
        "OMS_HEALTH_PATH": "/gesundheit/ü",
        "OMS_SWITCH_PATH": "/ß",
    },
    "a path with a query": {
        "OMS_MODE_PATH": "/health/mode?pod=1&x=%zz",
        "OMS_HEALTH_PATH": "/health/deep#now",
    },
    "paths beyond all bounds": {"OMS_MODE_PATH": "/" + "a" * 70_000, "OMS_HEALTH_PATH": "/" + "a" * 70_000},
    "a path of brackets": {"OMS_MODE_PATH": "/[{^`|}]", "OMS_HEALTH_PATH": "//evil.test/x"},
    "a reason of bytes": {"OMS_REASON": "\udcff\udcfe", "HOOK_RUN_ID": '"}\\'},
    "a reason beyond all bounds": {"OMS_REASON": LONG, "HOOK_RUN_ID": LONG},
    "names in another script": {
        "ARGOCD_APP_NAME": "büro-🏦",
        "ARGOCD_APP_NAMESPACE": "\udcff",
        "PAGERDUTY_SOURCE": "ß",
    },
    "names beyond all bounds": {
        "ARGOCD_APP_NAME": LONG,
        "ARGOCD_APP_NAMESPACE": LONG,
        "PAGERDUTY_SOURCE": LONG,
        "PAGERDUTY_COMPONENT": LONG,
        "PAGERDUTY_DEDUP_KEY": LONG,
        "ALERT_RUNBOOK_URL": f"https://runbook.test/{LONG}",
    },
    "times beyond all bounds": {
        "OMS_ATTEMPT_TIMEOUT_SECONDS": "1e300",
        "STANDBY_UNDO_SECONDS": "1e300",
        "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "1e300",
        "ALERT_FALLBACK_AFTER_SECONDS": "1e300",
    },
    "sizes beyond all bounds": {"OMS_MAX_BODY_BYTES": "9" * 300, "VERIFY_CONSECUTIVE": "1"},
    "times below all bounds": {"STANDBY_POLL_SECONDS": "1e-300", "VERIFY_POLL_SECONDS": "1e-300"},
    "expressions that fail": {
        "OMS_STANDBY_CONDITION": "error",
        "OMS_ACTIVE_CONDITION": '"yes"',
        "OMS_OWNER_FILTER": "range(1e9)",
        "VERIFY_CONDITION": "true, true",
    },
    "an expression without an end": {"OMS_OWNER_FILTER": "repeat(1)", "VERIFY_CONDITION": "empty"},
}


def strange(command: str, settings: Mapping[str, str]) -> Played:
    """Play a command in an environment that is not wrong, or hardly."""
    oms = Oms(mode="standby" if command == "postsync-verify" else "active")
    with Peer(routes({EVENT: DELIVERED, MESSAGE: reply(200)}, otherwise=oms.answers())) as peer:
        environment = given(peer, pagerduty=peer, times=BRIEF) | dict(settings)
        return Played(run(command, environment, within=5), peer, oms)


@pytest.mark.parametrize(
    ("scene", "command"),
    [
        pytest.param(partial(strange, command, settings), command, id=f"{command}, {name}")
        for name, settings in STRANGE.items()
        for command in COMMANDS
        if command
        in {"syncfail-alert", "postsync-verify" if "VERIFY_CONSECUTIVE" in settings else "presync-standby"}
        and not (command == "presync-standby" and "names" in name)
    ],
)
def test_what_is_strange_crashes_nothing(scene: Scene, command: str, play: Play) -> None:
    """It works, is said to be misconfigured, or times out; a page goes out in any case."""
    ending, peer, _ = play(scene)
    assert ending.code in {0, 2, 3}
    if command == "syncfail-alert":
        assert ending.code == 0
        assert _dedup_key(peer.asked(EVENT)[0])


def _dedup_key(request: Request) -> Any:
    event = request.document
    assert event["routing_key"] == ROUTING_KEY
    assert len(event["payload"]["summary"]) <= 1024
    assert len(event["dedup_key"]) <= 255
    return event["dedup_key"]


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    """A file of a variable's name is its value, without the line's end; the environment wins."""
    (tmp_path / "OMS_ADMIN_TOKEN").write_text(f"{TOKEN}\n")
    (tmp_path / "STANDBY_TIMEOUT_SECONDS").write_text("nonsense")
    oms = Oms()
    with Peer(oms.answers()) as peer:
        environment = given(peer, SECRETS_DIR=str(tmp_path), OMS_ADMIN_TOKEN="")
        assert run("presync-standby", environment, within=5).code == 0
    assert {request.header("authorization") for request in peer.requests} == {f"Bearer {TOKEN}"}


def test_faults_of_files_are_named_together(tmp_path: Path) -> None:
    """A file that is none, one that is not UTF-8 and a variable that is wrong are one ending."""
    (tmp_path / "OMS_ADMIN_TOKEN").mkdir()
    (tmp_path / "OMS_REASON").write_bytes(b"\xff\xfe")
    (tmp_path / "OMS_URL").write_text("")
    environment = given(SECRETS_DIR=str(tmp_path), OMS_ADMIN_TOKEN="", OMS_EVERY_POD="maybe")
    ending = run("presync-standby", environment, within=5)
    assert ending.code == 2
    for name in ("OMS_ADMIN_TOKEN", "OMS_REASON", "OMS_URL", "OMS_EVERY_POD"):
        assert name in ending.told
