"""The second way of a page: a webhook that takes what Slack's take, or an Alertmanager; any 2xx is delivered."""

from __future__ import annotations

from datetime import UTC, datetime

from hooks import redaction, strict_json
from hooks.attempt import Outcome
from hooks.paging.endpoint import Endpoint
from hooks.paging.incident import Page
from hooks.settings import Incident, secret_urls

_ANY_2XX = range(200, 300)


class Fallback:
    """One address that is told as well. Several are all told: Alertmanagers do not share their alerts."""

    def __init__(self, settings: Incident, url: str) -> None:
        self.longest_attempt = settings.pagerduty_attempt_timeout_seconds
        self._is_webhook = settings.alert_fallback_format == "slack"
        redaction.hide_url(url, path=self._is_webhook)
        self._endpoint = Endpoint(url, seconds=self.longest_attempt)

    async def tell(self, page: Page, within: float, *, note: str = "", ended: bool = False) -> Outcome:
        """Tell the page, or its end, once; a chat also the note on who else was told."""
        if self._is_webhook:
            text = f"Over: {page.text()}" if ended else page.text(note)
            return await self._endpoint.post(strict_json.dump({"text": text}), within, decisive=_ANY_2XX)
        alerts = [page.alert(datetime.now(UTC), ended=ended)]
        return await self._endpoint.post(
            strict_json.dump(alerts), within, decisive=_ANY_2XX, below="/api/v2/alerts"
        )

    async def aclose(self) -> None:
        await self._endpoint.aclose()


def labelled(settings: Incident) -> dict[str, str]:
    """Map what each fallback is called, which is no secret, to its address, which is."""
    urls = secret_urls(settings.alert_fallback_url)
    return {
        f"fallback {number} of {len(urls)}" if len(urls) > 1 else "fallback": url
        for number, url in enumerate(urls, 1)
    }
