"""What a page says of the targets, as a person reads it on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hooks.expression import Expression
from hooks.oms.documents import Mode, Ownership, State, since
from hooks.oms.target import Target

_TRADING = "active: trading"
_NAMED = 4


def trades(target: Target) -> bool:
    """Whether the target was last seen trading."""
    return _mode(target) is not None and _state_in_words(target, None) == _TRADING


def modes_in_words(targets: Sequence[Target], names: Ownership) -> str:
    """Say in which mode each target is, those that do not trade first; what matters stands before who it is."""
    told: dict[str, list[str]] = {}
    for target in sorted(targets, key=trades):
        told.setdefault(_state_in_words(target, names), []).append(target.label)
    return "; ".join(_clause(labels, state, len(targets)) for state, labels in told.items())


def _clause(labels: list[str], state: str, of: int) -> str:
    is_, are = ("", "") if state.startswith(("cannot", "was")) else ("is ", "are ")
    if len(labels) == 1:
        return f"{labels[0]} {is_}{state}"
    rest = len(labels) - _NAMED
    listed = ", ".join(labels[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    count = f"all {of}" if len(labels) == of else f"{len(labels)} of {of}"
    return f"{count} {are}{state} ({listed})"


def _state_in_words(target: Target, names: Ownership | None) -> str:
    if target.mode is None:
        return "was not read in time: not known to trade"
    mode = target.mode.mode
    if mode is None:
        return "cannot be read: not known to trade"
    if mode.state is State.ACTIVE:
        return _TRADING
    word = "in standby" if mode.state is State.STANDBY else mode.word
    # Whose standby it is decides what may be done about it; of ours nothing more need be said.
    whose = f" ({mode.owner})" if names and names.is_foreign(mode.owner) else ""
    return f"{word}{whose}: not trading"


def not_trading_since(
    targets: Sequence[Target], names: Ownership, since_filter: Expression
) -> datetime | None:
    """Return since when the first of ours has not been trading, where the OMS tells it."""
    ours = [mode for mode in map(_mode, targets) if mode and _is_held(mode, names)]
    moments = [moment for mode in ours if (moment := since(since_filter, mode.document))]
    return min((moment for moment in moments if moment <= datetime.now(UTC)), default=None)


def _is_held(mode: Mode, names: Ownership) -> bool:
    return mode.state is not State.ACTIVE and names.is_ours(mode.owner)


def _mode(target: Target) -> Mode | None:
    return target.mode.mode if target.mode else None


def lines(targets: Sequence[Target]) -> list[str]:
    """Tell each target in a line: its mode, whose, and what is wrong with its health."""
    return [f"{target}{_health_in_words(target)}" for target in targets]


def _health_in_words(target: Target) -> str:
    if target.health is None:
        return ""
    return f"; its health: {target.health.problem or 'readable'}"


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
