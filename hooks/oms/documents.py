"""Mode and health as an OMS tells them, and whose standby it is.

What could not be read, parsed or decided is never a yes (architecture, rule 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from hooks import classify, strict_json
from hooks.attempt import Answer, Failure, NoAnswer, Outcome
from hooks.classify import Next
from hooks.expression import Expression
from hooks.redaction import redact
from hooks.settings import Oms


class State(Enum):
    """What a target does, as far as trading goes."""

    ACTIVE = "active"
    STANDBY = "standby"
    OTHER = "other"  # draining, starting, or a word that we do not know


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode document, judged; `owner` is who put the target into standby, None when it names nobody."""

    state: State
    owner: str | None
    document: Any

    @property
    def word(self) -> str:
        """What it is called: an OMS's own word, where it is neither active nor in standby."""
        told = self.document.get("mode") if isinstance(self.document, dict) else None
        return (
            redact(told)[:32]
            if self.state is State.OTHER and isinstance(told, str) and told
            else self.state.value
        )

    def __str__(self) -> str:
        return f"{self.word} ({self.owner})" if self.owner and self.state is not State.ACTIVE else self.word


@dataclass(frozen=True, slots=True)
class Look:
    """One question for the mode: when it was asked, and the mode, or why there is none.

    `text` is the document as jq takes it, where one came. One that was not asked, since the target wanted to be
    left alone, repeats the former: it is no answer of its own.
    """

    asked_at: float
    mode: Mode | None
    problem: str | None = None
    refused: bool = False
    failure: Failure | None = None
    text: str | None = None
    asked: bool = True


@dataclass(frozen=True, slots=True)
class HealthLook:
    """One question for the health; `text` is the document as jq takes it, whatever the status was."""

    problem: str | None
    status: int | None = None
    document: Any = None
    text: str | None = None
    refused: bool = False
    untrusted: bool = False
    asked: bool = True

    def meets(self, condition: Expression) -> bool:
        """Whether a 2xx brought a document of which the condition is true."""
        return self.problem is None and self.text is not None and condition.is_true(self.text)

    def shows(self, condition: Expression | None) -> bool:
        """Whether a JSON body of any status meets the condition."""
        return condition is not None and self.text is not None and condition.is_true(self.text)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose standby it is, by the name that the OMS tells (contract, "Words")."""

    reason: str
    run: str | None
    unnamed_is_ours: bool

    @classmethod
    def of(cls, settings: Oms) -> Ownership:
        return cls(settings.oms_reason, settings.hook_run_id, settings.oms_unnamed_is_ours)

    @property
    def mine(self) -> str:
        """The name under which this run switches, `$reason`."""
        return f"{self.reason}/{self.run}" if self.run else self.reason

    def is_ours(self, owner: str | None) -> bool:
        """Whether a standby with this owner was begun by this application, in whatever run."""
        if owner is None:
            return self.unnamed_is_ours
        return owner == self.reason or owner.startswith(f"{self.reason}/")

    def is_foreign(self, owner: str | None) -> bool:
        """Whether this owner is somebody else; nobody is not somebody."""
        return owner is not None and not self.is_ours(owner)


class Documents:
    """How this OMS's documents are to be read."""

    def __init__(self, settings: Oms) -> None:
        self._standby = settings.oms_standby_condition
        self._active = settings.oms_active_condition
        self._owner = settings.oms_owner_filter

    def mode(self, asked_at: float, outcome: Outcome) -> Look:
        """Read what came back when the mode was asked for."""
        if isinstance(outcome, NoAnswer):
            refused = classify.poll(outcome) is Next.REFUSED
            return Look(asked_at, None, str(outcome), refused, outcome.failure)
        document, problem = _document(outcome)
        if problem is not None:
            return Look(asked_at, None, problem, refused=classify.poll(outcome) is Next.REFUSED)
        text = strict_json.dump(document)
        try:
            return Look(asked_at, self._judged(document, text), text=text)
        except ValueError as error:
            return Look(asked_at, None, f"its owner cannot be told: {error}", text=text)

    def health(self, outcome: Outcome) -> HealthLook:
        """Read what came back when the health was asked for."""
        refused = classify.poll(outcome) is Next.REFUSED
        if isinstance(outcome, NoAnswer):
            return HealthLook(str(outcome), untrusted=refused)
        document, problem = _document(outcome)
        if document is _NONE:
            return HealthLook(problem, outcome.status, refused=refused)
        return HealthLook(problem, outcome.status, document, strict_json.dump(document), refused)

    def _judged(self, document: Any, text: str) -> Mode:
        standby, active = self._standby.is_true(text), self._active.is_true(text)
        # Both at once is a document that we do not understand.
        state = {(True, False): State.STANDBY, (False, True): State.ACTIVE}.get(
            (standby, active), State.OTHER
        )
        return Mode(state, _name(self._owner.only(text)), document)


_NONE = object()


def _document(answer: Answer) -> tuple[Any, str | None]:
    """Return the document of an answer and what is wrong with the answer."""
    status = None if answer.ok else f"answered {answer}"
    if answer.fault is not None:
        return _NONE, status or f"answered {answer.status}, its body unreadable: {answer.fault}"
    try:
        return strict_json.parse(answer.body), status
    except ValueError as error:
        return _NONE, status or f"answered {answer}, which cannot be read: {error}"


def _name(value: Any) -> str | None:
    """Return the owner's name: what is not a string still names somebody, who is not us."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else strict_json.dump(value)


def since(settings_filter: Expression, document: Any) -> datetime | None:
    """Return since when the target is in standby, as its mode document tells; None when it does not, readably.

    RFC 3339 (lower case allowed) or Unix seconds.
    """
    try:
        value = settings_filter.only(strict_json.dump(document))
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip().upper().replace(" ", "T"))
            return moment if moment.tzinfo else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
