"""The Application's operation: what failed, in which phase, at which revision.

While SyncFail hooks run the operation is still `Running` and its message says nothing; what failed stands in
`status.operationState.syncResult.resources`, and Argo CD writes it after it has started the hook
(argo-cd, gitops-engine/pkg/sync/sync_context.go and pkg/apis/application/v1alpha1/types.go).
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hooks import classify, redaction, strict_json
from hooks.attempt import Answer, Outcome, Peer, no_trust
from hooks.classify import Next
from hooks.settings import Alert
from hooks.waiting import Deadline, Rounds

_PHASES = ("PreSync", "Sync", "PostSync")
_POLL_SECONDS = 0.5
_LARGEST_APPLICATION = 16 * 1024 * 1024


@dataclass(frozen=True)
class FailedResource:
    """One resource or hook that failed, and Argo CD's words for why."""

    phase: str
    resource: str
    message: str

    def __str__(self) -> str:
        return f"{self.phase} {self.resource} failed{f': {self.message}' if self.message else ''}"


@dataclass(frozen=True)
class Operation:
    """What Argo CD tells of the sync."""

    revision: str | None = None
    furthest_phase: str | None = None
    failed: tuple[FailedResource, ...] = ()
    initiated_by: str | None = None
    retries: int = 0

    @property
    def was_rejected(self) -> bool:
        """Whether a PostSync hook failed: what it rejected is not to be recovered."""
        return any(resource.phase == "PostSync" for resource in self.failed)


@dataclass(frozen=True)
class Reading:
    """The operation, or why it could not be read; neither where there is no token to read it with."""

    operation: Operation | None = None
    problem: str | None = None


async def read_operation(settings: Alert, deadline: Deadline) -> Reading:
    """Ask for the Application until it names a failed resource; what goes wrong is told, never raised."""
    try:
        token = _read_file(settings, "token")
        return Reading() if token is None else await _asked(settings, _api(settings, token), deadline)
    except (OSError, ValueError) as error:
        return Reading(problem=f"the Application cannot be asked for: {error}")


async def _asked(settings: Alert, peer: Peer, deadline: Deadline) -> Reading:
    reading = unasked = Reading(problem="the Application was not asked for")
    async with aclosing(peer):
        async for _ in Rounds(_POLL_SECONDS, deadline):
            outcome = await peer.ask("GET", _path(settings), within=deadline.remaining)
            latest = _read(outcome)
            # An answer says more than the silence that our deadline cut short.
            cut_short = deadline.passed and not isinstance(outcome, Answer) and reading != unasked
            if latest.operation is not None or (reading.operation is None and not cut_short):
                reading = latest
            if (reading.operation and reading.operation.failed) or classify.read(outcome) is Next.REFUSED:
                break
    return reading


def _read_file(settings: Alert, name: str) -> str | None:
    """Return a file of the service account, None where there is none; raises ValueError when it cannot be read."""
    try:
        return (settings.service_account_dir / name).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{name} of the service account cannot be read: {error.strerror}") from None


def _api(settings: Alert, token: str) -> Peer:
    if settings.kubernetes_service_host is None:
        raise ValueError("KUBERNETES_SERVICE_HOST is unset")
    if not (token.isascii() and token.isprintable() and token):
        raise ValueError("the service account's token is not one")
    redaction.hide(token)
    trust = no_trust()
    authority = _read_file(settings, "ca.crt")
    if authority is None:
        raise ValueError("ca.crt of the service account is missing")
    trust.load_verify_locations(cadata=authority)
    host = settings.kubernetes_service_host
    return Peer(
        f"https://{f'[{host}]' if ':' in host else host}:{settings.kubernetes_service_port}",
        trust=trust,
        headers={"Authorization": f"Bearer {token}"},
        seconds=settings.alert_gather_seconds,
        max_body_bytes=_LARGEST_APPLICATION,
    )


def _path(settings: Alert) -> str:
    namespace, name = settings.argocd_app_namespace, settings.argocd_app_name or "unknown"
    return f"/apis/argoproj.io/v1alpha1/namespaces/{quote(namespace, safe='')}/applications/{quote(name, safe='')}"


def _read(outcome: Outcome) -> Reading:
    if not isinstance(outcome, Answer):
        return Reading(problem=f"the Application cannot be read: {outcome}")
    document = None
    fault = f"{outcome.status} {outcome.fault}" if outcome.fault else None
    try:
        document = strict_json.parse(outcome.body)
    except ValueError as error:
        fault = fault or f"{outcome} ({error})"
    if outcome.ok:
        return (
            Reading(problem=f"the Application cannot be read: answered {fault}")
            if fault
            else _reading_of(document)
        )
    # A Status object says in `message` what kubectl would say.
    said = _text(_at(document, "message"))
    told = f"{outcome.status} {said}" if said else str(outcome)
    return Reading(problem=f"the Application cannot be read: answered {told}")


def _reading_of(application: Any) -> Reading:
    state = _at(application, "status", "operationState")
    if not isinstance(state, dict):
        return Reading(problem="the Application tells of no operation")
    return Reading(_operation(state))


def _operation(state: dict[str, Any]) -> Operation:
    result = _at(state, "syncResult")
    resources = [resource for resource in _list(_at(result, "resources")) if isinstance(resource, dict)]
    revisions = [_text(_at(result, "revision")), *map(_text, _list(_at(result, "revisions")))]
    phases = [phase for phase in map(_phase, resources) if phase in _PHASES]
    user = _text(_at(state, "operation", "initiatedBy", "username"))
    automated = _at(state, "operation", "initiatedBy", "automated") is True
    retries = _at(state, "retryCount")
    return Operation(
        revision=", ".join(filter(None, revisions)) or None,
        furthest_phase=max(phases, key=_PHASES.index, default=None),
        failed=tuple(_failed(resource) for resource in resources if _has_failed(resource)),
        initiated_by=user or ("automated sync" if automated else None),
        retries=retries if isinstance(retries, int) and not isinstance(retries, bool) else 0,
    )


def _has_failed(resource: dict[str, Any]) -> bool:
    failed = _text(resource.get("hookPhase")) in {"Failed", "Error"} or resource.get("status") == "SyncFailed"
    return failed and _phase(resource) != "SyncFail"


def _failed(resource: dict[str, Any]) -> FailedResource:
    name = f"{_text(resource.get('kind')) or 'resource'}/{_text(resource.get('name')) or '?'}"
    message = " ".join((_text(resource.get("message")) or "").split())
    return FailedResource(_phase(resource) or "Sync", name, message)


def _phase(resource: dict[str, Any]) -> str | None:
    return _text(resource.get("hookType")) or _text(resource.get("syncPhase"))


def _at(document: Any, *names: str) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
