"""What the commands are given: every secret that there is, and little time or enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.peer import Peer
from tests.hostile.process import FALLBACK_PATH, FALLBACK_QUERY, ROUTING_KEY, TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

APPLICATION = "oms-production"

QUICK_LOOKS = {"STANDBY_POLL_SECONDS": "0.05", "VERIFY_POLL_SECONDS": "0.05"}

BRIEF = QUICK_LOOKS | {
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "0.4",
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "0.4",
    "STANDBY_TIMEOUT_SECONDS": "1.5",
    "STANDBY_UNDO_SECONDS": "1",
    "VERIFY_TIMEOUT_SECONDS": "1.5",
    "ALERT_TIMEOUT_SECONDS": "2",
    "ALERT_GATHER_SECONDS": "0.5",
}
"""For endings that only the clock brings."""

PATIENT = QUICK_LOOKS | {
    "OMS_ATTEMPT_TIMEOUT_SECONDS": "2",
    "PAGERDUTY_ATTEMPT_TIMEOUT_SECONDS": "2",
    "STANDBY_TIMEOUT_SECONDS": "25",
    "STANDBY_UNDO_SECONDS": "25",
    "VERIFY_TIMEOUT_SECONDS": "25",
    "ALERT_TIMEOUT_SECONDS": "25",
    "ALERT_GATHER_SECONDS": "2",
}
"""For endings that must come long before the clock does, also on a loaded machine."""

AT_ONCE_SECONDS = 10.0
"""An ending that did not wait for `PATIENT`'s clock came within this."""


def given(
    *oms: Peer | str,
    pagerduty: Peer | str | None = None,
    fallback: Peer | None = None,
    times: Mapping[str, str] = PATIENT,
    **settings: str,
) -> dict[str, str]:
    """Return an environment with these peers and settings; an empty setting is an unset one."""
    environment = {"OMS_ADMIN_TOKEN": TOKEN, "ARGOCD_APP_NAME": APPLICATION}
    if oms:
        environment["OMS_URL"] = ",".join(_url(peer) for peer in oms)
    if pagerduty:
        environment["PAGERDUTY_ROUTING_KEY"] = ROUTING_KEY
        environment["PAGERDUTY_EVENTS_URL"] = f"{_url(pagerduty)}/v2/enqueue"
    if fallback:
        environment["ALERT_FALLBACK_URL"] = f"{fallback.url}{FALLBACK_PATH}?{FALLBACK_QUERY}"
    return environment | dict(times) | settings


def _url(peer: Peer | str) -> str:
    return peer.url if isinstance(peer, Peer) else peer
