"""How a scenario must end, and what differs from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.argo import CommandRun, Operation
    from rehearsal.fact import Fact
    from rehearsal.mock_oms import ReplicaState
    from rehearsal.mock_pagerduty import Incident


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What must be so when a scenario is over."""

    operation: Operation
    commands: Sequence[str]
    """Every command that ran, in order: `presync-standby timed_out (3)`."""
    replicas: Sequence[str]
    """Every replica in the end: `active, version 2` or `standby, version 1, operator/jane`."""
    untouched: Sequence[str] = ()
    """Replicas that no hook asked to switch."""
    order: Sequence[str] = ()
    """Facts that came in this order; others may lie between."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A command as above -> what its verdict's sentence names; `{oms-1}` stands for that replica's address."""
    incident: str = "none"
    """none, open or resolved."""
    page: Sequence[str] = ()
    """What its summary names, in the same way."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was so."""

    operation: Operation
    runs: Sequence[CommandRun]
    replicas: Mapping[str, ReplicaState]
    facts: Sequence[Fact]
    incidents: Sequence[Incident]


def differences(must: Ending, was: Outcome) -> list[str]:
    """Say each thing that is otherwise, in words; nothing where it ended as it must."""
    return [*_differing_ends(must, was), *_differing_words(must, was), *_broken_promises(was)] + [
        f"{name} was asked to switch" for name in must.untouched if was.replicas[name].switches
    ]


def _differing_ends(must: Ending, was: Outcome) -> Iterator[str]:
    for subject, expected, actual in (
        ("the operation", [str(must.operation)], [str(was.operation)]),
        ("the commands", list(must.commands), [str(run) for run in was.runs]),
        ("the replicas", list(must.replicas), [described(state) for state in was.replicas.values()]),
    ):
        if expected != actual:
            yield f"{subject} must be {'; '.join(expected) or 'none'}, not {'; '.join(actual) or 'none'}"
    told = iter(str(fact) for fact in sorted(was.facts, key=lambda fact: fact.at))
    for fact in must.order:
        if fact not in told:
            yield f'"{fact}" did not happen when it must: the order is {" · ".join(must.order)}'
            return


def _differing_words(must: Ending, was: Outcome) -> Iterator[str]:
    addresses = {name: state.address for name, state in was.replicas.items()}
    for run in was.runs:
        words = must.reasons.get(str(run), "").format(**addresses)
        if words not in run.verdict.get("reason", ""):
            yield f'{run.command} must name "{words}": {run.verdict.get("reason")}'
    statuses = [str(incident.status) for incident in was.incidents] or ["none"]
    if statuses != [must.incident]:
        yield f"the incident must be {must.incident}, not {', '.join(statuses)}"
    for incident in was.incidents:
        for words in must.page:
            if words.format(**addresses) not in incident.summary:
                yield f'the page must name "{words.format(**addresses)}": {incident.summary}'


def _broken_promises(was: Outcome) -> Iterator[str]:
    """Look for what must never be so, whatever the scenario."""
    for run in was.runs:
        if run.strays:
            yield f"{run.command} prints what is no log line: {run.strays[0]}"
        if not run.verdict:
            yield f"{run.command} ends without a verdict"
    rolling = False
    for fact in sorted(was.facts, key=lambda fact: fact.at):
        rolling |= str(fact) == "Sync begins"
        if rolling and fact.what in {"active → down", "draining → down"}:
            yield f"{fact.who} was replaced while it traded"


def described(state: ReplicaState) -> str:
    """Say how a replica is: mode, version, and by whom it is held, without the run."""
    held = "" if state.mode == "active" else f", {_application(state.reason)}"
    return f"{state.mode}, version {state.version}{held}"


def _application(reason: str | None) -> str:
    return "held by nobody" if reason is None else f"held by {'/'.join(reason.split('/')[:2])}"
