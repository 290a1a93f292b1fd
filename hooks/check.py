"""--check: what would happen, without doing it.

Every target is looked up and read, and every expression tried on the real documents; nothing is switched and
nobody is paged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from hooks import strict_json
from hooks.attempt import Failure
from hooks.expression import Expression
from hooks.log import logger, on_terminal
from hooks.oms.fleet import Fleet
from hooks.oms.target import Target
from hooks.redaction import redact
from hooks.settings import Logging, Oms
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline

_OVER_MODE = ("oms_standby_condition", "oms_active_condition", "oms_owner_filter", "oms_since_filter")
_OVER_HEALTH = ("verify_condition", "verify_fail_condition", "standby_guard_condition")
_WORST_FIRST = (Cause.MISCONFIGURED, Cause.REFUSED, Cause.TIMED_OUT)


@dataclass(frozen=True)
class Finding:
    """One thing that was tried, what was found, and the cause when it would make a command fail."""

    target: str
    tried: str
    found: str
    cause: Cause | None = None


async def tried(settings: Logging) -> Verdict:
    """Try everything that the settings name; tell each finding, and the worst as the verdict."""
    if not isinstance(settings, Oms) or not settings.oms_url:
        return Verdict(None, "the settings can be used; there is no OMS_URL to try")
    fleet = Fleet(settings)
    deadline = Deadline(2 * settings.oms_attempt_timeout_seconds)
    await fleet.resolve(deadline)
    await asyncio.gather(fleet.modes(fleet.targets, deadline), fleet.healths(fleet.targets, deadline))
    findings = [finding for target in fleet.targets for finding in _findings(target, settings)]
    if fleet.problem is not None:
        findings.append(Finding("every target", "name", fleet.problem, Cause.TIMED_OUT))
    _tell(findings)
    await fleet.aclose()
    return _verdict(findings).with_targets(fleet.observations())


def _findings(target: Target, settings: Oms) -> Iterator[Finding]:
    mode, health = target.mode, target.health
    if mode is None or health is None:
        raise AssertionError("unreachable: every target was asked")
    untrusted = mode.failure is Failure.UNTRUSTED
    unread = Cause.REFUSED if mode.refused or untrusted else Cause.TIMED_OUT
    yield Finding(target.label, "mode", str(mode.mode or mode.problem), None if mode.text else unread)
    if mode.text is not None:
        for name, expression in _expressions(settings, _OVER_MODE):
            yield _tried(target, name, expression, mode.text, Cause.MISCONFIGURED)
    unread = Cause.REFUSED if health.refused or health.untrusted else Cause.TIMED_OUT
    refused = health.refused or health.text is None
    yield Finding(target.label, "health", health.problem or "readable", unread if refused else None)
    if health.text is not None:
        for name, expression in _expressions(settings, _OVER_HEALTH):
            yield _tried(target, name, expression, health.text, None)


def _expressions(settings: Oms, names: tuple[str, ...]) -> Iterator[tuple[str, Expression]]:
    for name in names:
        expression = getattr(settings, name, None)
        if expression is not None:
            yield name.upper(), expression


def _tried(target: Target, name: str, expression: Expression, document: str, cause: Cause | None) -> Finding:
    try:
        return Finding(target.label, name, strict_json.dump(expression.only(document)))
    except ValueError as error:
        return Finding(target.label, name, f"error: {error}", cause)


def _verdict(findings: list[Finding]) -> Verdict:
    for cause in _WORST_FIRST:
        found = [
            f"{finding.target}: {finding.tried}: {finding.found}"
            for finding in findings
            if finding.cause is cause
        ]
        if found:
            return Verdict(cause, "; ".join(found))
    return Verdict(None, "every target could be read and every expression could be tried")


def _tell(findings: list[Finding]) -> None:
    """Print a table on a terminal, log lines elsewhere."""
    if not on_terminal():
        for finding in findings:
            cause = finding.cause.name.lower() if finding.cause else None
            logger().info(
                "checked", target=finding.target, tried=finding.tried, found=finding.found, cause=cause
            )
        return
    rows = [
        ("target", "tried", "found"),
        *((finding.target, finding.tried, finding.found) for finding in findings),
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for target, name, found in rows:
        print(redact(f"{target:<{widths[0]}}  {name:<{widths[1]}}  {found}"))  # noqa: T201  # a table, for a person
