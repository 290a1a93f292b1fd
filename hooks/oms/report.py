"""What a page says of the targets, as a person reads it on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hooks.expression import Expression
from hooks.oms.documents import State, since
from hooks.oms.target import Target
from hooks.oms.words import told_together

_TRADING = "is active: trading"

RETURN_COMMAND = (
    "kubectl create job return-now --from=cronjob/oms-return-to-active, in the namespace of the OMS; "
    "or `return-to-active` from the hook image, in the environment of the hooks"
)


def modes_in_words(targets: Sequence[Target]) -> str:
    """Say in which mode each target is, those that do not trade first."""
    phrases = [(target.label, _state_in_words(target)) for target in targets]
    worst_first = sorted(phrases, key=lambda told: told[1] == _TRADING)
    return told_together(worst_first) or "no target is known"


def _state_in_words(target: Target) -> str:
    mode = target.mode.mode if target.mode else None
    if mode is None:
        return "cannot be read: not known to trade"
    if mode.state is State.STANDBY:
        return "is in standby: not trading"
    return _TRADING if mode.state is State.ACTIVE else f"is {mode.word}: not trading"


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
