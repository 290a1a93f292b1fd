"""One JSON object a line, or lines for a person; and no secret in either."""

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import structlog

from hooks import log, redaction
from hooks.redaction import HIDDEN

SECRET = "s3cr3t-Zx81"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsysbinary: pytest.CaptureFixture[bytes]) -> Lines:
    """Set up the log in JSON and return what was written since, one object a line."""
    configure()

    def read() -> list[dict[str, Any]]:
        written = capsysbinary.readouterr()
        assert written.err == b""
        return [json.loads(line, parse_constant=pytest.fail) for line in written.out.splitlines()]

    return read


def configure(log_format: Literal["auto", "json", "console"] = "json", level: str = "debug") -> None:
    log.configure("presync-standby", log_format=log_format, level=level, began=time.monotonic())


def test_a_line_tells_when_how_grave_what_and_who(lines: Lines) -> None:
    """In this order, then what applies."""
    log.logger(target="oms-1:8080").warning("switch_not_accepted", attempt=2, answer="503")
    (line,) = lines()
    assert ["timestamp", "level", "event", "hook", "target", "elapsed_seconds", "attempt", "answer"] == list(
        line
    )
    told = {name: value for name, value in line.items() if name not in {"timestamp", "elapsed_seconds"}}
    assert told == {
        "level": "warning",
        "event": "switch_not_accepted",
        "hook": "presync-standby",
        "target": "oms-1:8080",
        "attempt": 2,
        "answer": "503",
    }


def test_the_time_is_utc_in_iso_8601(lines: Lines) -> None:
    """And the machine's."""
    log.logger().info("begun")
    (line,) = lines()
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=1)


def test_elapsed_is_counted_from_the_start_of_the_command(lines: Lines) -> None:
    """In seconds, to the millisecond."""
    log.configure("x", log_format="json", level="info", began=time.monotonic() - 100)
    log.logger().info("begun")
    (line,) = lines()
    assert 100 <= line["elapsed_seconds"] < 160
    assert line["elapsed_seconds"] == round(line["elapsed_seconds"], 3)


@pytest.mark.parametrize("level", log.LEVELS)
def test_what_is_below_the_level_is_not_written(level: str, lines: Lines) -> None:
    """The level itself is."""
    configure(level=level)
    for name in log.LEVELS:
        getattr(log.logger(), name)("said")
    names = list(log.LEVELS)
    assert names[names.index(level) :] == [line["level"] for line in lines()]


@pytest.mark.parametrize("level", log.LEVELS)
def test_the_verdict_is_written_whatever_the_level(level: str, lines: Lines) -> None:
    """With the keys of every line, and its own."""
    configure(level=level)
    log.verdict(outcome="succeeded", cause=None, reason="why", duration_seconds=0.1, targets={})
    (line,) = lines()
    del line["timestamp"], line["elapsed_seconds"]
    assert line == {
        "level": "info",
        "event": "verdict",
        "hook": "presync-standby",
        "outcome": "succeeded",
        "cause": None,
        "reason": "why",
        "duration_seconds": 0.1,
        "targets": {},
    }


def test_a_known_secret_is_in_no_key_and_no_value(lines: Lines) -> None:
    """However deep it stands."""
    redaction.hide(SECRET)
    log.logger(target=SECRET).info("told", answer=f"no {SECRET}!", document={SECRET: [SECRET, 1]})
    (line,) = lines()
    assert (HIDDEN, f"no {HIDDEN}!", {HIDDEN: [HIDDEN, 1]}) == (
        line["target"],
        line["answer"],
        line["document"],
    )


def test_a_secret_that_is_a_word_of_ours_leaves_the_line_readable(lines: Lines) -> None:
    """Events, levels and outcomes are what is searched for."""
    redaction.hide("verdict", "succeeded", "info")
    log.verdict(outcome="succeeded", reason="succeeded in time")
    (line,) = lines()
    assert ("info", "verdict", "succeeded", f"{HIDDEN} in time") == (
        line["level"],
        line["event"],
        line["outcome"],
        line["reason"],
    )


def broken(text: str) -> None:
    raise RuntimeError(text)


def crashed(secret: str) -> None:
    """Log what is raised by somebody who holds a secret in a local variable and tells another."""
    token = secret.upper()
    try:
        broken(f"{secret} \x1b[31m of {len(token)}")
    except RuntimeError:
        log.logger().critical("crashed", exc_info=True)


def test_a_traceback_tells_where_but_no_locals_and_no_secret(lines: Lines) -> None:
    """The frames of a crash hold secrets of which nobody knew."""
    redaction.hide(SECRET)
    crashed(SECRET)
    (line,) = lines()
    (raised,) = line["exception"]
    assert ("RuntimeError", f"{HIDDEN} \x1b[31m of 11") == (raised["exc_type"], raised["exc_value"])
    assert [{"filename", "lineno", "name"}] * 2 == [set(frame) for frame in raised["frames"]]
    assert SECRET.upper() not in json.dumps(line)


