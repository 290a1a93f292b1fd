"""How a command can end, and the exit code of each ending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any


class Cause(Enum):
    """Why a command failed; the value is the exit code (contract, "Exit codes")."""

    REFUSED = 1
    MISCONFIGURED = 2
    TIMED_OUT = 3
    UNDO_FAILED = 4
    CRASHED = 70
    TERMINATED = 143


@dataclass(frozen=True)
class Verdict:
    """An ending: no cause is success; the reason is one sentence for a person."""

    cause: Cause | None
    reason: str
    targets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        return "failed" if self.cause else "succeeded"

    @property
    def cause_name(self) -> str | None:
        return self.cause.name.lower() if self.cause else None

    @property
    def exit_code(self) -> int:
        return self.cause.value if self.cause else 0

    def with_targets(self, targets: Mapping[str, Any]) -> Verdict:
        """Return the same ending with what was last seen of every target."""
        return replace(self, targets=targets)
