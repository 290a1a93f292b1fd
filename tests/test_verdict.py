"""How a command can end."""

import pytest

from hooks.verdict import Cause, Verdict


@pytest.mark.parametrize(
    ("cause", "ending"),
    [
        (None, ("succeeded", None, 0)),
        (Cause.REFUSED, ("failed", "refused", 1)),
        (Cause.MISCONFIGURED, ("failed", "misconfigured", 2)),
        (Cause.TIMED_OUT, ("failed", "timed_out", 3)),
        (Cause.UNDO_FAILED, ("failed", "undo_failed", 4)),
        (Cause.CRASHED, ("failed", "crashed", 70)),
        (Cause.TERMINATED, ("failed", "terminated", 143)),
    ],
)
def test_each_ending_has_its_words_and_its_code(
    cause: Cause | None, ending: tuple[str, str | None, int]
) -> None:
    """Outcome, cause and exit code are the contract's."""
    verdict = Verdict(cause, "why")
    assert ending == (verdict.outcome, verdict.cause_name, verdict.exit_code)


def test_every_cause_is_in_the_table_above() -> None:
    """A new ending needs a code of its own in the contract."""
    assert {1, 2, 3, 4, 70, 143} == {cause.value for cause in Cause}


def test_what_was_last_seen_is_added_to_an_ending() -> None:
    """The cause and the reason stay."""
    ending = Verdict(Cause.REFUSED, "why")
    assert Verdict(Cause.REFUSED, "why", {"oms:80": 1}) == ending.with_targets({"oms:80": 1})
    assert ending == Verdict(Cause.REFUSED, "why", {})
