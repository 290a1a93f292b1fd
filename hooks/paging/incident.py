"""One incident: its key, its words, and the limits that they have to keep.

Limits: PagerDuty, Events API v2, "Send an Alert Event" (summary 1,024 and dedup_key 255 characters) and
"Payload size" (512 KB); a longer one is answered 400 and the page is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from hooks import redaction, settings, strict_json

LONGEST_SUMMARY = 1024
LONGEST_DEDUP_KEY = 255
LARGEST_EVENT = 500_000
_KEPT_OF_A_LONG_KEY = 190
_LONGEST_LINK = 4096
_LONGEST_FACT = 500
_MOST_FACTS = 20
_LIFE_OF_AN_ALERT = timedelta(hours=24)
_ANNOTATION = {"Application": "application_url", "Runbook": "runbook_url"}
_CUTS = (65_536, 8_192, 1_024, 128)


def dedup_key(incident: settings.Incident, suffix: str = "") -> str:
    """Return the key that trigger and resolve share: nothing in it changes from run to run."""
    key = (incident.pagerduty_dedup_key or "/".join(_default_key(incident))) + suffix
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
    parts = urlsplit(incident.argocd_url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"{address.rstrip('/')}/applications/{names}?operation=true"


def links(incident: settings.Paging) -> dict[str, str]:
    """Return what a page links to, a text and its address; what nobody could follow is left out."""
    found = {"Application": application_url(incident), "Runbook": incident.alert_runbook_url}
    return {text: href for text, href in found.items() if href and len(href) <= _LONGEST_LINK}


@dataclass(frozen=True)
class Kind:
    """What an incident is of: PagerDuty's class, Alertmanager's alertname, and what its key ends with."""

    name: str
    alert_name: str
    suffix: str = ""


SYNC_FAILED = Kind("argocd-sync-failed", "ArgoCDSyncFailed")
IN_STANDBY = Kind("oms-in-standby", "OmsInStandby", "/standby")
UNREADABLE = Kind("oms-unreadable", "OmsUnreadable", "/unreadable")


@dataclass(frozen=True)
class Page:
    """What a person is told; `facts` are the details for a chat, a line each; `links` maps a text to its address.

    The key for PagerDuty, and `alert_name`, application, namespace and severity for Alertmanager, are its
    identity: the same when it is opened, repeated and closed.
    """

    dedup_key: str
    alert_name: str
    application: str
    namespace: str
    severity: str
    source: str
    component: str | None
    kind: str
    summary: str = ""
    facts: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def about(cls, incident: settings.Incident, kind: Kind) -> Page:
        """Return the page of an incident, its words still to come."""
        return cls(
            dedup_key=dedup_key(incident, kind.suffix),
            alert_name=kind.alert_name,
            application=incident.argocd_app_name or "unknown",
            namespace=incident.argocd_app_namespace,
            severity=incident.pagerduty_severity,
            source=incident.pagerduty_source,
            component=incident.pagerduty_component or incident.argocd_app_name,
            kind=kind.name,
        )

    def event(self, *, minimal: bool = False) -> dict[str, Any]:
        """Return the event as PagerDuty takes it, without the routing key, within its limits.

        The minimal one holds what an event must have, in case something else in ours was wrong.
        """
        head = {"event_action": "trigger", "dedup_key": self.dedup_key}
        payload = {
            "summary": _summary(self.summary),
            "source": shortened(self.source, LONGEST_SUMMARY),
            "severity": self.severity,
        }
        if minimal:
            return {**head, "payload": payload}
        optional = {"component": self.component, "group": self.namespace, "class": self.kind}
        payload |= {name: shortened(value, LONGEST_SUMMARY) for name, value in optional.items() if value}
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

    def resolve_event(self) -> dict[str, Any]:
        """Return the event that closes the incident; without an open one PagerDuty drops it."""
        return {"event_action": "resolve", "dedup_key": self.dedup_key}

    def alert(self, now: datetime, *, ended: bool) -> dict[str, Any]:
        """Return the same as Alertmanager takes it (API v2, postableAlert).

        Without `endsAt` an alert ends by itself after `resolve_timeout`; without `startsAt` it would begin there.
        """
        labels = {
            "alertname": self.alert_name,
            "application": self.application,
            "namespace": self.namespace,
            "severity": self.severity,
        }
        annotations = {"summary": _summary(self.summary), "description": "\n".join(self._facts())}
        links = {_ANNOTATION[text]: href for text, href in self.links.items() if text in _ANNOTATION}
        return {
            "labels": labels,
            "annotations": {name: text for name, text in (annotations | links).items() if text},
            "startsAt": now.isoformat(),
            "endsAt": (now if ended else now + _LIFE_OF_AN_ALERT).isoformat(),
            **({"generatorURL": self.links["Application"]} if "Application" in self.links else {}),
        }

    def text(self, note: str = "") -> str:
        """Return the same for a chat: the summary, a note on who else was told, the facts, the links."""
        links = [f"{text}: {href}" for text, href in self.links.items()]
        return "\n".join(filter(None, [_summary(self.summary), _line(note), *self._facts(), *links]))

    def _facts(self) -> list[str]:
        return [_line(fact) for fact in self.facts[:_MOST_FACTS]]


def _line(text: str) -> str:
    return shortened(redaction.printable(redaction.redact(text)), _LONGEST_FACT)


def _summary(text: str) -> str:
    """Keep a summary on one line, printable and within its limit, and no secret in it."""
    return shortened(" ".join(redaction.printable(redaction.redact(text)).split()), LONGEST_SUMMARY)


def shortened(text: str, longest: int) -> str:
    """Cut a text to so many characters, with a mark; redact it before: half a secret is not recognised."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cut(details: Mapping[str, Any], longest: int) -> dict[str, Any]:
    """Return the details with every document, text and name in them cut to so many bytes."""
    return {_bytes_cut(name, longest): _cut_value(value, longest) for name, value in details.items()}


def _cut_value(value: Any, longest: int) -> Any:
    if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
        return _cut(value, longest)
    text = value if isinstance(value, str) else strict_json.dump(value)
    return value if len(text.encode("utf-8", "replace")) <= longest else _bytes_cut(text, longest)


def _bytes_cut(text: str, longest: int) -> str:
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= longest else encoded[:longest].decode(errors="ignore") + "…"
