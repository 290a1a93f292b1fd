"""What a page says of the targets, as a person reads it on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hooks.expression import Expression
from hooks.oms.documents import State, since
from hooks.oms.target import Target

RETURN_COMMAND = (
    "kubectl create job return-now --from=cronjob/oms-return-to-active, in the namespace of the OMS; "
    "or `return-to-active` from the hook image, in the environment of the hooks"
)
_TOLD_ONE_BY_ONE = 4


def modes_in_words(targets: Sequence[Target]) -> str:
    """Say in which mode each target is, those that do not trade first."""
    told: dict[str, list[str]] = {}
    for target in targets:
        told.setdefault(_state_in_words(target), []).append(target.label)
    worst_first = sorted(told.items(), key=lambda item: item[0].endswith(": trading"))
    return "; ".join(_clause(labels, state) for state, labels in worst_first) or "no target is known"


def _state_in_words(target: Target) -> str:
    mode = target.mode.mode if target.mode else None
    if mode is None:
        return "cannot be read: not known to trade"
    if mode.state is State.STANDBY:
        return "in standby: not trading"
    return "active: trading" if mode.state is State.ACTIVE else f"{mode.word}: not trading"


def _clause(labels: list[str], state: str) -> str:
    rest = len(labels) - _TOLD_ONE_BY_ONE
    listed = ", ".join(labels[:_TOLD_ONE_BY_ONE]) + (f" and {rest} more" if rest > 0 else "")
    if state.startswith("cannot"):
        return f"{listed} {state}"
    return f"{listed} {'is' if len(labels) == 1 else 'are'} {state}"


def details(targets: Sequence[Target], since_filter: Expression) -> dict[str, Any]:
    """Return what is known of each target, its documents included."""
    return {target.label: _details(target, since_filter) for target in targets}


def _details(target: Target, since_filter: Expression) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if target.mode and target.mode.mode:
        moment = since(since_filter, target.mode.mode.document)
        told = {
            "mode": target.mode.mode.state.value,
            "owner": target.mode.mode.owner,
            "since": moment.isoformat() if moment else None,
            "mode_document": target.mode.mode.document,
        }
    elif target.mode:
        told = {"mode": f"unreadable: {target.mode.problem}"}
    if target.health:
        told |= {"health_problem": target.health.problem, "health_document": target.health.document}
    return {name: value for name, value in told.items() if value is not None}
