"""Until when, how often, and how long between two tries. Time is turned, not waited for."""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.waiting import Deadline, Rounds, StoppedError, again, backed_off, now, sleep_unless, unless_stopped

pytestmark = pytest.mark.looptime

# A sum of fractions is not exact.
CLOSE = 1e-6


class BrokenError(Exception):
    """What a step raises."""


async def test_a_deadline_counts_from_now() -> None:
    """It has passed at its very moment, and what remains is never below nothing."""
    await asyncio.sleep(1)
    deadline = Deadline(5)
    seen = []
    for pause in (0, 4.5, 0.5, 1):
        await asyncio.sleep(pause)
        seen.append((round(deadline.remaining, 6), deadline.passed))
    assert seen == [(5, False), (0.5, False), (0, True), (0, True)]
    assert pytest.approx([deadline.seconds, deadline.at]) == [5, 6]


async def test_with_less_than_a_millisecond_left_it_has_passed() -> None:
    """Nothing could be done in it, and a clock is not exact."""
    seen = [Deadline(seconds).passed for seconds in (0.01, 0.001, 0.0009, 0, -1)]
    assert [False, False, True, True, True] == seen


# Rounds


async def begins(rounds: Rounds, takes: float = 0, hastened: int = -1) -> list[float]:
    """Play rounds that take so many seconds each; return when each began."""
    began = []
    async for _ in rounds:
        began.append(now())
        await asyncio.sleep(takes)
        if len(began) - 1 == hastened:
            rounds.hasten()
    return began


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


@pytest.mark.parametrize("takes", [0, 0.5, 0.89])
async def test_rounds_keep_their_pace_from_begin_to_begin(takes: float) -> None:
    """However long a round takes, and within a tenth, so that many pods do not ask in step."""
    began = await begins(Rounds(1, Deadline(100)), takes)
    assert all(0.9 - CLOSE <= gap <= 1.1 + CLOSE for gap in gaps(began))
    assert 90 <= len(began) <= 112
    assert len({round(gap, 6) for gap in gaps(began)}) > 1


async def test_the_first_round_begins_at_once() -> None:
    """Nothing is waited for before anything was asked."""
    await asyncio.sleep(3)
    assert await begins(Rounds(60, Deadline(5))) == [3]


async def test_a_round_that_takes_longer_than_the_pace_is_followed_at_once() -> None:
    """No round is skipped and none is made up for."""
    assert await begins(Rounds(0.5, Deadline(5)), takes=2) == [0, 2, 4]


async def test_rounds_end_at_the_deadline_and_not_before() -> None:
    """What is left of the last pause is waited for: nothing more may be begun."""
    await begins(Rounds(7, Deadline(10)))
    assert now() == pytest.approx(10)


async def test_there_is_no_round_after_the_deadline() -> None:
    """Not even a first one."""
    deadline = Deadline(1)
    await asyncio.sleep(2)
    assert await begins(Rounds(1, deadline)) == []
    assert now() == 2


async def test_a_hastened_round_begins_nearly_at_once() -> None:
    """The effect of what was just sent is looked for, and then the pace is kept again."""
    first, second, *_ = gaps(await begins(Rounds(5, Deadline(20)), hastened=0))
    assert first == pytest.approx(0.01)
    assert 4.5 - CLOSE <= second <= 5.5 + CLOSE


async def test_haste_never_delays_a_round() -> None:
    """What would begin sooner begins sooner."""
    first, *_ = gaps(await begins(Rounds(0.001, Deadline(0.01)), hastened=0))
    assert first <= 0.0011 + CLOSE


# What SIGTERM may cut short


async def test_a_step_that_ends_in_time_gives_its_result() -> None:
    """Nothing is stopped."""
    assert await unless_stopped(asyncio.Event(), asyncio.sleep(5, "done")) == "done"
    await asyncio.sleep(0)
    assert [asyncio.current_task()] == list(asyncio.all_tasks())


