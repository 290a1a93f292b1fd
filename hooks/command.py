"""The shell round every command: arguments, settings, signals, the verdict and the exit."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn

from hooks import check, log, redaction, settings, start
from hooks.resolving import ResolvingLoop
from hooks.settings import Logging, MisconfiguredError
from hooks.verdict import Cause, Verdict

Decide = Callable[[Any, argparse.Namespace, asyncio.Event], Coroutine[Any, Any, Verdict]]

_LONGEST_TERMINATION_MESSAGE = 4096


class UsageError(Exception):
    """The command line cannot be used."""


class Parser(argparse.ArgumentParser):
    """A command line whose `--help` lists every variable that the command reads."""

    def __init__(self, name: str, about: str | None, kind: type[Logging]) -> None:
        super().__init__(prog=name, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.kind = kind
        self.add_argument("--version", action="store_true", help="print the version and exit")
        self.add_argument(
            "--check",
            action="store_true",
            help="try settings, targets and expressions on the real OMS; change nothing, page nobody",
        )

    def format_help(self) -> str:
        """Describe the variables below the options."""
        return f"{super().format_help()}\n{settings.described(self.kind)}"

    def error(self, message: str) -> NoReturn:
        """Raise UsageError: how it ended is for the verdict to say."""
        raise UsageError(message)


def run(
    parser: Parser,
    decide: Decide,
    load: Callable[[], Any] | None = None,
) -> NoReturn:
    """Run one command to its end and leave the process with its exit code.

    `load` gives what `decide` is handed: by default the settings, every fault of which ends the command.
    """
    began = time.monotonic()
    outlook, _ = settings.load_what_can_be_used(Logging)  # its faults are told by the verdict
    log.configure(parser.prog, log_format=outlook.log_format, level=outlook.log_level, began=began)
    try:
        arguments = parser.parse_args()
        if arguments.version:
            print(f"{parser.prog} {_version()}")  # noqa: T201  # what was asked for
            _leave(0)
        verdict = _ended(parser, arguments, decide, load or (lambda: settings.load(parser.kind)))
    except UsageError as error:
        verdict = Verdict(Cause.MISCONFIGURED, f"the command line cannot be used: {error}")
    _write_termination_log(outlook.termination_log, verdict)
    log.verdict(
        outcome=verdict.outcome,
        cause=verdict.cause_name,
        reason=verdict.reason,
        duration_seconds=round(time.monotonic() - began, 3),
        targets=dict(verdict.targets),
    )
    _leave(verdict.exit_code)


def _ended(parser: Parser, arguments: argparse.Namespace, decide: Decide, load: Callable[[], Any]) -> Verdict:
    loop = ResolvingLoop()
    loop.set_exception_handler(_unexpected)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if start.signals_before_the_loop:
        stop.set()
    try:
        if arguments.check:
            return loop.run_until_complete(check.tried(settings.load(parser.kind)))
        return loop.run_until_complete(decide(load(), arguments, stop))
    except MisconfiguredError as error:
        return Verdict(Cause.MISCONFIGURED, f"the environment cannot be used: {error}")
    except Exception as error:  # noqa: BLE001  # a bug becomes a verdict
        return crashed(error)


def crashed(error: Exception) -> Verdict:
    """Tell a bug in the log, where it happened and without any value, and return the verdict."""
    log.logger().critical("crashed", exc_info=error)
    return Verdict(Cause.CRASHED, f"a bug: {type(error).__name__}: {error}")


def _unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell in the log what asyncio would tell on stderr."""
    log.logger().debug("unexpected", reason=context["message"], error=repr(context.get("exception")))


def _write_termination_log(path: Path, verdict: Verdict) -> None:
    """Tell the kubelet, if it listens: `kubectl describe pod` shows it when the log is gone."""
    reason = log.visible(redaction.redact(verdict.reason))
    told = f"exit {verdict.exit_code}, {verdict.cause_name or verdict.outcome}: {reason}"
    message = told.encode("utf-8", "replace")[:_LONGEST_TERMINATION_MESSAGE].decode(errors="ignore").encode()
    try:
        # Without O_CREAT: only where a kubelet made it.
        with contextlib.closing(os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb")) as file:
            file.write(message)
    except FileNotFoundError:
        return
    except OSError as error:
        log.logger().warning("termination_log_not_written", reason=error.strerror)


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  # nobody else needs it

    return version("argocd-standby-hooks")


def _leave(code: int) -> NoReturn:
    """End the process at once: a thread in which a look-up hangs would be waited for."""
    with contextlib.suppress(*log.CLOSED):
        sys.stdout.flush()
    os._exit(code)
