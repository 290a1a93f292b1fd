"""The rehearsal: every scenario with the real commands, what its check finds, what a person sees."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from rehearsal.argo import FAILED, SUCCEEDED, CommandRun
from rehearsal.ending import Ending, Outcome, differences
from rehearsal.fact import Fact, Tone
from rehearsal.mock_oms import Faults, ModeChange, Received, ReplicaState
from rehearsal.mock_pagerduty import Incident
from rehearsal.scenarios import SCENARIOS
from rehearsal.timeline import Result, Timeline
from rehearsal.trading import Pause, in_words, pauses, whole

GOLDEN = Path(__file__).with_name("golden")
SHIPPED = Path(__file__).parent.parent / "k8s" / "hooks"


def rehearse(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the rehearsal as a person would, with its output piped; whatever it makes lies in `directory`."""
    return subprocess.run(
        [sys.executable, "-m", "rehearsal", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        env=os.environ | {"TMPDIR": str(directory)},
        check=False,
    )


def processes_of(directory: Path) -> list[str]:
    """Find every process whose environment or command names a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in told and process.name != str(os.getpid()):
            found.append(process.name)
    return found


# ── every scenario, played ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_a_scenario_ends_as_it_must(name: str, tmp_path: Path) -> None:
    """The installed commands, run from the shipped manifests, bring about what they promise."""
    played = rehearse("--scenario", name, directory=tmp_path)
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    assert "ended as it must" in played.stdout
    assert "\x1b" not in played.stdout
    assert max(map(len, played.stdout.splitlines())) <= 100
    assert processes_of(tmp_path) == []


def with_command(directory: Path, command: str) -> None:
    """Write manifests whose PreSync hook runs another command."""
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": [command]}]
    kustomization = {
        "components": [os.path.relpath(SHIPPED, directory)],
        "patches": [{"target": {"name": "oms-presync-standby"}, "patch": json.dumps(patch)}],
    }
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))


def test_a_scenario_that_ends_otherwise_is_noticed(tmp_path: Path) -> None:
    """With a PreSync hook that does nothing, the OMS is replaced while it trades, and the rehearsal fails."""
    with_command(tmp_path, "true")
    played = rehearse("--manifests", str(tmp_path), "--scenario", "good-deployment", directory=tmp_path)
    assert played.returncode == 1, played.stderr
    assert "ended as it must" not in played.stdout
    assert "oms-0 was replaced while it traded" in played.stdout
    assert "true ends without a verdict" in played.stdout
    assert '"oms-1 active → draining" did not happen' in played.stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_rehearsal_that_is_broken_off_leaves_nothing(ending: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a drain: every process is gone, and every file."""
    command = [sys.executable, "-m", "rehearsal", "--scenario", "stuck-drain"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as played:
        assert played.stdout
        next(line for line in played.stdout if b"draining" in line)
        played.send_signal(ending)
        _, said = played.communicate(timeout=60)
    assert played.returncode == 130
    assert said == b"ended before its end; what it started is ended too\n"
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--runner", "docker"], "make image", id="containers without an engine"),
        pytest.param(["--manifests", "/nowhere"], "/nowhere: ", id="a directory that is none"),
        pytest.param(["--scenario", "sunshine"], "good-deployment", id="a scenario that is none"),
    ],
)
def test_what_cannot_be_played_is_said(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, one line that says why, no traceback."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    played = rehearse(*arguments, directory=tmp_path)
    assert played.returncode == 2
    assert said in played.stderr
    assert "Traceback" not in played.stderr


def test_manifests_without_hooks_are_none(tmp_path: Path) -> None:
    """There is nothing to play, and it says what is missing."""
    (tmp_path / "kustomization.yaml").write_text('{"configMapGenerator": [{"name": "no-job"}]}')
    played = rehearse("--manifests", str(tmp_path), directory=tmp_path)
    assert (played.returncode, played.stdout) == (2, "")
    assert played.stderr == f"{tmp_path}: none of our Jobs in it is a PreSync hook\n"


def test_a_command_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """It is said in one line, and the scenario is not taken for one that ended otherwise."""
    with_command(tmp_path, "presync-holiday")
    played = rehearse("--manifests", str(tmp_path), "--scenario", "good-deployment", directory=tmp_path)
    assert played.returncode == 2
    assert "presync-holiday" in played.stderr
    assert "Traceback" not in played.stderr


def test_the_list_names_every_scenario(tmp_path: Path) -> None:
    """One line each: its name, and what happens in it."""
    listed = rehearse("--list", directory=tmp_path)
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [item.name for item in SCENARIOS]


# ── what differs from how it must end ────────────────────────────────────────────────────────────────

MUST = Ending(
    operation=FAILED,
    commands=("presync-standby timed_out (3)",),
    replicas=("active, version 1", "standby, version 1, held by argocd-sync/oms"),
    untouched=("oms-0",),
    order=("PreSync begins", "oms-1 active → standby"),
    reasons={"presync-standby timed_out (3)": "{oms-1} is standby"},
    incident="open",
    page=("oms", "{oms-1} is in standby"),
)


def replica(address: str, mode: str, reason: str | None) -> ReplicaState:
    return ReplicaState(
        address=address,
        mode=mode,  # type: ignore[arg-type]
        reason=reason,
        since=0,
        version="1",
        open_orders=0,
        healthy=True,
        seconds_not_active=0,
        faults=Faults(),
        history=(),
        switches=(),
    )


WAS = Outcome(
    operation=FAILED,
    runs=[CommandRun("presync-standby", 3, {"cause": "timed_out", "reason": "10.0.0.2:80 is standby"})],
    replicas={
        "oms-0": replica("10.0.0.1:80", "active", None),
        "oms-1": replica("10.0.0.2:80", "standby", "argocd-sync/oms/0f"),
    },
    facts=[Fact(2, "oms-1", "active → standby"), Fact(1, "PreSync", "begins"), Fact(1.5, "oms-0", "is well")],
    incidents=[Incident("argocd-sync/argocd/oms", "open", 1, 1, "oms: 10.0.0.2:80 is in standby", ())],
)


def test_what_ended_as_it_must_differs_in_nothing() -> None:
    """Facts that are not named may lie between those that are; the run in an owner does not count."""
    assert differences(MUST, WAS) == []


@pytest.mark.parametrize(
    ("was", "said"),
    [
        pytest.param(replace(WAS, operation=SUCCEEDED), ["the operation must be Failed"], id="the operation"),
        pytest.param(
            replace(WAS, runs=[*WAS.runs, CommandRun("syncfail-alert", 0, {"outcome": "succeeded"})]),
            ["the commands must be presync-standby timed_out (3), not .*; syncfail-alert succeeded \\(0\\)"],
            id="a hook that must not run",
        ),
        pytest.param(
            replace(WAS, runs=[CommandRun("presync-standby", 3, {"cause": "timed_out", "reason": "why"})]),
            ['presync-standby must name "10.0.0.2:80 is standby": why'],
            id="what a verdict does not name",
        ),
        pytest.param(
            replace(WAS, replicas={**WAS.replicas, "oms-0": replica("10.0.0.1:80", "standby", None)}),
            ["the replicas must be active.*, not standby, version 1, held by nobody; standby"],
            id="the replicas",
        ),
        pytest.param(
            replace(
                WAS,
                replicas={
                    **WAS.replicas,
                    "oms-0": replace(WAS.replicas["oms-0"], switches=(Received(0, "POST", "/admin/mode"),)),
                },
            ),
            ["oms-0 was asked to switch"],
            id="a replica that nobody may ask",
        ),
        pytest.param(
            replace(WAS, facts=[Fact(0, "oms-1", "active → standby"), Fact(1, "PreSync", "begins")]),
            ['"oms-1 active → standby" did not happen when it must'],
            id="another order",
        ),
        pytest.param(
            replace(WAS, incidents=[]), ["the incident must be open, not none"], id="nobody was called"
        ),
        pytest.param(
            replace(WAS, incidents=[replace(WAS.incidents[0], summary="oms failed")]),
            ['the page must name "10.0.0.2:80 is in standby": oms failed'],
            id="a page that does not say it",
        ),
        pytest.param(
            replace(WAS, facts=[*WAS.facts, Fact(3, "Sync", "begins"), Fact(4, "oms-0", "active → down")]),
            ["oms-0 was replaced while it traded"],
            id="a replica that is replaced while it trades",
        ),
        pytest.param(
            replace(WAS, runs=[replace(WAS.runs[0], strays=["oops"])]),
            ["presync-standby prints what is no log line: oops"],
            id="a line that is no log line",
        ),
    ],
)
def test_what_ended_otherwise_is_named(was: Outcome, said: Sequence[str]) -> None:
    """Each difference is one sentence: what must be, and what was."""
    found = differences(MUST, was)
    assert len(found) == len(said), found
    for difference, pattern in zip(found, said, strict=True):
        assert re.match(pattern.replace("(3)", r"\(3\)"), difference), difference


# ── what a person sees ───────────────────────────────────────────────────────────────────────────────


def change(at: float, mode: str) -> ModeChange:
    return ModeChange(at, mode, None, "1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([change(0, "active")], [], id="never stopped"),
        pytest.param(
            [change(0, "active"), change(1, "draining"), change(2, "standby"), change(4, "active")],
            [Pause(1, 4)],
            id="drained and back",
        ),
        pytest.param(
            [
                change(0, "active"),
                change(1, "down"),
                change(3, "active"),
                change(5, "down"),
                change(6, "active"),
            ],
            [Pause(1, 3), Pause(5, 6)],
            id="stopped twice",
        ),
        pytest.param([change(0, "standby")], [Pause(0, None)], id="has not begun to trade"),
    ],
)
def test_a_replica_does_not_trade_unless_it_is_active(
    history: list[ModeChange], expected: list[Pause]
) -> None:
    """From leaving active, whichever way, to being active again."""
    assert pauses(history) == expected


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        pytest.param([], "none", id="nobody stopped"),
        pytest.param([Pause(1, 4), Pause(2, 6.5)], "5.5 s", id="from the first to the last"),
        pytest.param([Pause(1, 4), Pause(3, None)], "9.0 s so far", id="somebody still does not trade"),
    ],
)
def test_a_pause_of_all_replicas_is_said_in_seconds(every: list[Pause], expected: str) -> None:
    """The OMS as a whole trades again when the last replica does."""
    assert in_words(whole(every), now=10) == expected