def test_a_traceback_for_a_person_holds_no_secret_either(
    lines: Lines, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Nor what a terminal would obey."""
    redaction.hide(SECRET)
    configure("console")
    crashed(SECRET)
    written = capsysbinary.readouterr().out.decode()
    assert f"RuntimeError: {HIDDEN}" in written
    assert [] == re.findall(f"{SECRET}|{SECRET.upper()}|\x1b", written)


def test_what_is_no_json_value_is_told_as_text(lines: Lines) -> None:
    """A path, a moment, an exception."""
    log.logger().info("told", error=ValueError("why"), pair=(1, 2))
    (line,) = lines()
    assert ("why", [1, 2]) == (line["error"], line["pair"])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\nb\rc", id="line breaks"),
        pytest.param("\u2028\u2029\u0085", id="line breaks that are not ASCII"),
        pytest.param("\x00\x1b[31m\x7f\x9b31m", id="what a terminal obeys"),
        pytest.param("ä€\N{GRINNING FACE}", id="anything else"),
        pytest.param("\ud800", id="a lone surrogate"),
    ],
)
def test_any_text_is_one_line(text: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Read back it is the same, and raw it does nothing to a terminal."""
    configure()
    log.logger().info("told", text=text)
    written = capsysbinary.readouterr().out
    assert (text, b"\n") == (json.loads(written)["text"], written[-1:])
    assert written.count(b"\n") == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f]", written[:-1].decode())


class Stdout(io.TextIOWrapper):
    """Standard output of which nothing can be written any more."""

    def __init__(self, error: Exception) -> None:
        class Broken(io.BytesIO):
            def write(self, _: Any) -> int:
                raise error

        super().__init__(Broken(), "utf-8")


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed")])
def test_what_cannot_be_written_stops_nobody(
    error: Exception, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is more than a log."""
    monkeypatch.setattr(sys, "stdout", Stdout(error))
    log.logger().info("told")
    log.verdict(outcome="succeeded")


def test_a_closed_standard_output_stops_nobody(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads us may go away."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    sys.stdout.close()
    log.logger().info("told")


@pytest.mark.parametrize("stdout", [None, "closed"])
def test_a_standard_output_that_never_was_is_no_terminal(
    stdout: str | None, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads it, and nobody is stopped."""
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    monkeypatch.setattr(sys, "stdout", stdout and closed)
    configure("auto")
    log.logger().info("told")
    assert not log.on_terminal()


def test_a_person_reads_lines(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With the same facts and no secret."""
    redaction.hide(SECRET)
    configure("console")
    log.logger(target="oms:80").info("told", answer=f"{SECRET}\n\x1b[31m", document={"a\x07": ["\x9b", 1]})
    written = capsysbinary.readouterr().out.decode()
    assert written.count("\n") == 1
    head, *facts = re.split(r" (?=\w+=)", written.strip())
    assert re.fullmatch(r"\S+Z \[info     \] told *", head)
    assert {
        rf"answer={HIDDEN}\x0a\x1b[31m",
        r"document={'a\\x07': ['\\x9b', 1]}",
        "hook=presync-standby",
        "target=oms:80",
    } == {fact for fact in facts if not fact.startswith("elapsed_seconds=")}
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)


@contextlib.contextmanager
def terminal() -> Iterator[int]:
    """Make standard output a terminal; yield where the other side reads."""
    read, write = os.openpty()
    with os.fdopen(write, "w", encoding="utf-8") as stdout, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        yield read
    os.close(read)


@pytest.mark.parametrize(("log_format", "for_a_person"), [("auto", True), ("console", True), ("json", False)])
def test_on_a_terminal_auto_is_for_a_person(
    log_format: Literal["auto", "json", "console"],
    for_a_person: bool,  # noqa: FBT001
) -> None:
    """In colours, and JSON only when it is asked for."""
    with terminal() as reader:
        configure(log_format)
        log.logger().info("told")
        written = os.read(reader, 4096).decode()
    assert (for_a_person, not for_a_person) == ("\x1b[" in written, written.startswith("{"))


def test_elsewhere_auto_is_json(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A pod has no terminal."""
    configure("auto")
    log.logger().info("told")
    assert json.loads(capsysbinary.readouterr().out)["event"] == "told"


def test_the_last_set_up_counts(lines: Lines) -> None:
    """For loggers that were made before as well: a process may play several commands."""
    earlier = log.logger(target="a")
    structlog.contextvars.bind_contextvars(leftover=1)
    log.configure("syncfail-alert", log_format="json", level="error", began=time.monotonic())
    earlier.bind().info("swallowed")
    log.logger().error("told")
    (line,) = lines()
    assert ("syncfail-alert", False) == (line["hook"], "leftover" in line)
