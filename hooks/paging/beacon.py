"""One incident of the watchdog: kept in the state that is wanted, whatever PagerDuty does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hooks.log import logger
from hooks.paging.delivery import PAGERDUTY, Delivery, Endurance, close
from hooks.paging.incident import Page
from hooks.settings import Watch

_PAUSE_AFTER_A_BUG = 30.0


class Beacon:
    """Opens, repeats and closes one incident, and always sends the newest state that is wanted.

    A page that is not delivered is tried for ever; one that lasts is repeated with the same key, since somebody
    may have closed it too early.
    """

    def __init__(
        self, given: Callable[[], Watch], page: Callable[[], Page], counted: Callable[[str], None]
    ) -> None:
        """Ask for settings and words anew whenever something is sent: secrets are rotated, and time passes."""
        self._given = given
        self._page = page
        self._counted = counted
        self._is_open: bool | None = None
        self._is_settled = True
        self._changed = asyncio.Event()
        self._fallback_was_told = False

    def want(self, *, is_open: bool) -> None:
        """Say in which state the incident should be from now on."""
        if is_open is not self._is_open:
            self._is_open = is_open
            self._changed.set()

    def renew(self) -> None:
        """Try with the settings that there are now what could not be sent with the former."""
        if not self._is_settled:
            self._changed.set()

    async def run(self) -> None:
        """Follow what is wanted, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._is_settled = False
            await self._unless_changed(self._keep_open() if self._is_open else self._keep_closed())

    async def _keep_open(self) -> None:
        while True:
            given = self._given()
            endurance = Endurance(fallback_at_once=self._fallback_was_told)
            delivery = Delivery(given, self._page(), endurance, hurry=asyncio.Event(), counted=self._counted)
            ended = await self._delivered(delivery, given.watch_repeat_seconds)
            self._fallback_was_told |= any(receiver != PAGERDUTY for receiver in delivery.told)
            self._is_settled = PAGERDUTY in delivery.told
            if ended:
                await asyncio.sleep(given.watch_repeat_seconds if delivery.told else _PAUSE_AFTER_A_BUG)

    async def _delivered(self, delivery: Delivery, repeat_seconds: float) -> bool:
        """Deliver a page; end early, with False, when who was told in place of PagerDuty is to be told again."""
        delivering = asyncio.ensure_future(delivery.run())
        try:
            while not delivering.done():
                await asyncio.wait({delivering}, timeout=repeat_seconds)
                if delivery.told:
                    break
            return delivering.done()
        finally:
            delivering.cancel()
            await asyncio.wait({delivering})

    async def _keep_closed(self) -> None:
        while True:
            if await close(self._given(), self._page(), webhooks_were_told=self._fallback_was_told):
                break
            await asyncio.sleep(_PAUSE_AFTER_A_BUG)
        self._is_settled = True
        self._fallback_was_told = False

    async def _unless_changed(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(step)
        changing = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({task, changing}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and (broken := task.exception()):
                logger().error("incident_broke", exc_info=broken)
                await asyncio.sleep(_PAUSE_AFTER_A_BUG)
                self._changed.set()
        finally:
            task.cancel()
            changing.cancel()
            await asyncio.wait({task, changing})
