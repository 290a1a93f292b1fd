"""No secret comes out, whoever echoes it, however it is cut, whatever the ending and the level of the log."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.hostile.environment import BRIEF, PATIENT, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT, MESSAGE, alert
from tests.hostile.peer import Behaviour, Connection, Peer, Request, in_turn, raw, redirect, reply, reply_json
from tests.hostile.process import (
    COMMANDS,
    FALLBACK_PATH,
    FALLBACK_QUERY,
    ROUTING_KEY,
    TOKEN,
    USER_INFO,
    Process,
    assert_no_secret_in,
    run,
)
from tests.hostile.scene import Played

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.pages import Paged
    from tests.hostile.scene import Play, Scene

DEBUG = {"LOG_LEVEL": "debug"}
TALKATIVE_BRIEF = BRIEF | DEBUG
TALKATIVE = PATIENT | DEBUG

AUTHORIZATION = f"Bearer {TOKEN}"
EVERYTHING = f"{AUTHORIZATION} {USER_INFO} {ROUTING_KEY} {FALLBACK_PATH}?{FALLBACK_QUERY}"
KNOWN = {
    "presync-standby": f"{AUTHORIZATION} {USER_INFO}",
    "postsync-verify": EVERYTHING,
    "syncfail-alert": EVERYTHING,
    "return-to-active": f"{AUTHORIZATION} {USER_INFO}",
}
"""Whatever secrets a command is given, in one line."""


def echo(secrets: str, document: Mapping[str, str], code: int = 200, *, padding: int = 0) -> Behaviour:
    """Answer with secrets behind so much padding."""
    return reply_json({**document, "note": "x" * padding + secrets}, code, [("X-Echo", secrets)])


def told_by(command: str, behaviour: Behaviour, *arguments: str) -> Played:
    """Play a command whose far ends all answer everything like this."""
    with Peer(behaviour) as peer:
        environment = given(
            peer.url.replace("://", f"://{USER_INFO}@"),
            pagerduty=peer,
            fallback=peer,
            times=TALKATIVE_BRIEF,
            ALERT_FALLBACK_AFTER_SECONDS="0.2",
        )
        return Played(run(command, environment, *arguments, within=15), peer, Oms())


GOOD = {"mode": "active", "status": "healthy", "exchange_connections": "all_connected"}


def echoes(secrets: str) -> dict[str, Behaviour]:
    """Return the ways to tell somebody his own secrets."""
    return {
        "active and healthy": echo(secrets, GOOD),
        "held by somebody": echo(secrets, GOOD | {"mode": "standby", "reason": secrets}),
        "held by a secret": echo(secrets, GOOD | {"mode": "standby", "reason": TOKEN}),
        "a mode that is a secret": echo(secrets, {"mode": TOKEN, TOKEN: TOKEN}),
        "202": echo(secrets, GOOD, 202),
        "refused": echo(secrets, {}, 403),
        "unknown": echo(secrets, {}, 400),
        "busy": echo(secrets, {}, 503),
        "no document": reply(200, secrets.encode()),
        "no HTTP": raw(f"{secrets}\r\n\r\n".encode()),
        "a redirect": redirect(302, f"http://127.0.0.1:1/{secrets}"),
    }


LOOKS = {"active and healthy", "no document"}
MOST = {"active and healthy", "held by a secret", "refused"}
OF_COMMAND = {
    "presync-standby": MOST | {"a mode that is a secret", "no document", "no HTTP"},
    "syncfail-alert": echoes("").keys(),
}
"""What would only be the same again is left out."""


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            partial(told_by, command, behaviour, *arguments), id=" ".join([command, *arguments, name])
        )
        for command in COMMANDS
        for name, behaviour in echoes(KNOWN[command]).items()
        for arguments in ((), ("--check",))
        if name in (LOOKS if arguments else OF_COMMAND.get(command, MOST))
    ],
)
def test_an_echoed_secret_is_not_passed_on(scene: Scene, play: Play) -> None:
    """Each far end gets its own secret only; nothing of any is told."""
    ending, peer, _ = play(scene)
    assert_no_secret_in(ending.told)
    for request in peer.requests:
        authorization = request.header("authorization")
        if request.route not in {EVENT, MESSAGE}:
            assert authorization == f"Bearer {TOKEN}"
            assert ROUTING_KEY not in request.body.decode()
            continue
        assert authorization is None
        assert_no_secret_in(
            request.body.decode().replace(ROUTING_KEY, "", 1 if request.route == EVENT else 0)
        )


def modes_cut_anywhere() -> Played:
    """Play presync-standby where the mode document changes with every look and is longer than what is logged."""
    oms = Oms()
    draining = {"mode": "draining"}
    paddings = (*range(80, 210, 7), *range(890, 1040, 7))
    modes = [echo(AUTHORIZATION, draining, padding=padding) for padding in paddings]
    with Peer(oms.answers(mode=in_turn(*modes, oms.read_mode))) as peer:
        return Played(run("presync-standby", given(peer, times=TALKATIVE), within=20), peer, oms)


def refusals_cut_anywhere() -> Played:
    """Play presync-standby where the switch is answered many times with an error longer than what is quoted."""
    oms = Oms()
    errors = [reply(503, b"x" * padding + AUTHORIZATION.encode()) for padding in (169, 176, 183, 190)]
    with Peer(oms.answers(switch=in_turn(*errors, oms.switch))) as peer:
        return Played(run("presync-standby", given(peer, times=TALKATIVE), within=20), peer, oms)


def reasons_cut_anywhere() -> Played:
    """Play presync-standby where so many targets answer so much that not all of the reason is kept."""
    with ExitStack() as stack:
        targets = [
            stack.enter_context(Peer(reply(500, b"y" * (padding * 7) + AUTHORIZATION.encode())))
            for padding in range(30)
        ]
        return Played(
            run("presync-standby", given(*targets, times=TALKATIVE_BRIEF), within=10), targets[0], Oms()
        )


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(modes_cut_anywhere, id="mode documents"),
        pytest.param(refusals_cut_anywhere, id="errors"),
        pytest.param(reasons_cut_anywhere, id="the reason"),
    ],
)
def test_no_cut_goes_through_a_secret(scene: Scene, play: Play) -> None:
    """What is cut was cleaned before, so that no half of a secret stays."""
    ending, _, _ = play(scene)
    assert_no_secret_in(ending.told)


def page_cut_anywhere() -> Paged:
    """Play syncfail-alert where documents are longer than a page may be, and PagerDuty echoes errors."""
    errors = [reply(503, b"x" * padding + f"{ROUTING_KEY} {TOKEN}".encode()) for padding in (0, 190)]
    with ExitStack() as stack:
        targets = [
            stack.enter_context(
                Peer(echo(AUTHORIZATION, {"mode": "standby", "status": "starting"}, padding=padding))
            )
            for padding in (0, 900, 950, 1000, 100_000, 200_000, 400_000)
        ]
        return alert(in_turn(*errors, DELIVERED), reply(200), *targets, times=TALKATIVE)


@pytest.mark.parametrize("scene", [pytest.param(page_cut_anywhere, id="documents and errors")])
def test_a_page_holds_no_secret(scene: partial[Paged], play: Play) -> None:
    """A page goes to people: it holds the key that it needs, in its place, and nothing else."""
    _, events, _ = play(scene)
    for event in events:
        document = event.document
        assert document.pop("routing_key") == ROUTING_KEY
        assert_no_secret_in(json.dumps(document))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_value(command: str) -> None:
    """--help tells names, defaults and meanings, never what the environment holds."""
    environment = given("http://127.0.0.1:1", pagerduty="http://127.0.0.1:1")
    for argument in ("--help", "--version"):
        with Process(command, environment, argument) as process:
            assert process.exit_code(15) == 0
            assert_no_secret_in(process.told())


def test_a_console_is_told_no_more() -> None:
    """The format for people is redacted as well."""
    oms = Oms()

    def mode(connection: Connection, request: Request) -> None:
        echo(AUTHORIZATION, {"mode": oms.mode, "reason": AUTHORIZATION})(connection, request)

    with (
        Peer(oms.answers(mode=mode, switch=echo(AUTHORIZATION, {}, 403))) as peer,
        Process("presync-standby", given(peer, times=TALKATIVE_BRIEF, LOG_FORMAT="console")) as process,
    ):
        process.exit_code(15)
        assert "verdict" in process.told()
        assert_no_secret_in(process.told())
