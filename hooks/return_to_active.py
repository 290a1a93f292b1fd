"""Return the OMS to trading by hand: verify its health, return what is ours, confirm.

For on-call after an aborted deployment. A standby that somebody else owns is left, and its owner named.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import NoReturn

from hooks import command
from hooks.oms.documents import Ownership
from hooks.oms.fleet import Fleet, Requests
from hooks.oms.way_back import WayBack
from hooks.settings import Verification
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, StoppedError, unless_stopped


async def decide(
    settings: Verification, stop: asyncio.Event, *, skip_health: bool, owner: str | None
) -> Verdict:
    """Play the whole command; `owner` is a name whose standby may be ended as well."""
    fleet = Fleet(settings)
    try:
        verdict = await unless_stopped(stop, _returned(settings, fleet, skip_health=skip_health, owner=owner))
    except StoppedError:
        verdict = Verdict(Cause.TERMINATED, f"SIGTERM before every target was returned: {fleet}")
    await fleet.aclose()
    return verdict.with_targets(fleet.observations())


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    parser = command.Parser("return-to-active", __doc__, Verification)
    parser.add_argument("--skip-health", action="store_true", help="skip the health check and nothing else")
    parser.add_argument("--owner", metavar="NAME", help="also return a standby that names exactly NAME")
    command.run(parser, _decide)


async def _decide(settings: Verification, arguments: argparse.Namespace, stop: asyncio.Event) -> Verdict:
    return await decide(settings, stop, skip_health=arguments.skip_health, owner=arguments.owner)


async def _returned(settings: Verification, fleet: Fleet, *, skip_health: bool, owner: str | None) -> Verdict:
    names = Ownership.of(settings)
    way = WayBack(
        fleet,
        healthy=settings.verify_condition,
        hopeless=settings.verify_fail_condition,
        consecutive=0 if skip_health else settings.verify_consecutive,
        poll_seconds=settings.verify_poll_seconds,
    )
    deadline = Deadline(settings.verify_timeout_seconds)
    failed = None if skip_health else await way.verify(deadline)
    if failed is None:
        requests = Requests(settings.oms_active_body, names.mine)
        within = Deadline(max(deadline.remaining, settings.standby_undo_seconds))
        failed = await way.bring_back(requests, _may_return(names, owner), within)
    if failed is None and way.left:
        left = "; ".join(sorted(str(target) for target in way.left))
        failed = Verdict(Cause.REFUSED, f"left to its owner, who is not us (--owner NAME returns it): {left}")
    return failed or Verdict(None, f"every target trades: {fleet}")


def _may_return(names: Ownership, owner: str | None) -> Callable[[str | None], bool]:
    def may(named: str | None) -> bool:
        return names.is_ours(named) or (owner is not None and named == owner)

    return may
