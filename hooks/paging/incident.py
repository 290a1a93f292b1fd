"""One incident: its key, its words, and the limits that they have to keep.

Limits: PagerDuty, Events API v2, "Send an Alert Event" (summary 1,024 and dedup_key 255 characters) and
"Payload size" (512 KB); a longer one is answered 400 and the page is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from hooks import redaction, settings, strict_json

LONGEST_SUMMARY = 1024
LONGEST_DEDUP_KEY = 255
LARGEST_EVENT = 500_000
_KEPT_OF_A_LONG_KEY = 190
_CUTS = (65_536, 8_192, 1_024, 128)


def dedup_key(incident: settings.Incident) -> str:
    """Return the key that trigger and resolve share: nothing in it changes from run to run."""
    key = incident.pagerduty_dedup_key or "/".join(_default_key(incident))
    if len(key) <= LONGEST_DEDUP_KEY:
        return key
    return f"{key[:_KEPT_OF_A_LONG_KEY]}-{hashlib.sha256(key.encode()).hexdigest()}"


def _default_key(incident: settings.Incident) -> list[str]:
    instance = urlsplit(incident.argocd_url or "").hostname
    names = ["argocd-sync", instance, incident.argocd_app_namespace, incident.argocd_app_name or "unknown"]
    return [name for name in names if name]


def application_url(incident: settings.Incident) -> str | None:
    """Return where Argo CD shows the operation."""
    if incident.argocd_url is None or incident.argocd_app_name is None:
        return None
    names = f"{quote(incident.argocd_app_namespace, safe='')}/{quote(incident.argocd_app_name, safe='')}"
    return f"{incident.argocd_url.rstrip('/')}/applications/{names}?operation=true"


@dataclass(frozen=True)
class Page:
    """What a person is told; `links` maps a text to its address."""

    dedup_key: str
    summary: str
    severity: str
    source: str
    component: str | None
    group: str | None
    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def event(self, *, minimal: bool = False) -> dict[str, Any]:
        """Return the event as PagerDuty takes it, without the routing key, within its limits.

        The minimal one holds what an event must have, in case something else in ours was wrong.
        """
        head = {"event_action": "trigger", "dedup_key": self.dedup_key}
        payload = {"summary": _summary(self.summary), "source": self.source, "severity": self.severity}
        if minimal:
            return {**head, "payload": payload}
        optional = {"component": self.component, "group": self.group, "class": self.kind}
        payload |= {name: value for name, value in optional.items() if value}
        links = [{"href": href, "text": text} for text, href in self.links.items()]
        client = {"client": "Argo CD", "client_url": href} if (href := self.links.get("Application")) else {}
        whole = {**head, "payload": payload, "links": links, **client}
        return whole | {"payload": {**payload, "custom_details": self._fitting(whole)}}

    def _fitting(self, rest: Mapping[str, Any]) -> Any:
        """Return the details, cut until the event is within its limit."""
        room = LARGEST_EVENT - len(strict_json.dump(rest).encode())
        details = redaction.redact(dict(self.details))
        for longest in (LARGEST_EVENT, *_CUTS):
            cut = _cut(details, longest)
            if len(strict_json.dump(cut).encode()) <= room:
                return cut
        return {"note": "the details were too long for an event"}

    def text(self) -> str:
        """Return the same for a chat: the summary, then details that fit on a screen, then the links."""
        told = redaction.redact(dict(self.details))
        facts = [
            f"{name}: {strict_json.dump(value) if isinstance(value, dict | list) else value}"
            for name, value in told.items()
        ]
        links = [f"{text}: {href}" for text, href in self.links.items()]
        return "\n".join([_summary(self.summary), *(_shortened(fact, 500) for fact in facts), *links])


def resolve_event(key: str) -> dict[str, Any]:
    """Return the event that closes an incident; without an open one PagerDuty drops it."""
    return {"event_action": "resolve", "dedup_key": key}


def _summary(text: str) -> str:
    """Keep a summary on one line and within its limit, and no secret in it."""
    return _shortened(" ".join(redaction.redact(text).split()), LONGEST_SUMMARY)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cut(value: Any, longest: int) -> Any:
    """Return the details with every document and text cut to so many bytes of JSON."""
    if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
        return {str(name)[:longest]: _cut(item, longest) for name, item in value.items()}
    text = value if isinstance(value, str) else strict_json.dump(value)
    if len(text.encode("utf-8", "replace")) <= longest:
        return value
    return text.encode("utf-8", "replace")[:longest].decode(errors="ignore") + "…"
