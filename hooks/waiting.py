"""Until when, how often, and how long between two tries; the only import of tenacity.

Time is the event loop's, so that tests can turn it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_JITTER = 0.1
_NEARLY_AT_ONCE = 0.01
_LEAST_TIME_FOR_AN_ATTEMPT = 0.05
_NO_TIME = 0.001
_LONGEST_PAUSE_WITHOUT_END = 60.0


def now() -> float:
    """Return the loop's time, in seconds from an arbitrary moment."""
    return asyncio.get_running_loop().time()


class Deadline:
    """A moment after which nothing is begun."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = now() + seconds

    @property
    def remaining(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self.at - now())

    @property
    def passed(self) -> bool:
        """Whether there is no time left in which anything could be done."""
        return self.remaining < _NO_TIME


class StoppedError(Exception):
    """SIGTERM came while a step was under way that may be given up."""


async def unless_stopped(stop: asyncio.Event, step: Coroutine[Any, Any, T]) -> T:
    """Await a step that SIGTERM may cut short; raise StoppedError when it did.

    The step runs as a task of its own, so that what follows (an undo, a page) is not inside a cancellation.
    """
    if stop.is_set():
        step.close()
        raise StoppedError
    task = asyncio.ensure_future(step)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        return task.result()
    raise StoppedError


class Rounds:
    """Rounds of looks: `async for _ in rounds` begins one at once and then every so many seconds until the deadline."""

    def __init__(self, every: float, deadline: Deadline) -> None:
        self._every = every
        self._deadline = deadline
        self._following = now()

    def __aiter__(self) -> Rounds:
        return self

    async def __anext__(self) -> None:
        await asyncio.sleep(min(self._following - now(), self._deadline.remaining))
        if self._deadline.passed:
            raise StopAsyncIteration
        self._following = now() + self._every * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311

    def hasten(self) -> None:
        """Begin the next round at once, or nearly: something was sent, and its effect is waited for."""
        self._following = min(self._following, now() + _NEARLY_AT_ONCE)


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not past the moment at which the event is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def backed_off(tries: int, *, first: float, longest: float) -> float:
    """Return the pause after so many tries: doubled each time, with full jitter in its upper half."""
    return min(longest, first * 2.0 ** min(tries, 30)) * random.uniform(0.5, 1.0)  # noqa: S311


async def again(
    attempt: Callable[[], Awaitable[T]],
    *,
    enough: Callable[[T], bool],
    asked_pause: Callable[[T], float],
    deadline: Deadline,
    longest_attempt: float,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Try until the outcome is enough or the deadline has passed; return the last outcome.

    Between two tries: exponential back-off with jitter, or the longer pause that the outcome asks for, but
    never so long that no attempt is left; where there is no end, a minute at most.
    """
    import tenacity  # noqa: PLC0415  # a command that neither pages nor is refused needs none of it

    backoff = tenacity.wait_exponential_jitter(multiplier=0.5, max=30, jitter=0.5)

    def pause(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None  # noqa: S101
        wanted = max(backoff(state), asked_pause(state.outcome.result()))
        left = deadline.remaining
        if math.isinf(left):
            return min(wanted, _LONGEST_PAUSE_WITHOUT_END)
        return max(0.0, min(wanted, left - min(longest_attempt, left / 2)))

    return await tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda outcome: not enough(outcome)),
        stop=lambda _: deadline.remaining < _LEAST_TIME_FOR_AN_ATTEMPT,
        wait=pause,
        sleep=sleep,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )(attempt)
