"""So many equal answers in a row, on all targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.oms.verification import Streaks


def streaks_after(rounds: list[dict[str, bool]], needed: int = 3) -> Streaks[str]:
    streaks = Streaks[str](needed)
    for answers in rounds:
        streaks.note(answers)
    return streaks


YES, NO = {"a": True, "b": True}, {"a": True, "b": False}


@pytest.mark.parametrize(
    ("rounds", "reached"),
    [
        pytest.param([], False, id="before the first look"),
        pytest.param([YES, YES], False, id="one look too few"),
        pytest.param([YES, YES, YES], True, id="so many as needed"),
        pytest.param([YES, YES, YES, YES], True, id="more than needed"),
        pytest.param([NO, YES, YES, YES], True, id="after a no"),
        pytest.param([YES, YES, NO, YES], False, id="a no begins anew"),
        pytest.param([YES, YES, YES, NO], False, id="a no after all"),
        pytest.param([{"a": True}, YES, YES], False, id="a target that came later is looked at as often"),
        pytest.param([{"a": True}, YES, YES, YES], True, id="a target that came later has caught up"),
    ],
)
def test_all_targets_need_so_many_in_a_row(rounds: list[dict[str, bool]], reached: bool) -> None:  # noqa: FBT001
    """Each target counts for itself, and the last one decides."""
    assert reached is streaks_after(rounds).all_reached(["a", "b"])


def test_no_targets_is_no() -> None:
    """What nobody said is not a yes."""
    assert not streaks_after([YES, YES, YES]).all_reached([])


def test_a_target_that_nobody_asked_has_not_reached_it() -> None:
    """Unknown is no."""
    assert not streaks_after([YES, YES, YES]).reached("c")


def test_a_target_that_is_not_asked_for_a_round_keeps_its_streak() -> None:
    """A round in which it was left alone is neither a yes nor a no."""
    assert streaks_after([YES, YES, {"b": True}, {"a": True}]).reached("a")


def test_what_is_forgotten_begins_anew() -> None:
    """The others keep theirs, and an unknown one is no fault."""
    streaks = streaks_after([YES, YES, YES])
    streaks.forget(["a", "unknown"])
    assert (streaks.reached("a"), streaks.reached("b")) == (False, True)
    streaks.note(YES)
    assert not streaks.reached("a")


@given(answers=st.lists(st.booleans()), needed=st.integers(1, 5))
def test_the_last_answers_alone_decide(answers: list[bool], needed: int) -> None:
    """Reached is: the last so many were all yes."""
    streaks = streaks_after([{"a": answer} for answer in answers], needed)
    assert streaks.reached("a") is ([True] * needed == answers[-needed:])
