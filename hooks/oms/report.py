"""What a page says of the targets, as a person reads it on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hooks.expression import Expression
from hooks.oms.documents import Mode, Ownership, State, since
from hooks.oms.target import Target
from hooks.oms.words import agreeing

_TRADING = "is active: trading"
_NAMED = 4
_MOST_LINES = 10


def trades(target: Target) -> bool:
    """Whether the target was last seen trading."""
    mode = _mode(target)
    return mode is not None and mode.state is State.ACTIVE


def modes_in_words(targets: Sequence[Target], names: Ownership, since_filter: Expression) -> str:
    """Say in which mode each target is, those that do not trade first; what matters stands before who it is."""
    moment = _held_since(targets, names, since_filter)
    told: dict[str, list[str]] = {}
    for target in sorted(targets, key=trades):
        told.setdefault(_state_in_words(target, names, moment), []).append(target.label)
    return "; ".join(_clause(labels, state, len(targets)) for state, labels in told.items())


def _clause(labels: list[str], state: str, of: int) -> str:
    if len(labels) == 1:
        return f"{labels[0]} {state}"
    rest = len(labels) - _NAMED
    listed = ", ".join(labels[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    count = f"all {of}" if len(labels) == of else f"{len(labels)} of {of}"
    return f"{count} {agreeing(state, len(labels))} ({listed})"


def _state_in_words(target: Target, names: Ownership, held_since: datetime | None) -> str:
    if target.mode is None:
        return "was not read in time: not known to trade"
    mode = target.mode.mode
    if mode is None:
        return "cannot be read: not known to trade"
    if mode.state is State.ACTIVE:
        return _TRADING
    word = "in standby" if mode.state is State.STANDBY else mode.word
    if names.is_foreign(mode.owner):
        # Whose standby it is decides what may be done about it; of ours nothing more need be said.
        return f"is {word} ({mode.owner}): not trading"
    since = f" since {_clock(held_since)}" if held_since and names.is_ours(mode.owner) else ""
    return f"is {word}: not trading{since}"


def _clock(moment: datetime) -> str:
    at = moment.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _held_since(targets: Sequence[Target], names: Ownership, since_filter: Expression) -> datetime | None:
    """Return since when the first of ours has not been trading, where the OMS tells it."""
    modes = [mode for mode in map(_mode, targets) if mode and mode.state is not State.ACTIVE]
    ours = [mode for mode in modes if names.is_ours(mode.owner)]
    moments = [moment for mode in ours if (moment := since(since_filter, mode.document))]
    return min((moment for moment in moments if moment <= datetime.now(UTC)), default=None)


def _mode(target: Target) -> Mode | None:
    return target.mode.mode if target.mode else None


def lines(targets: Sequence[Target], healthy: Expression | None = None) -> list[str]:
    """Tell each target in a line, those that do not trade first: its mode, whose, and its health."""
    worst_first = sorted(targets, key=trades)
    told = [f"{target}{_health_in_words(target, healthy)}" for target in worst_first[:_MOST_LINES]]
    rest = len(targets) - _MOST_LINES
    return [*told, f"and {rest} more"] if rest > 0 else told


def _health_in_words(target: Target, healthy: Expression | None) -> str:
    if target.health is None or healthy is None:
        return ""
    if target.health.problem is not None:
        return f"; its health: {target.health.problem}"
    return "; healthy" if target.health.meets(healthy) else "; not healthy"


def details(targets: Sequence[Target], since_filter: Expression) -> dict[str, Any]:
    """Return what is known of each target, its documents included."""
    return {target.label: _details(target, since_filter) for target in targets}


def _details(target: Target, since_filter: Expression) -> dict[str, Any]:
    told: dict[str, Any] = {}
    mode = _mode(target)
    if mode:
        moment = since(since_filter, mode.document)
        told = {
            "mode": mode.state.value,
            "owner": mode.owner,
            "since": moment.isoformat() if moment else None,
            "mode_document": mode.document,
        }
    elif target.mode:
        told = {"mode": f"unreadable: {target.mode.problem}"}
    else:
        told = {"mode": "not read in time"}
    if target.health:
        told |= {"health_problem": target.health.problem, "health_document": target.health.document}
    return {name: value for name, value in told.items() if value is not None}


def return_command(service_account_dir: Path) -> str:
    """Return what on-call types to return the OMS to trading (k8s/hooks/return-to-active.yaml)."""
    try:
        namespace = f" -n {(service_account_dir / 'namespace').read_text().strip()}"
    except (OSError, UnicodeDecodeError):
        namespace = ""
    return f"kubectl{namespace} create job oms-return-$(date +%s) --from=cronjob/oms-return-to-active"


def what_to_do(targets: Sequence[Target], service_account_dir: Path) -> list[str]:
    """Tell how to return what is ours to trading, unless every target trades."""
    if targets and all(map(trades, targets)):
        return []
    return [f"to return what is ours to trading: {return_command(service_account_dir)}"]