async def test_a_step_that_breaks_raises_what_it_raised() -> None:
    """A bug is told, not hidden behind a stop."""
    with pytest.raises(BrokenError):
        await unless_stopped(asyncio.Event(), broken())


async def broken() -> None:
    await asyncio.sleep(1)
    raise BrokenError


async def test_a_step_is_cut_short_when_the_stop_comes() -> None:
    """At that moment, and its own cleaning up is awaited."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(3, stop.set)
    cleaned = []

    async def step() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(now())

    with pytest.raises(StoppedError):
        await unless_stopped(stop, step())
    assert cleaned == [3.5]
    assert now() == 3.5


async def test_nothing_is_begun_after_a_stop() -> None:
    """A step that was not begun leaves nothing to be undone, and no warning."""
    stop = asyncio.Event()
    stop.set()
    begun: list[str] = []

    async def step() -> None:
        begun.append("begun")

    with pytest.raises(StoppedError):
        await unless_stopped(stop, step())
    assert begun == []


async def test_a_step_that_finishes_in_spite_of_the_stop_gives_its_result() -> None:
    """What was done is done."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(3, stop.set)

    async def step() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "done"
        return "not stopped"

    assert await unless_stopped(stop, step()) == "done"


async def test_a_step_that_ends_as_the_stop_comes_gives_its_result() -> None:
    """Both in the same moment: the result is not thrown away."""
    stop = asyncio.Event()

    async def step() -> str:
        stop.set()
        return "done"

    assert await unless_stopped(stop, step()) == "done"


async def test_what_breaks_while_it_is_cut_short_is_stopped_all_the_same() -> None:
    """The undo goes ahead."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(3, stop.set)

    async def step() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise BrokenError

    with pytest.raises(StoppedError):
        await unless_stopped(stop, step())


async def test_after_a_stop_one_may_wait_again() -> None:
    """What follows is not inside a cancellation: time-outs work there as anywhere."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(3, stop.set)
    try:
        await unless_stopped(stop, asyncio.sleep(100))
    except StoppedError:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(100)
    assert now() == 4


@pytest.mark.parametrize(
    ("set_after", "ended"),
    [
        pytest.param(None, 5, id="never stopped"),
        pytest.param(2, 2, id="stopped midway"),
        pytest.param(0, 0, id="stopped before"),
    ],
)
async def test_a_pause_ends_with_its_time_or_the_stop(set_after: float | None, ended: float) -> None:
    """Whichever comes first."""
    stop = asyncio.Event()
    if set_after == 0:
        stop.set()
    elif set_after is not None:
        asyncio.get_running_loop().call_later(set_after, stop.set)
    await sleep_unless(stop, 5)
    assert now() == pytest.approx(ended)


# Trying again


@given(tries=st.integers(0, 10**6), first=st.floats(0.01, 10), longest=st.floats(0.01, 100))
def test_a_back_off_doubles_up_to_its_longest(tries: int, first: float, longest: float) -> None:
    """By chance it may be as little as half."""
    most = min(longest, first * 2 ** min(tries, 30))
    assert most / 2 <= backed_off(tries, first=first, longest=longest) <= most


class Tries:
    """Attempts that take so long each, and yield what they are told; when each began is kept."""

    def __init__(self, *outcomes: Any, takes: float = 0) -> None:
        self.began: list[float] = []
        self._outcomes = outcomes
        self._takes = takes

    async def __call__(self) -> Any:
        outcome = self._outcomes[min(len(self.began), len(self._outcomes) - 1)]
        self.began.append(now())
        await asyncio.sleep(self._takes)
        return outcome


async def tried(
    tries: Tries,
    *,
    seconds: float,
    longest_attempt: float = 1,
    asked_pause: Callable[[Any], float] = lambda _: 0,
) -> Any:
    return await again(
        tries,
        enough=lambda outcome: outcome == "enough",
        asked_pause=asked_pause,
        deadline=Deadline(seconds),
        longest_attempt=longest_attempt,
        sleep=asyncio.sleep,
    )


