"""One JSON object a line on stdout, or lines for a person on a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from hooks.redaction import redact

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_FIRST = ("timestamp", "level", "event", "hook", "target")
_OURS = frozenset({"timestamp", "level", "event", "hook", "outcome", "cause", "elapsed_seconds"})


_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_C1_IN_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


# What writing to a standard output raises that is full, or was closed before or after we began.
CLOSED = (OSError, ValueError, AttributeError)


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    try:
        return sys.stdout.isatty()
    except CLOSED:
        return False


class _Stdout:
    """Standard output that may be closed or full: what cannot be written must not cost a page."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(*CLOSED):
            # A lone surrogate cannot be encoded; as \\udXXX it is valid JSON.
            sys.stdout.buffer.write((message + "\n").encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()

    log = debug = info = warning = error = critical = fatal = exception = msg


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {redact(key): value if key in _OURS else redact(value) for key, value in event.items()}


def _json(event: EventDict, **_: Any) -> str:
    """Write one line; what JSON lets through and a terminal obeys (C1, DEL) is escaped."""
    return json.dumps(event, ensure_ascii=False, default=str).translate(_C1_IN_JSON)


def _without_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    traceback = "\n".join(map(visible, event.pop("exception", "").split("\n")))
    shown = {name: visible(value) for name, value in event.items()}
    return shown | {"exception": traceback} if traceback else shown


def visible(value: Any) -> Any:
    """Show the control characters of a text, so that no peer writes to a person's terminal."""
    if isinstance(value, str):
        return value.translate(_CONTROL)
    if isinstance(value, dict):
        return {visible(name): visible(item) for name, item in value.items()}
    return [visible(item) for item in value] if isinstance(value, list | tuple) else value


def _elapsed(began: float) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        first = {name: event.pop(name) for name in _FIRST if name in event}
        return {**first, "elapsed_seconds": round(time.monotonic() - began, 3), **event}

    return add


def _tracebacks() -> structlog.typing.Processor:
    """Tracebacks without locals: a frame's locals hold the secrets."""
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return structlog.processors.ExceptionRenderer(transformer)


def _renderer(log_format: Literal["json", "console"]) -> list[structlog.typing.Processor]:
    if log_format == "console":
        plain = structlog.dev.plain_traceback
        traceback = structlog.processors.format_exc_info  # before what it says is redacted
        return [
            traceback,
            _redact,
            _without_control_characters,
            structlog.dev.ConsoleRenderer(colors=on_terminal(), exception_formatter=plain),
        ]
    return [_tracebacks(), _redact, structlog.processors.JSONRenderer(_json)]


def configure(
    hook: str,
    *,
    log_format: Literal["auto", "json", "console"],
    level: str,
    began: float,
) -> None:
    """Set up the one log of the process; `elapsed_seconds` counts from `began`, a monotonic time."""
    terminal = log_format == "console" or (log_format == "auto" and on_terminal())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _elapsed(began),
            *_renderer("console" if terminal else "json"),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Stdout(),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(hook=hook)


def verdict(**facts: Any) -> None:
    """Write the last line, whatever the level of the log is."""
    everything = structlog.make_filtering_bound_logger(0)
    structlog.wrap_logger(_Stdout(), wrapper_class=everything).info("verdict", **facts)


def logger(**context: Any) -> FilteringBoundLogger:
    """Return the log, with facts that every line from here carries."""
    bound: FilteringBoundLogger = structlog.get_logger(**context)
    return bound
