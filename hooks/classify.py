"""What an outcome lets one do next: one table, a column for each kind of question.

Contract, "What one exchange may do"; for a page PagerDuty's Events API v2 overview, "Response codes and
retry logic": 429 and 5xx are tried again, only 202 is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from hooks.attempt import Answer, Failure, Outcome

_LONGEST_RETRY_AFTER = 10**9


class Next(Enum):
    """What may be done after an outcome."""

    DONE = auto()
    AGAIN = auto()
    REFUSED = auto()


def _temporary(status: int) -> bool:
    return status in {408, 429} or 500 <= status <= 599


def switch(outcome: Outcome) -> Next:
    """Judge a switch: 2xx is accepted whatever the body; what will not change by itself is a refusal."""
    if not isinstance(outcome, Answer):
        return _without_answer(outcome.failure)
    if outcome.ok:
        return Next.DONE
    return Next.AGAIN if _temporary(outcome.status) and outcome.status != 501 else Next.REFUSED


def poll(outcome: Outcome) -> Next:
    """Judge a look: DONE means that there is a body to read; who may not ask is refused."""
    if not isinstance(outcome, Answer):
        return _without_answer(outcome.failure)
    if outcome.ok:
        return Next.DONE
    return Next.REFUSED if outcome.status in {401, 403} else Next.AGAIN


def page(outcome: Outcome) -> Next:
    """Judge a page: only 202 is delivered, another 2xx is a captive portal's; a refusal is tried again as well."""
    if not isinstance(outcome, Answer):
        return _without_answer(outcome.failure)
    if outcome.status == 202:
        return Next.DONE
    return Next.AGAIN if outcome.ok or _temporary(outcome.status) else Next.REFUSED


def fallback(outcome: Outcome) -> Next:
    """Judge the second way of a page: any 2xx is delivered, anything else is tried again."""
    return Next.DONE if isinstance(outcome, Answer) and outcome.ok else Next.AGAIN


def read(outcome: Outcome) -> Next:
    """Judge a question to the Kubernetes API: who may not ask, or asks for what is not there, need not ask again."""
    if not isinstance(outcome, Answer):
        return _without_answer(outcome.failure)
    if outcome.ok:
        return Next.DONE
    return Next.AGAIN if _temporary(outcome.status) else Next.REFUSED


def _without_answer(failure: Failure) -> Next:
    return Next.REFUSED if failure is Failure.UNTRUSTED else Next.AGAIN


def retry_after(outcome: Outcome, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float:
    """Return how many seconds the peer asks to be left alone (RFC 9110, 10.2.3); 0 if it does not, or unreadably."""
    value = ((isinstance(outcome, Answer) and outcome.retry_after) or "").strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:10]), _LONGEST_RETRY_AFTER))
    try:
        at = parsedate_to_datetime(value)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now()).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