async def test_what_is_enough_at_once_is_tried_once() -> None:
    """No pause before, none after."""
    tries = Tries("enough")
    assert (await tried(tries, seconds=60), tries.began, now()) == ("enough", [0], 0)


async def test_it_is_tried_until_it_is_enough() -> None:
    """With pauses that begin at half a second and double, and half a second of chance at most."""
    tries = Tries("no", "no", "no", "no", "enough")
    assert await tried(tries, seconds=60) == "enough"
    assert all(
        least - CLOSE <= gap <= least + 0.5 + CLOSE
        for least, gap in zip([0.5, 1, 2, 4], gaps(tries.began), strict=True)
    )


async def test_no_pause_is_longer_than_half_a_minute() -> None:
    """However often it was tried in vain."""
    tries = Tries("no")
    await tried(tries, seconds=600)
    assert 29.5 < max(gaps(tries.began)) <= 30 + CLOSE


async def test_a_longer_pause_is_kept_when_it_is_asked_for() -> None:
    """The outcome itself says how long."""
    tries = Tries(20, "enough")
    await tried(tries, seconds=600, asked_pause=lambda outcome: outcome)
    assert gaps(tries.began) == [20]


async def test_a_shorter_pause_that_is_asked_for_changes_nothing() -> None:
    """The back-off stays the least."""
    tries = Tries(0.01, "enough")
    await tried(tries, seconds=600, asked_pause=lambda outcome: outcome)
    assert gaps(tries.began)[0] >= 0.5 - CLOSE


async def test_no_pause_is_so_long_that_no_attempt_is_left() -> None:
    """The longest attempt still fits before the deadline."""
    tries = Tries(10**9, "enough", takes=3)
    await tried(tries, seconds=60, longest_attempt=10, asked_pause=lambda outcome: outcome)
    assert tries.began == [0, 50]


async def test_where_less_is_left_than_an_attempt_takes_half_of_it_is_left() -> None:
    """Something is better than nothing."""
    tries = Tries(10**9, "enough")
    await tried(tries, seconds=4, longest_attempt=10, asked_pause=lambda outcome: outcome)
    assert tries.began == [0, 2]


async def test_in_vain_the_last_outcome_is_given() -> None:
    """What was said last is what is told, and nothing is begun at or after the deadline."""
    tries = Tries("first", "last", takes=0.1)
    assert await tried(tries, seconds=10) == "last"
    assert max(tries.began) < 10
    assert 9 < now() <= 10.1


async def test_without_any_time_it_is_tried_once() -> None:
    """There is always an outcome to tell."""
    tries = Tries("only")
    assert (await tried(tries, seconds=0), tries.began) == ("only", [0])


async def test_where_there_is_no_end_no_pause_is_longer_than_a_minute() -> None:
    """A watch that lasts for ever is not put off for ever."""
    tries = Tries(10**9, 10**9, "enough")
    await tried(tries, seconds=math.inf, asked_pause=lambda outcome: outcome)
    assert [60, 60] == gaps(tries.began)


async def test_an_attempt_that_breaks_is_not_tried_again() -> None:
    """An outcome is a value; an exception is a bug."""
    with pytest.raises(BrokenError):
        await again(
            broken,
            enough=lambda _: False,
            asked_pause=lambda _: 0,
            deadline=Deadline(60),
            longest_attempt=1,
            sleep=asyncio.sleep,
        )
    assert now() == 1


async def test_pauses_are_made_as_told() -> None:
    """Whoever is in a hurry cuts them short."""
    tries = Tries("no", "no", "enough")
    told: list[float] = []

    async def hurried(seconds: float) -> None:
        told.append(seconds)

    await again(
        tries,
        enough=lambda outcome: outcome == "enough",
        asked_pause=lambda _: 7,
        deadline=Deadline(60),
        longest_attempt=1,
        sleep=hurried,
    )
    assert (told, tries.began) == ([7, 7], [0, 0, 0])
