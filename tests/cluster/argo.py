"""Syncs of the Application `oms`: begun, watched and terminated by its own object, as Argo CD's API server would do it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster import kubectl
from tests.cluster.kubectl import Manifest

ARGOCD = "argocd"
APPLICATION = "oms"
# A controller looks at an operation at least every 30 s; PreSync takes up to 60 s, PostSync 90, SyncFail 300.
SYNCED_SECONDS = 900.0
BEGUN_SECONDS = 180.0
ENDED = {"Succeeded", "Failed", "Error"}


@dataclass(frozen=True)
class Operation:
    """One sync, as `status.operationState` tells of it."""

    state: Manifest

    @property
    def phase(self) -> str:
        phase: str = self.state.get("phase", "")
        return phase

    @property
    def message(self) -> str:
        message: str = self.state.get("message", "")
        return message

    def hooks(self) -> dict[str, str]:
        """Return how far each hook that was begun got: PreSync, PostSync, SyncFail to Running, Succeeded, Failed."""
        return {
            entry["hookType"]: entry["hookPhase"]
            for entry in self.state.get("syncResult", {}).get("resources", [])
            if entry.get("hookType") in {"PreSync", "PostSync", "SyncFail"} and entry.get("hookPhase")
        }

    def hook_message(self, hook: str) -> str:
        """Return what Argo CD shows beside a hook."""
        return " ".join(
            entry.get("message", "")
            for entry in self.state.get("syncResult", {}).get("resources", [])
            if entry.get("hookType") == hook
        )


class Sync:
    """One operation that was asked for."""

    def __init__(self, revision: str) -> None:
        """Begin a whole sync with hooks, by a person: never one that a window or a retry could hold or repeat."""
        self._mark = uuid.uuid4().hex
        # Another operation would be in the way: it is waited for, not overwritten.
        kubectl.until("no operation is under way", SYNCED_SECONDS, _idle)
        operation = {
            "initiatedBy": {"username": "cluster-test"},
            "info": [{"name": "cluster-test", "value": self._mark}],
            "retry": {"limit": 0},
            "sync": {"revision": revision, "syncStrategy": {"hook": {}}},
        }
        kubectl.patch("application", APPLICATION, ARGOCD, {"operation": operation})

    def ended(self, within: float = SYNCED_SECONDS) -> Operation:
        """Wait until it has ended."""
        return self._until("the sync has ended", within, lambda operation: operation.phase in ENDED)

    def reached(self, hook: str, phase: str) -> Operation:
        """Wait until a hook is in a phase."""
        return self._until(
            f"{hook} is {phase}", SYNCED_SECONDS, lambda operation: operation.hooks().get(hook) == phase
        )

    def terminate(self) -> None:
        """Press Terminate on the operation."""
        kubectl.patch(
            "application", APPLICATION, ARGOCD, {"status": {"operationState": {"phase": "Terminating"}}}
        )

    def _until(self, what: str, within: float, holds: Callable[[Operation], bool]) -> Operation:
        def look() -> Operation | None:
            operation = Operation(_state())
            return operation if self._is_ours(operation) and holds(operation) else None

        return kubectl.until(what, within, look)

    def _is_ours(self, operation: Operation) -> bool:
        info = operation.state.get("operation", {}).get("info", [])
        return {"name": "cluster-test", "value": self._mark} in info


def _state() -> Manifest:
    application: Any = kubectl.get("application", APPLICATION, ARGOCD) or {}
    state: Manifest = application.get("status", {}).get("operationState") or {}
    return state


def _idle() -> bool | None:
    application: Any = kubectl.get("application", APPLICATION, ARGOCD) or {}
    running = application.get("operation") or Operation(_state()).phase in {"Running", "Terminating"}
    return None if running else True
