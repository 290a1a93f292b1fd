"""Page on-call that a sync has failed, and say in which mode the OMS is now.

Only what makes a page impossible is misconfiguration. Any other fault of the environment becomes the default,
and is named in the page.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from hooks import command, settings
from hooks.argocd import Operation, read_operation
from hooks.log import logger
from hooks.oms.documents import Ownership, State
from hooks.oms.fleet import Fleet, Requests
from hooks.oms.report import details, lines, modes_in_words, return_command, trades, what_to_do
from hooks.oms.target import Target
from hooks.oms.way_back import WayBack
from hooks.paging.delivery import Delivery, Endurance
from hooks.paging.incident import SYNC_FAILED, Page, links, shortened
from hooks.redaction import redact
from hooks.settings import Alert, AlertByPagerDuty, MisconfiguredError
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, StoppedError, unless_stopped

_WITHOUT_WHICH_NO_PAGE = frozenset({"PAGERDUTY_ROUTING_KEY", "PAGERDUTY_EVENTS_URL"})
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_REVISION = 8
_LONGEST_REVISION = 40
_CAUSES_TOLD = 2
_LONGEST_CAUSE = 200


@dataclass(frozen=True)
class Alarm:
    """What the environment allows: settings with defaults in place of what is faulty, and the faults."""

    settings: Alert
    faults: Mapping[str, str]

    @property
    def prevented(self) -> MisconfiguredError | None:
        """Return what makes a page by PagerDuty impossible."""
        faults = {name: fault for name, fault in self.faults.items() if name in _WITHOUT_WHICH_NO_PAGE}
        return MisconfiguredError(faults) if faults else None


def load() -> Alarm:
    """Read the environment and make do with what can be used of it."""
    try:
        return Alarm(settings.load(AlertByPagerDuty), {})
    except MisconfiguredError as error:
        required = error.faults
    usable, faults = settings.load_what_can_be_used(Alert)
    faults = {**required, **faults}
    for variable, fault in faults.items():
        logger().error("variable_not_usable", variable=variable, reason=fault)
    if _WITHOUT_WHICH_NO_PAGE & faults.keys():
        usable = usable.model_copy(update={"pagerduty_routing_key": None})
    return Alarm(usable, faults)


async def decide(alarm: Alarm, stop: asyncio.Event) -> Verdict:
    """Play the whole command: gather, recover if told to, page; nothing that goes wrong on the way costs the page."""
    gathering = Gathering(alarm)
    try:
        await unless_stopped(stop, gathering.run())
    except StoppedError:
        gathering.notes.append("SIGTERM cut the gathering of facts short")
    except Exception as error:  # noqa: BLE001  # told in the page: a page that lacks a fact beats no page
        logger().error("gathering_broke", exc_info=True)
        gathering.notes.append(f"a bug cut the gathering of facts short: {type(error).__name__}: {error}")
    with contextlib.suppress(Exception):  # what cannot be closed must not cost the page
        await gathering.aclose()
    endurance = Endurance(alarm.settings.alert_timeout_seconds, second_400_ends=True)
    verdict = await Delivery(alarm.settings, _page(alarm, gathering), endurance, hurry=stop).run()
    if alarm.prevented is not None:
        verdict = Verdict(
            Cause.MISCONFIGURED, f"PagerDuty cannot be paged: {alarm.prevented}; otherwise: {verdict.reason}"
        )
    return verdict.with_targets(gathering.observations)


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    command.run(command.Parser("syncfail-alert", __doc__, AlertByPagerDuty), _decide, load)


async def _decide(alarm: Alarm, _arguments: argparse.Namespace, stop: asyncio.Event) -> Verdict:
    return await decide(alarm, stop)


class Gathering:
    """What is known for the page, as far as it was come by; and the recovery, where it is wanted."""

    def __init__(self, alarm: Alarm) -> None:
        self.targets: tuple[Target, ...] = ()
        self.notes: list[str] = []
        self.problem: str | None = None
        self.application_problem: str | None = None
        self.recovery: str | None = None
        self.operation: Operation | None = None
        self._alarm = alarm
        self._settings = alarm.settings
        self._names = Ownership.of(alarm.settings)
        self._fleet: Fleet | None = None

    async def run(self) -> None:
        """Gather everything at once, then recover."""
        deadline = Deadline(self._settings.alert_gather_seconds)
        await asyncio.gather(self._look(deadline), self._ask_argocd(deadline))
        if self._settings.alert_recovery == "return-to-active":
            self.recovery = "not finished"
            self.recovery = await self._recover()

    async def aclose(self) -> None:
        """Give up what connections are kept: the pager needs file descriptors of its own."""
        if self._fleet is not None:
            await self._fleet.aclose()

    @property
    def observations(self) -> dict[str, Any]:
        return self._fleet.observations() if self._fleet else {}

    async def _look(self, deadline: Deadline) -> None:
        if not self._settings.oms_url:
            return
        self._fleet = fleet = Fleet(self._settings)
        await fleet.resolve(deadline)
        self.targets = fleet.targets
        self.problem = fleet.problem
        if fleet.problem is not None:
            self.notes.append(fleet.problem)
        await asyncio.gather(fleet.modes(fleet.targets, deadline), fleet.healths(fleet.targets, deadline))

    async def _ask_argocd(self, deadline: Deadline) -> None:
        if self._settings.argocd_app_name is None:
            return
        reading = await read_operation(self._settings, deadline)
        self.operation = reading.operation
        self.application_problem = reading.problem
        if reading.problem is not None:
            self.notes.append(reading.problem)

    async def _recover(self) -> str:
        """Return to trading what is ours and healthy; say how that ended."""
        obstacle = self._obstacle()
        if obstacle or self._fleet is None:
            return f"not tried: {obstacle}"
        if all(map(trades, self.targets)):
            return "not needed: every target trades"
        deadline = Deadline(self._settings.standby_undo_seconds)
        way = WayBack(
            self._fleet,
            healthy=self._settings.verify_condition,
            hopeless=None,
            consecutive=self._settings.verify_consecutive,
            poll_seconds=self._settings.verify_poll_seconds,
        )
        requests = Requests(self._settings.oms_active_body, self._names.mine)
        failed = await way.verify(deadline) or await way.bring_back(requests, self._names.is_ours, deadline)
        if failed:
            return f"failed: {failed.reason}"
        but = ", but for what somebody else has taken meanwhile" if way.left else ""
        return f"returned {', '.join(requests.asked) or 'nothing'} to trading{but}"

    def _obstacle(self) -> str | None:
        """Return why nothing may be returned to trading without a person."""
        if self._alarm.faults:
            return f"the environment has faults: {', '.join(self._alarm.faults)}"
        if self.operation is not None and self.operation.was_rejected:
            return "what is deployed was rejected by a PostSync hook"
        for target in self.targets:
            mode = target.mode.mode if target.mode else None
            if mode is None:
                return f"{target}"
            if mode.state is State.STANDBY and not self._names.is_ours(mode.owner):
                return f"somebody else holds {target.label}"
        return None if self.targets else "no target is known"


def _page(alarm: Alarm, gathering: Gathering) -> Page:
    """Compose the page; when that breaks, what a page must have."""
    given = alarm.settings
    bare = replace(
        Page.about(given, SYNC_FAILED),
        summary=f"{_application(given)}: Argo CD sync failed; whether the OMS trades could not be said",
    )
    try:
        told = [_what_failed(given, gathering), _modes(given, gathering)]
        told += _what_runs(gathering.operation)
        told += [f"recovery: {gathering.recovery}"] if gathering.recovery else []
        whole = replace(
            bare,
            summary="; ".join(told),
            facts=_facts(alarm, gathering),
            details=_details(alarm, gathering),
            links=links(given),
        )
        whole.event()
    except Exception:  # noqa: BLE001  # a page without its facts beats no page
        logger().error("composing_broke", exc_info=True)
        return bare
    return whole


def _application(given: Alert) -> str:
    return given.argocd_app_name or "unknown (ARGOCD_APP_NAME is unset)"


def _what_failed(given: Alert, gathering: Gathering) -> str:
    """Say which application at which revision, and what failed in which phase and why."""
    operation = gathering.operation
    if operation is None:
        unknown = " (why could not be read)" if gathering.application_problem else ""
        return f"{_application(given)}: Argo CD sync failed{unknown}"
    revision = f" at {_short(operation.revision)}" if operation.revision else ""
    failed = [
        shortened(redact(str(resource)), _LONGEST_CAUSE) for resource in operation.failed[:_CAUSES_TOLD]
    ]
    more = len(operation.failed) - _CAUSES_TOLD
    failed += [f"and {more} more failed"] if more > 0 else []
    causes = f": {'; '.join(failed)}" if failed else ""
    return f"{_application(given)}{revision}: Argo CD sync failed{causes}"


def _short(revisions: str) -> str:
    """Shorten commits, and nothing else: a chart's version is told whole."""
    return ", ".join(
        revision[:_SHORT_REVISION]
        if _COMMIT.fullmatch(revision)
        else shortened(redact(revision), _LONGEST_REVISION)
        for revision in revisions.split(", ")
    )