def test_a_replica_that_stopped_twice_did_not_trade_for_the_sum_of_both() -> None:
    """In between it did trade."""
    assert in_words([Pause(1, 3), Pause(5, 6)], now=10) == "3.0 s"


@pytest.fixture
def facts() -> list[Fact]:
    """Tell of a sync that went wrong, not in order."""
    asked = "asked by argocd-sync/oms/0f0f0f0f"
    reason = "not every target confirmed standby within 2.5 s: oms-1 is draining (argocd-sync/oms/0f0f0f0f)"
    return [
        Fact(1000.0, "PreSync", "begins", tone=Tone.PHASE),
        Fact(1000.01, "presync-standby", "starts"),
        Fact(1003.2, "presync-standby", "timed_out (3)", reason, Tone.BAD),
        Fact(1000.52, "oms-1", "active → draining", asked, Tone.WARNING),
        Fact(1000.51, "oms-2", "active → draining", asked, Tone.WARNING),
        Fact(1000.53, "oms-0", "active → draining", asked, Tone.WARNING),
        Fact(1001.5, "oms-0", "draining → standby", "confirmed"),
        Fact(1001.7, "oms-2", "draining → standby", "confirmed"),
        Fact(1003.21, "Argo CD", "oms-presync-standby has failed", "Container hook failed", Tone.BAD),
        Fact(1003.9, "PagerDuty", "calls somebody", "oms: Argo CD sync failed", Tone.BAD),
    ]


