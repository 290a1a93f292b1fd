"""PagerDuty, Events API v2: one event sent once. What the answer means is for classify.page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hooks import strict_json
from hooks.attempt import Outcome
from hooks.paging.endpoint import Endpoint
from hooks.paging.incident import Page
from hooks.settings import Incident


class PagerDuty:
    """The service whose integration key we hold; the key is in the body, there is no Authorization header."""

    def __init__(self, settings: Incident, routing_key: str) -> None:
        self.longest_attempt = settings.pagerduty_attempt_timeout_seconds
        self._routing_key = routing_key
        self._endpoint = Endpoint(settings.pagerduty_events_url, seconds=self.longest_attempt)

    async def trigger(self, page: Page, within: float, *, minimal: bool = False) -> Outcome:
        """Open the incident, or add to the open one of the same key."""
        return await self._send(page.event(minimal=minimal), within)

    async def resolve(self, page: Page, within: float) -> Outcome:
        """Close the incident."""
        return await self._send(page.resolve_event(), within)

    async def _send(self, event: Mapping[str, Any], within: float) -> Outcome:
        body = strict_json.dump({"routing_key": self._routing_key, **event})
        return await self._endpoint.post(body, within, decisive={202})

    async def aclose(self) -> None:
        await self._endpoint.aclose()