def _what_runs(operation: Operation | None) -> list[str]:
    """Say which version runs, as far as the furthest phase tells it."""
    if operation is None or operation.furthest_phase is None:
        return []
    return [
        "nothing was replaced" if operation.furthest_phase == "PreSync" else "the new version may be running"
    ]


def _modes(given: Alert, gathering: Gathering) -> str:
    """Say in which mode each target is now, and since when ours are not trading."""
    if not given.oms_url:
        return "OMS_URL is unset: whether the OMS trades is not known"
    if not gathering.targets:
        return f"{gathering.problem or 'no target was looked at'}: not known to trade"
    return modes_in_words(gathering.targets, Ownership.of(given), given.oms_since_filter)


def _facts(alarm: Alarm, gathering: Gathering) -> list[str]:
    """Return what a chat is told besides the summary, a line each."""
    given = alarm.settings
    failed = gathering.operation.failed if gathering.operation else ()
    faults = [f"{variable}: {fault}" for variable, fault in alarm.faults.items()]
    return [
        *map(str, failed[:_CAUSES_TOLD]),
        *_how_it_was_begun(gathering.operation),
        *what_to_do(gathering.targets, given.service_account_dir),
        *faults,
        *gathering.notes,
        *lines(gathering.targets, given.verify_condition),
    ]