async def print_all(console: Console, facts: list[Fact]) -> None:
    timeline = Timeline(console)
    timeline.begin("stuck-drain", "one replica never drains", [("OMS_URL", "http://oms:8080 → port 1")], 1000)
    async with timeline.live(lambda: Text("oms-0 standby")):
        for fact in facts:
            timeline.tell(fact)
    timeline.end([("without trading", "2.4 s"), ("incident", "still open")], ["the incident must be none"])
    timeline.end([], [])
    timeline.summary(
        [Result("stuck-drain", ["x"], "2.4 s", "open", 4.25), Result("good", [], "1.0 s", "none", 3)]
    )


async def test_the_time_line_is_plain_text_when_piped(facts: list[Fact]) -> None:
    """In the order of time, one line for what several replicas do at once, 100 columns, no colour."""
    printed = io.StringIO()
    await print_all(Console(file=printed, width=100, highlight=False), facts)
    assert printed.getvalue() == (GOLDEN / "timeline.txt").read_text()


async def test_the_time_line_is_coloured_on_a_terminal(facts: list[Fact]) -> None:
    """The same words, in colours."""
    printed = io.StringIO()
    await print_all(Console(file=printed, width=100, highlight=False, force_terminal=True), facts)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", printed.getvalue())
    assert "\x1b[33mactive → draining" in printed.getvalue()
    assert "timed_out (3)" in plain
