"""A peer outside the cluster, found by a whole URL and spoken to through the environment's proxy, if any."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Container
from urllib.parse import unquote, urlsplit

from hooks import redaction
from hooks.attempt import Outcome, Peer, no_trust, system_trust
from hooks.log import logger
from hooks.proxies import route

_LARGEST_ANSWER = 65_536


class Endpoint:
    """One URL to which JSON is posted."""

    def __init__(self, url: str, *, seconds: float) -> None:
        """Bound every attempt by so many seconds."""
        parts = urlsplit(url)
        user_info, _, location = parts.netloc.rpartition("@")
        redaction.hide_url(url, path=False)
        way = route(url)
        for variable, fault in way.faults.items():
            logger().warning("proxy_variable_not_usable", variable=variable, reason=fault)
        credentials = b64encode(unquote(user_info).encode()).decode()
        through_tls = "https" in {parts.scheme, urlsplit(way.proxy or "").scheme}
        self.label = location
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._peer = Peer(
            f"{parts.scheme}://{location}",
            trust=system_trust() if through_tls else no_trust(),
            headers={"Authorization": f"Basic {credentials}"} if user_info else None,
            proxy=way.proxy,
            seconds=seconds,
            max_body_bytes=_LARGEST_ANSWER,
        )

    async def post(self, body: str, within: float, *, decisive: Container[int], below: str = "") -> Outcome:
        """Send one document, to the URL's own path or to one below it; a `decisive` status is all that is read."""
        path = self._path.rstrip("/") + below if below else self._path
        return await self._peer.ask("POST", path, body=body, within=within, decisive=decisive)

    async def aclose(self) -> None:
        await self._peer.aclose()
