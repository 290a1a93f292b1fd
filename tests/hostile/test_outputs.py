"""What a command says reaches whoever can be reached, and where it cannot be said changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hostile.environment import BRIEF, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT
from tests.hostile.peer import Behaviour, Peer, reply, reply_json, routes
from tests.hostile.process import COMMANDS, Process, run

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = ("presync-standby", Oms().answers(switch=reply(403)), 1)
TIMED_OUT = ("postsync-verify", Oms().answers(health=reply(503)), 3)
PAGED = ("syncfail-alert", routes({EVENT: DELIVERED}), 0)


@pytest.mark.parametrize(
    ("command", "behaviour", "code", "redirection"),
    [
        pytest.param(*REFUSED, ">&-", id="refused; closed"),
        pytest.param(*REFUSED, ">/dev/full 2>&1", id="refused; full, standard error too"),
        pytest.param(*TIMED_OUT, ">&- 2>&-", id="timed out; closed, standard error too"),
        pytest.param(*PAGED, "<&- >&- 2>&-", id="paged; all closed"),
        pytest.param(*PAGED, ">/dev/full", id="paged; full"),
    ],
)
def test_a_log_that_nobody_can_read_changes_no_ending(
    command: str, behaviour: Behaviour, code: int, redirection: str
) -> None:
    """The exit code and the termination log are what they would be."""
    with (
        Peer(behaviour) as peer,
        Process(
            command,
            given(peer, pagerduty=peer, times=BRIEF),
            through=["sh", "-c", f'exec "$0" {redirection}'],
        ) as process,
    ):
        assert process.exit_code(20) == code
        assert str(code) in process.termination_log()


def test_a_pipe_that_breaks_changes_no_ending() -> None:
    """Who reads the log may go away."""
    with (
        Peer(Oms().answers(switch=reply(403))) as peer,
        Process(
            "presync-standby",
            given(peer, times=BRIEF),
            through=["bash", "-c", '"$0" 2>/dev/null | true; exit ${PIPESTATUS[0]}'],
        ) as process,
    ):
        assert process.exit_code(20) == 1
        assert "1" in process.termination_log()


def test_no_termination_log_is_made(tmp_path: Path) -> None:
    """It is written where there is one, which is where Kubernetes reads it."""
    absent = tmp_path / "termination-log"
    with (
        Peer(Oms().answers()) as peer,
        Process("presync-standby", given(peer, TERMINATION_LOG=str(absent))) as process,
    ):
        assert process.exit_code(20) == 0
    assert not absent.exists()


@pytest.mark.parametrize("where", ["/dev/full", "/", "/nonexistent/termination-log"])
def test_a_termination_log_that_cannot_be_written_changes_no_ending(where: str) -> None:
    """The verdict is on standard output all the same."""
    with (
        Peer(Oms().answers()) as peer,
        Process("presync-standby", given(peer, TERMINATION_LOG=where)) as process,
    ):
        assert process.exit_code(20) == 0
        assert '"verdict"' in process.told()


def test_an_older_termination_log_is_replaced(tmp_path: Path) -> None:
    """What an earlier container left does not stay behind the reason."""
    log = tmp_path / "termination-log"
    log.write_text("x" * 4096)
    with (
        Peer(Oms().answers()) as peer,
        Process("presync-standby", given(peer, TERMINATION_LOG=str(log))) as process,
    ):
        assert process.exit_code(20) == 0
    assert "x" * 100 not in log.read_text()


LONG_WORD = "größe🏦" * 300


def test_a_long_reason_is_cut_to_what_kubernetes_keeps() -> None:
    """At most 4096 bytes, and whole characters, of however many targets (each ending checks it)."""
    with Peer(reply(500, LONG_WORD.encode())) as peer:
        targets = [f"{peer.url}/{number}" for number in range(60)]
        ending = run("presync-standby", given(*targets, times=BRIEF), within=5)
    assert ending.code == 3
    assert len(ending.verdict["targets"]) == 60


@pytest.mark.parametrize(
    ("command", "behaviour", "code", "level"),
    [
        pytest.param(*REFUSED, "error", id="refused; error"),
        pytest.param(*TIMED_OUT, "critical", id="timed out; critical"),
        pytest.param(*PAGED, "critical", id="paged; critical"),
    ],
)
def test_the_verdict_is_told_at_any_level(command: str, behaviour: Behaviour, code: int, level: str) -> None:
    """Nothing else is, where nothing is that bad."""
    with Peer(behaviour) as peer:
        ending = run(command, given(peer, pagerduty=peer, times=BRIEF, LOG_LEVEL=level), within=5)
    assert (ending.code, [line["event"] for line in ending.lines]) == (code, ["verdict"])


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\nforged\u2028line\u0085\x00\x9b5m"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_peer_writes_to_a_terminal(log_format: str) -> None:
    """Whatever control characters a far end sends, none comes out, and no line of its making."""
    oms = Oms()
    with (
        Peer(
            oms.answers(
                mode=reply_json({"mode": ESCAPES, "reason": ESCAPES, ESCAPES: ESCAPES}),
                switch=reply(403, ESCAPES.encode(), [("Retry-After", "\x1b[31m")]),
            )
        ) as peer,
        Process("presync-standby", given(peer, times=BRIEF, LOG_FORMAT=log_format)) as process,
    ):
        process.exit_code(20)
        told = process.told()
    assert not [character for character in "\x1b\x07\x00\x9b\r" if character in told]
    assert not [line for line in told.split("\n") if line.startswith(("forged", "line"))]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_argument_is_a_verdict(command: str) -> None:
    """What is wrong with the command line is told as what is wrong with the environment is."""
    with Peer(Oms().answers()) as peer:
        ending = run(command, given(peer, pagerduty=peer), "--nonsense", within=5)
        assert (ending.code, peer.connections) == (2, 0)
    assert "--nonsense" in ending.reason


def test_a_log_for_people_is_no_json() -> None:
    """LOG_FORMAT=console is for terminals, and ends with the verdict too."""
    with (
        Peer(Oms().answers()) as peer,
        Process("presync-standby", given(peer, LOG_FORMAT="console")) as process,
    ):
        assert process.exit_code(20) == 0
        told = process.told()
    assert "verdict" in told
    with pytest.raises(json.JSONDecodeError):
        json.loads(told.split("\n")[0])
