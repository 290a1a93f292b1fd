"""Verify every target's deep health, return it to trading, and close the incident that a failed sync opened."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NoReturn

from hooks import command
from hooks.oms.documents import Ownership
from hooks.oms.fleet import Fleet, Requests
from hooks.oms.way_back import WayBack, trading_or_left
from hooks.paging.delivery import close
from hooks.paging.incident import SYNC_FAILED, Page
from hooks.settings import Postsync
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, StoppedError, unless_stopped

_CLOSING_SECONDS = 10.0


async def decide(settings: Postsync, stop: asyncio.Event) -> Verdict:
    """Play the whole command."""
    fleet = Fleet(settings)
    try:
        verdict = await unless_stopped(stop, _verified(settings, fleet))
    except StoppedError:
        verdict = Verdict(
            Cause.TERMINATED, f"SIGTERM before the deployment was verified and returned: {fleet}"
        )
    if verdict.cause is None and settings.pagerduty_routing_key is not None:
        with contextlib.suppress(StoppedError):
            await unless_stopped(stop, _close_incident(settings, fleet))
    await fleet.aclose()
    return verdict.with_targets(fleet.observations())


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    command.run(
        command.Parser("postsync-verify", __doc__, Postsync), lambda given, _, stop: decide(given, stop)
    )


async def _verified(settings: Postsync, fleet: Fleet) -> Verdict:
    way = WayBack(
        fleet,
        healthy=settings.verify_condition,
        hopeless=settings.verify_fail_condition,
        consecutive=settings.verify_consecutive,
        poll_seconds=settings.verify_poll_seconds,
    )
    deadline = Deadline(settings.verify_timeout_seconds)
    failed = await way.verify(deadline, deployed=True)
    if failed is None and settings.verify_return_to_active:
        names = Ownership.of(settings)
        requests = Requests(settings.oms_active_body, names.mine)
        within = Deadline(max(deadline.remaining, settings.standby_undo_seconds))
        failed = await way.bring_back(requests, names.is_ours, within)
    if failed is None and settings.verify_soak_seconds > 0:
        failed = await way.soak(settings.verify_soak_seconds)
    return failed or Verdict(None, f"every target is verified: {fleet}")


async def _close_incident(settings: Postsync, fleet: Fleet) -> None:
    """Close what syncfail-alert would have opened, unless the OMS is in our standby still.

    A good deployment never fails because of a pager.
    """
    deadline = Deadline(_CLOSING_SECONDS)
    await fleet.modes(fleet.targets, deadline)
    if trading_or_left(fleet.targets, Ownership.of(settings).is_foreign):
        await close(settings, Page.about(settings, SYNC_FAILED), seconds=deadline.remaining)
