"""One target: read its mode, read its health, switch it."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import replace
from typing import Any

from hooks import classify, strict_json
from hooks.attempt import Failure, NoAnswer, Outcome, Peer, no_trust, system_trust
from hooks.log import logger
from hooks.oms.addresses import Address
from hooks.oms.documents import Documents, HealthLook, Look
from hooks.redaction import redact
from hooks.settings import BaseUrl, Oms, load_client_certificate
from hooks.waiting import now

_LONGEST_LOGGED_DOCUMENT = 1024
_LONGEST_PAUSE_OF_A_POLL = 5.0


class Target:
    """One address of the OMS, and what was last seen there."""

    def __init__(self, address: Address, settings: Oms, documents: Documents, trust: ssl.SSLContext) -> None:
        self.address = address
        self.label = address.label
        self.mode: Look | None = None
        self.health: HealthLook | None = None
        self._settings = settings
        self._documents = documents
        self._base_path = address.base.path
        self._mode_quiet_until = self._health_quiet_until = 0.0
        self._log = logger(target=self.label)
        self._peer = Peer(
            address.origin,
            trust=trust,
            headers={"Host": address.host_header, **_authorization(settings, address.base)},
            tls_name=None if address.base.is_address else address.base.host,
            seconds=settings.oms_attempt_timeout_seconds,
            max_body_bytes=settings.oms_max_body_bytes,
        )

    async def read_mode(self, within: float) -> Look:
        """Ask for the mode, unless the target wanted to be left alone."""
        if self.mode is not None and now() < self._mode_quiet_until:
            return replace(self.mode, asked=False)
        asked_at = now()
        outcome = await self._peer.ask("GET", self._base_path + self._settings.oms_mode_path, within=within)
        look = self._documents.mode(asked_at, outcome)
        self._mode_quiet_until = _quiet_until(outcome)
        if self.mode is None or not self._was_cut_short(outcome, within):
            self._tell_mode(look)
            self.mode = look
        return look

    async def read_health(self, within: float) -> HealthLook:
        """Ask for the health, unless the target wanted to be left alone."""
        if self.health is not None and now() < self._health_quiet_until:
            return replace(self.health, asked=False)
        outcome = await self._peer.ask("GET", self._base_path + self._settings.oms_health_path, within=within)
        look = self._documents.health(outcome)
        self._health_quiet_until = _quiet_until(outcome)
        if self.health is None or not self._was_cut_short(outcome, within):
            self._tell_health(look)
            self.health = look
        return look

    async def switch(self, body: str, within: float) -> Outcome:
        """Send one request for another mode."""
        path = self._base_path + self._settings.oms_switch_path
        outcome = await self._peer.ask(
            self._settings.oms_switch_method, path, body=body, within=within, decisive=range(200, 300)
        )
        done = classify.switch(outcome) is classify.Next.DONE
        (self._log.info if done else self._log.warning)(
            "switch_accepted" if done else "switch_not_accepted", request=body, answer=str(outcome)
        )
        return outcome

    @property
    def observation(self) -> dict[str, Any]:
        """What was last seen, for the verdict."""
        seen: dict[str, Any] = {}
        if self.mode is not None:
            seen["mode"] = self.mode.mode.state.value if self.mode.mode else "unreadable"
            if self.mode.mode is not None:
                seen["owner"] = self.mode.mode.owner
                seen["mode_document"] = self._short(self.mode.mode.document)
            else:
                seen["mode_problem"] = self.mode.problem
        if self.health is not None:
            if self.health.text is not None:
                seen["health_document"] = self._short(self.health.document)
            if self.health.problem is not None:
                seen["health_problem"] = self.health.problem
        return seen

    @property
    def state_in_words(self) -> str:
        """What was last seen of its mode, as a phrase that follows its label."""
        if self.mode is None:
            return "was not read"
        return f"is {self.mode.mode}" if self.mode.mode else f"cannot be read ({self.mode.problem})"

    def __str__(self) -> str:
        return f"{self.label} {self.state_in_words}"

    async def aclose(self) -> None:
        await self._peer.aclose()

    def _was_cut_short(self, outcome: Outcome, within: float) -> bool:
        """Whether it was our deadline that ended the attempt: then what was seen before says more."""
        timed_out = isinstance(outcome, NoAnswer) and outcome.failure is Failure.TIMED_OUT
        return timed_out and within < self._settings.oms_attempt_timeout_seconds

    def _tell_mode(self, look: Look) -> None:
        before = self.mode
        if look.mode is None:
            if before is None or before.problem != look.problem:
                self._log.warning("mode_unreadable", reason=look.problem)
        elif before is None or before.mode is None or before.mode.document != look.mode.document:
            self._log.info(
                "mode", mode=look.mode.state.value, owner=look.mode.owner, **self._quoted(look.mode.document)
            )

    def _tell_health(self, look: HealthLook) -> None:
        before = self.health
        if before is not None and (before.problem, before.document) == (look.problem, look.document):
            return
        facts = self._quoted(look.document) if look.text is not None else {}
        if look.problem is not None:
            self._log.info("health_not_yet", reason=look.problem, **facts)
        else:
            self._log.info("health", **facts)

    def _quoted(self, document: Any) -> dict[str, Any]:
        return {"document": self._short(document)}

    def _short(self, document: Any) -> Any:
        text = strict_json.dump(redact(document))
        if len(text.encode()) <= _LONGEST_LOGGED_DOCUMENT:
            return document
        return text.encode()[:_LONGEST_LOGGED_DOCUMENT].decode(errors="ignore") + "…"


def _quiet_until(outcome: Outcome) -> float:
    """Return until when a poll leaves the target alone: Retry-After, but not for long."""
    if classify.poll(outcome) is not classify.Next.AGAIN:
        return 0.0
    return now() + min(classify.retry_after(outcome), _LONGEST_PAUSE_OF_A_POLL)


def _authorization(settings: Oms, base: BaseUrl) -> dict[str, str]:
    if settings.oms_admin_token is not None:
        return {"Authorization": f"Bearer {settings.oms_admin_token.get_secret_value()}"}
    if base.user_info is not None:
        return {"Authorization": f"Basic {b64encode(base.user_info.encode()).decode()}"}
    return {}


def trust_of(settings: Oms) -> ssl.SSLContext:
    """Return what certificates of the OMS are trusted, and what it is shown; nothing is loaded without TLS."""
    if all(base.scheme == "http" for base in settings.oms_url):
        return no_trust()
    if settings.oms_ca_file is None:
        context = system_trust()
    else:
        context = no_trust()
        context.load_verify_locations(cafile=settings.oms_ca_file)
    if settings.oms_client_cert_file is not None:
        load_client_certificate(context, settings.oms_client_cert_file, settings.oms_client_key_file)
    return context
