"""Watch for an OMS that does not trade, and of which no hook can tell.

Argo CD starts no SyncFail hook when a sync is terminated, times out, never ends or skips its hooks. This runs
for ever, outside of the Application that it watches, and pages when the OMS is left in our standby, or when
nobody can read in which mode it is.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

from hooks import command, settings
from hooks.log import logger
from hooks.metrics import Metrics, TargetMetrics, serve
from hooks.oms.addresses import Address
from hooks.oms.documents import Look, Ownership, State, since
from hooks.oms.fleet import Fleet
from hooks.oms.report import details, lines, modes_in_words, return_command, trades, what_to_do
from hooks.oms.target import Target
from hooks.oms.vigil import Seen, Vigil, Wanted
from hooks.paging.beacon import Beacon
from hooks.paging.incident import IN_STANDBY, UNREADABLE, Page, links
from hooks.settings import MisconfiguredError, Watch
from hooks.verdict import Cause, Verdict
from hooks.waiting import Deadline, Rounds, StoppedError, now, unless_stopped

_SLACK_OF_A_ROUND = 10.0


async def decide(given: Watch, stop: asyncio.Event) -> Verdict:
    """Watch until SIGTERM."""
    gc.enable()  # this one lives long enough for cycles to matter
    metrics = Metrics(_longest_round(given))
    try:
        server = serve(metrics, given.watch_listen)
    except OSError as error:
        return Verdict(
            Cause.MISCONFIGURED, f"WATCH_LISTEN: {given.watch_listen} cannot be listened on: {error.strerror}"
        )
    logger().info("watching", listen=given.watch_listen, port=server.server_port)
    watchdog = Watchdog(given, metrics)
    try:
        await unless_stopped(stop, watchdog.run())
    except StoppedError:
        return Verdict(None, "SIGTERM ended the watch", watchdog.fleet.observations())
    raise AssertionError("unreachable: the watch runs for ever")


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    command.run(command.Parser("standby-watchdog", __doc__, Watch), _decide)


async def _decide(given: Watch, _arguments: argparse.Namespace, stop: asyncio.Event) -> Verdict:
    return await decide(given, stop)


class Watchdog:
    """The rounds of looks, and the two incidents that they open and close."""

    def __init__(self, given: Watch, metrics: Metrics) -> None:
        self.fleet = Fleet(given)
        self._given = given
        self._files = settings.files_of(given)
        self._metrics = metrics
        self._vigil = Vigil(
            Ownership.of(given),
            standby_seconds=given.watch_standby_seconds,
            unreadable_seconds=given.watch_unreadable_seconds,
        )
        self._in_standby = Beacon(lambda: self._given, self._page_of_standby, metrics.count_page)
        self._unreadable = Beacon(lambda: self._given, self._page_of_unreadable, metrics.count_page)
        self._last_read: dict[Address, tuple[State, float]] = {}
        self._not_trading_since: dict[Address, float] = {}

    async def run(self) -> None:
        """Look, and keep both incidents in the state that is wanted, for ever."""
        await asyncio.gather(self._watch(), self._in_standby.run(), self._unreadable.run())

    async def _watch(self) -> None:
        async for _ in Rounds(self._given.watch_poll_seconds, Deadline(math.inf)):
            await self._read_files_again()
            try:
                looks = await self._look()
            except Exception:  # noqa: BLE001  # a round that breaks is one in which nothing could be read
                logger().error("round_broke", exc_info=True)
                looks = {}
            self._conclude(looks)

    async def _look(self) -> dict[Target, Look]:
        deadline = Deadline(2 * self._given.oms_attempt_timeout_seconds)
        await self.fleet.resolve(deadline)
        await self.fleet.forget_gone()
        return await self.fleet.modes(self.fleet.targets, deadline)

    def _conclude(self, looks: Mapping[Target, Look]) -> None:
        seen = {target.address: self._seen(target.address, look) for target, look in looks.items()}
        for beacon, wanted in zip(
            (self._in_standby, self._unreadable), self._vigil.note(now(), seen), strict=True
        ):
            if wanted is not None:
                beacon.want(is_open=wanted is Wanted.OPEN)
        if seen:
            self._forget_all_but(seen)
        told = [self._metrics_of(address, of) for address, of in seen.items()]
        # Two names behind one address share a label: the worse is told.
        worst_last = sorted(told, key=lambda of: (of.mode != "active", of.standby_seconds))
        by_label = {of.target: of for of in worst_last}
        self._metrics.note_round(tuple(by_label.values()), next_within=_longest_round(self._given))

    def _seen(self, address: Address, look: Look) -> Seen:
        if look.mode is None:
            return Seen(look, self._last_read[address][0] if address in self._last_read else None)
        self._last_read[address] = (look.mode.state, time.time())
        if look.mode.state is State.ACTIVE:
            self._not_trading_since.pop(address, None)
        else:
            self._not_trading_since.setdefault(address, now())
        moment = since(self._given.oms_since_filter, look.mode.document)
        age = (datetime.now(UTC) - moment).total_seconds() if moment else None
        return Seen(look, look.mode.state, age if age is not None and age >= 0 else None)

    def _forget_all_but(self, seen: Mapping[Address, Seen]) -> None:
        for remembered in (self._last_read, self._not_trading_since):
            for address in remembered.keys() - seen.keys():
                del remembered[address]

    def _metrics_of(self, address: Address, seen: Seen) -> TargetMetrics:
        mode = seen.look.mode
        names = Ownership.of(self._given)
        begun = self._not_trading_since.get(address)
        seconds = max(seen.age or 0.0, now() - begun if begun is not None else 0.0)
        return TargetMetrics(
            target=address.label,
            mode=mode.state.value if mode else "unreadable",
            owner=_owner_in_words(names, mode.owner) if mode else "",
            standby_seconds=seconds,
            last_read=self._last_read[address][1] if address in self._last_read else None,
        )

    async def _read_files_again(self) -> None:
        """Take rotated secrets and certificates; faults keep the old values."""
        files = settings.files_of(self._given)
        if files == self._files:
            return
        self._files = files
        try:
            self._given = settings.load(Watch)
        except MisconfiguredError as error:
            logger().error("files_not_usable", reason=str(error))
            return
        logger().info("files_read_again")
        await self.fleet.aclose()
        self.fleet = Fleet(self._given)
        self._in_standby.renew()
        self._unreadable.renew()

    def _page_of_standby(self) -> Page:
        held_for = self._vigil.held_for(now())
        if not held_for:
            what = "our standby is over"
        elif any(map(trades, self.fleet.targets)):
            what = f"our standby has lasted {_in_words(held_for)}"
        else:
            what = f"the OMS has not been trading for {_in_words(held_for)}"
        return self._page(Page.about(self._given, IN_STANDBY), what)

    def _page_of_unreadable(self) -> Page:
        unreadable_for = self._vigil.unreadable_for(now())
        problems = [
            target.mode.problem for target in self.fleet.targets if target.mode and target.mode.problem
        ]
        why = f" ({problems[0]})" if problems else ""
        what = f"nobody could read the OMS's mode for {_in_words(unreadable_for)}{why}"
        page = Page.about(self._given, UNREADABLE)
        return self._page(page, what if unreadable_for else "the OMS's mode can be read again")

    def _page(self, page: Page, what: str) -> Page:
        given, targets = self._given, self.fleet.targets
        modes = modes_in_words(targets, Ownership.of(given), given.oms_since_filter)
        told = {
            "application": f"{page.namespace}/{page.application}",
            "targets": details(targets, given.oms_since_filter),
            "return_to_active": return_command(given.service_account_dir),
        }
        return replace(
            page,
            summary="; ".join(filter(None, (f"{page.application}: {what}", modes, self.fleet.problem))),
            facts=[*what_to_do(targets, given.service_account_dir), *lines(targets)],
            details=told,
            links=links(given),
        )


def _longest_round(given: Watch) -> float:
    """Return how many seconds may pass from one round's end to the next one's, whatever hangs."""
    return given.watch_poll_seconds + 4 * given.oms_attempt_timeout_seconds + _SLACK_OF_A_ROUND


def _owner_in_words(names: Ownership, owner: str | None) -> str:
    """Return whose standby it is without what a peer says: labels must stay few."""
    if owner is None:
        return "nobody"
    return names.reason if names.is_ours(owner) else "somebody else"


def _in_words(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, (f"{hours} h" if hours else "", f"{rest} min" if rest else "")))