def _how_it_was_begun(operation: Operation | None) -> list[str]:
    if operation is None:
        return []
    begun = f"begun by {operation.initiated_by}" if operation.initiated_by else ""
    retries = f"after {operation.retries} retries" if operation.retries else ""
    told = ", ".join(
        filter(
            None, (f"reached {operation.furthest_phase}" if operation.furthest_phase else "", begun, retries)
        )
    )
    return [told] if told else []


def _details(alarm: Alarm, gathering: Gathering) -> dict[str, Any]:
    given = alarm.settings
    told: dict[str, Any] = {
        "application": f"{given.argocd_app_namespace}/{given.argocd_app_name or 'unknown'}",
        "targets": details(gathering.targets, given.oms_since_filter),
        **_operation_details(gathering.operation),
        "recovery": gathering.recovery,
        "return_to_active": return_command(given.service_account_dir),
        "faults_of_the_environment": dict(alarm.faults),
        "notes": "; ".join(gathering.notes),
    }
    return {name: value for name, value in told.items() if value}


def _operation_details(operation: Operation | None) -> dict[str, Any]:
    if operation is None:
        return {}
    return {
        "revision": operation.revision,
        "furthest_phase": operation.furthest_phase,
        "failed": [str(resource) for resource in operation.failed],
        "initiated_by": operation.initiated_by,
        "retries_so_far": operation.retries,
    }
