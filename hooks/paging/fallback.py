"""The second way of a page: a webhook that takes what Slack's incoming webhooks take."""

from __future__ import annotations

from hooks import strict_json
from hooks.attempt import Outcome
from hooks.paging.endpoint import Endpoint
from hooks.paging.incident import Page
from hooks.settings import Incident, secret_urls


class Fallback:
    """One address that is told as well; any 2xx is delivered."""

    def __init__(self, settings: Incident, url: str) -> None:
        self.longest_attempt = settings.pagerduty_attempt_timeout_seconds
        self._endpoint = Endpoint(url, seconds=self.longest_attempt)
        self.label = self._endpoint.label

    async def tell(self, page: Page, within: float) -> Outcome:
        """Tell the page once."""
        return await self._endpoint.post(strict_json.dump({"text": page.text()}), within)

    async def aclose(self) -> None:
        await self._endpoint.aclose()


def fallbacks(settings: Incident) -> list[Fallback]:
    """Return every address that is told: several receivers need not share what they were told."""
    return [Fallback(settings, url) for url in secret_urls(settings.alert_fallback_url)]
