"""What a target needs next, as tables that read like the runbook, and what is so whatever was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from hooks.attempt import Answer, Failure, NoAnswer, Outcome
from hooks.oms.documents import Look, Mode, Ownership, State
from hooks.oms.switching import Asked, Passage, Step, to_active

ACTIVE, STANDBY, OTHER = State.ACTIVE, State.STANDBY, State.OTHER

US = Ownership("argocd-sync", "run-2", unnamed_is_ours=True)
US_ALONE = Ownership("argocd-sync", "run-2", unnamed_is_ours=False)
US_WITHOUT_A_RUN = Ownership("argocd-sync", None, unnamed_is_ours=True)

ME = "argocd-sync/run-2"
EARLIER_RUN = "argocd-sync/run-1"
WITHOUT_A_RUN = "argocd-sync"
OPERATOR = "operator/alice"
SIMILAR = "argocd-synchronised"

ACCEPTED, UNAVAILABLE, CONFLICT = Answer(202), Answer(503), Answer(409)
LOST = NoAnswer(Failure.BROKEN, "reset")

PAUSE = 0.1
"""How long a target that did not accept is left alone, in seconds."""


def mode(state: State, owner: str | None = None) -> Mode:
    return Mode(state, owner, {})


def seen(state: State, owner: str | None = None, *, at: float) -> Look:
    return Look(at, mode(state, owner))


def unread(failure: Failure | None = None, *, at: float) -> Look:
    return Look(at, None, "unreadable", failure=failure)


def asked(*answers: Outcome, at: float = 10) -> Asked:
    """Return what came of requests: the first at this time, the others a second apart, each answered after 0.1 s."""
    so_far = Asked()
    for number, answer in enumerate(answers):
        so_far = so_far.again(at + number).answered(answer, at + number + 0.1, PAUSE)
    return so_far


TO_STANDBY = [
    pytest.param(None, asked(), seen(ACTIVE, at=9), 9, Step.ASK, id="one that trades is asked"),
    pytest.param(None, asked(), seen(OTHER, at=9), 9, Step.ASK, id="one that is starting is asked"),
    pytest.param(None, asked(), seen(OTHER, ME, at=9), 9, Step.ASK, id="one that drains for us is asked"),
    pytest.param(None, asked(), unread(at=9), 9, Step.LOOK, id="one that cannot be read is not asked"),
    pytest.param(
        None, asked(), seen(STANDBY, at=9), 9, Step.ASK, id="one in standby for nobody is asked in our name"
    ),
    pytest.param(
        None, asked(), seen(STANDBY, EARLIER_RUN, at=9), 9, Step.ASK, id="our earlier standby is taken over"
    ),
    pytest.param(
        None, asked(), seen(STANDBY, WITHOUT_A_RUN, at=9), 9, Step.ASK, id="so is one that names no run"
    ),
    pytest.param(None, asked(), seen(STANDBY, ME, at=9), 9, Step.ASK, id="so is that of an earlier pod"),
    pytest.param(None, asked(), seen(STANDBY, OPERATOR, at=9), 9, Step.HELD, id="an operator's is held"),
    pytest.param(
        None,
        asked(),
        seen(STANDBY, SIMILAR, at=9),
        9,
        Step.HELD,
        id="a name that only begins as ours is not us",
    ),
    pytest.param(
        None,
        asked(),
        seen(OTHER, OPERATOR, at=9),
        9,
        Step.HELD_MOVING,
        id="one that drains for an operator is held",
    ),
    pytest.param(
        None,
        asked(),
        seen(ACTIVE, OPERATOR, at=9),
        9,
        Step.ASK,
        id="one that an operator made trade is asked",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(STANDBY, ME, at=10.2),
        10.2,
        Step.CONFIRMED,
        id="accepted, then seen",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(STANDBY, at=10.2),
        10.2,
        Step.CONFIRMED,
        id="a standby that names nobody is ours",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(STANDBY, ME, at=10.05),
        10.2,
        Step.LOOK,
        id="what was asked before it was accepted confirms nothing",
    ),
    pytest.param(
        mode(ACTIVE), asked(ACCEPTED), seen(OTHER, ME, at=99), 99, Step.LOOK, id="a drain may take its time"
    ),
    pytest.param(
        mode(ACTIVE), asked(ACCEPTED), unread(at=99), 99, Step.LOOK, id="unread after it was accepted"
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(ACTIVE, ME, at=11),
        11,
        Step.LOOK,
        id="one that still trades a second later is given time",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(ACTIVE, ME, at=12.2),
        12.2,
        Step.ASK,
        id="one that never left is asked again after two seconds",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED, ACCEPTED),
        seen(ACTIVE, ME, at=15),
        15,
        Step.LOOK,
        id="and again, but not before four",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED, ACCEPTED),
        seen(ACTIVE, ME, at=15.2),
        15.2,
        Step.ASK,
        id="and again after four",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED).seen(seen(OTHER, ME, at=10.3)),
        seen(ACTIVE, at=10.4),
        10.4,
        Step.ASK,
        id="one that left and forgot is asked again at once",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED).seen(unread(at=10.3)).seen(seen(ACTIVE, at=10.35)),
        seen(ACTIVE, at=10.4),
        10.4,
        Step.LOOK,
        id="one that could not be read was not seen to leave",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(UNAVAILABLE),
        seen(ACTIVE, at=10.15),
        10.15,
        Step.LOOK,
        id="one that was not available is left alone for a while",
    ),
    pytest.param(
        mode(ACTIVE), asked(UNAVAILABLE), seen(ACTIVE, at=10.3), 10.3, Step.ASK, id="and then asked again"
    ),
    pytest.param(
        mode(ACTIVE),
        asked(LOST),
        seen(STANDBY, ME, at=10.3),
        10.3,
        Step.ASK,
        id="one whose answer was lost is asked again, standby or not",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(ACCEPTED),
        seen(STANDBY, EARLIER_RUN, at=10.2),
        10.2,
        Step.HELD,
        id="one that another run of ours took over is held",
    ),
    pytest.param(
        mode(ACTIVE),
        asked(LOST),
        seen(OTHER, OPERATOR, at=10.3),
        10.3,
        Step.HELD_MOVING,
        id="one that an operator took over is held",
    ),
    pytest.param(
        mode(STANDBY, EARLIER_RUN),
        asked(ACCEPTED),
        seen(STANDBY, EARLIER_RUN, at=10.2),
        10.2,
        Step.CONFIRMED,
        id="an OMS that does not tell the latest name goes on naming our earlier run",
    ),
]


@pytest.mark.parametrize(("before", "so_far", "look", "now", "step"), TO_STANDBY)
def test_the_way_into_standby(before: Mode | None, so_far: Asked, look: Look, now: float, step: Step) -> None:
    """What a target needs on its way into standby follows from what it was, what was asked and what is seen."""
    assert step == Passage(before, so_far).to_standby(look, US, now)


def test_a_standby_that_names_nobody_confirms_nothing_where_unnamed_is_not_ours() -> None:
    """It is asked in our name, and waited for until it names us; it is never confirmed."""
    passage = Passage(mode(ACTIVE), asked(ACCEPTED))
    first = Passage().to_standby(seen(STANDBY, at=9), US_ALONE, 9)
    assert (
        first,
        passage.to_standby(seen(STANDBY, at=99), US_ALONE, 99),
        passage.to_standby(seen(STANDBY, ME, at=99), US_ALONE, 99),
    ) == (Step.ASK, Step.LOOK, Step.CONFIRMED)


def test_a_request_that_is_repeated_has_to_be_accepted_and_seen_anew() -> None:
    """What was accepted earlier, and that it left, is forgotten when the request goes out once more."""
    again = asked(ACCEPTED).seen(seen(OTHER, ME, at=11)).again(12)
    look = seen(STANDBY, ME, at=12.1)
    assert (Step.ASK, Asked(2, 12, may_have_arrived=True)) == (
        Passage(mode(ACTIVE), again).to_standby(look, US, 12.1),
        again,
    )


MOVED = [
    pytest.param(US, mode(ACTIVE), asked(ACCEPTED), True, id="what traded and was asked"),
    pytest.param(US, mode(OTHER), asked(ACCEPTED), True, id="what was starting and was asked"),
    pytest.param(US, mode(ACTIVE), asked(LOST), True, id="what was asked, the answer lost"),
    pytest.param(US, mode(ACTIVE), asked(CONFLICT), True, id="what was asked and refused"),
    pytest.param(US, mode(ACTIVE), Asked().again(10), True, id="what is being asked just now"),
    pytest.param(US, mode(STANDBY, ME), asked(ACCEPTED), True, id="what an earlier pod of this run moved"),
    pytest.param(US, mode(ACTIVE), asked(), False, id="not what was never asked"),
    pytest.param(US, None, asked(), False, id="not what was never seen"),
    pytest.param(US, mode(STANDBY), asked(ACCEPTED), False, id="not what was in standby for nobody"),
    pytest.param(
        US, mode(STANDBY, EARLIER_RUN), asked(ACCEPTED), False, id="not what another run of ours moved"
    ),
    pytest.param(
        US, mode(STANDBY, WITHOUT_A_RUN), asked(ACCEPTED), False, id="not what a run without a name moved"
    ),
    pytest.param(
        US_WITHOUT_A_RUN,
        mode(STANDBY, WITHOUT_A_RUN),
        asked(ACCEPTED),
        False,
        id="nor, without a run's name, what may be any earlier run's",
    ),
]


@pytest.mark.parametrize(("names", "before", "so_far", "moved"), MOVED)
def test_moved(names: Ownership, before: Mode | None, so_far: Asked, moved: bool) -> None:  # noqa: FBT001
    """This run moved what it may have reached and did not find in standby, or found there in its very name."""
    assert moved is Passage(before, so_far).moved(names)


def test_a_request_that_cannot_have_arrived_moved_nothing() -> None:
    """Whoever sent it says so; a refused connection moves nobody."""
    unreachable = replace(asked(NoAnswer(Failure.UNREACHABLE, "refused")), may_have_arrived=False)
    assert Passage(mode(ACTIVE), unreachable).moved(US) is False


TAKEN = [
    pytest.param(US, mode(ACTIVE), mode(STANDBY, OPERATOR), True, id="an operator's name"),
    pytest.param(US, mode(ACTIVE), mode(STANDBY, SIMILAR), True, id="a name that only begins as ours"),
    pytest.param(US, mode(ACTIVE), mode(STANDBY, EARLIER_RUN), True, id="another run's name"),
    pytest.param(US, mode(ACTIVE), mode(STANDBY, WITHOUT_A_RUN), True, id="our name without a run"),
    pytest.param(
        US_WITHOUT_A_RUN, mode(ACTIVE), mode(STANDBY, ME), True, id="a run's name, where we have none"
    ),
    pytest.param(US, mode(ACTIVE), mode(STANDBY, ME), False, id="not our own"),
    pytest.param(US, mode(ACTIVE), mode(STANDBY), False, id="not nobody's"),
    pytest.param(
        US,
        mode(ACTIVE, EARLIER_RUN),
        mode(STANDBY, EARLIER_RUN),
        False,
        id="not the name that it had before us",
    ),
]


@pytest.mark.parametrize(("names", "before", "now_is", "taken"), TAKEN)
def test_taken(names: Ownership, before: Mode, now_is: Mode, taken: bool) -> None:  # noqa: FBT001
    """A target that this run moved is taken over by whoever it has come to name."""
    assert taken is Passage(before, asked(ACCEPTED)).taken(now_is, names)


WAS_ACTIVE = mode(ACTIVE)

UNDO = [
    pytest.param(asked(), seen(STANDBY, ME, at=20), False, Step.ASK, id="what names us is asked to trade"),
    pytest.param(asked(), seen(STANDBY, at=20), False, Step.ASK, id="so is what names nobody"),
    pytest.param(asked(), seen(OTHER, ME, at=20), False, Step.ASK, id="so is what still drains"),
    pytest.param(asked(), unread(at=20), False, Step.LOOK, id="what cannot be read is looked at again"),
    pytest.param(
        asked(), unread(Failure.UNREACHABLE, at=20), False, Step.LOOK, id="so is one where nobody answers"
    ),
    pytest.param(
        asked(),
        unread(Failure.UNREACHABLE, at=20),
        True,
        Step.LEFT,
        id="unless its address has left the name",
    ),
    pytest.param(
        asked(), unread(at=20), True, Step.LOOK, id="an address that left and still answers is owed an undo"
    ),
    pytest.param(
        asked(), seen(STANDBY, ME, at=20), True, Step.ASK, id="an address that left and stands by is asked"
    ),
    pytest.param(asked(), seen(STANDBY, OPERATOR, at=20), False, Step.LEFT, id="an operator's is left"),
    pytest.param(asked(), seen(OTHER, OPERATOR, at=20), False, Step.LEFT, id="so is one that drains for one"),
    pytest.param(asked(), seen(STANDBY, EARLIER_RUN, at=20), False, Step.LEFT, id="so is another run's"),
    pytest.param(
        asked(), seen(ACTIVE, EARLIER_RUN, at=20), False, Step.LEFT, id="also where another run made it trade"
    ),
    pytest.param(
        asked(), seen(ACTIVE, at=20), False, Step.ASK, id="what trades for nobody is asked once, just in case"
    ),
    pytest.param(
        asked(CONFLICT, at=20), seen(ACTIVE, at=20.3), False, Step.CONFIRMED, id="and need not accept it"
    ),
    pytest.param(
        asked(LOST, at=20),
        seen(ACTIVE, at=19.9),
        False,
        Step.LOOK,
        id="but must be seen to trade after it was asked",
    ),
    pytest.param(
        asked(CONFLICT, at=20),
        seen(ACTIVE, ME, at=20.3),
        False,
        Step.ASK,
        id="what trades and names us has to accept",
    ),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(ACTIVE, ME, at=20.3),
        False,
        Step.CONFIRMED,
        id="what accepted and is seen to trade is returned",
    ),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(ACTIVE, ME, at=20.05),
        False,
        Step.LOOK,
        id="but not by what was asked before it accepted",
    ),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(STANDBY, ME, at=20.3),
        False,
        Step.LOOK,
        id="what accepted and still stands by is given time",
    ),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(STANDBY, ME, at=23),
        False,
        Step.ASK,
        id="and after two seconds asked again",
    ),
]


@pytest.mark.parametrize(("back", "look", "gone", "step"), UNDO)
def test_undo(back: Asked, look: Look, gone: bool, step: Step) -> None:  # noqa: FBT001
    """What a moved target needs on its way back; what was taken over meanwhile is left."""
    assert step == Passage(WAS_ACTIVE, asked(ACCEPTED)).undo(back, look, US, look.asked_at + 0.05, gone=gone)


def test_what_trades_under_another_name_is_asked_once_too() -> None:
    """It does not name us, and our standby request may still be under way."""
    passage, back = Passage(WAS_ACTIVE, asked(LOST)), asked(CONFLICT, at=20)
    first = passage.undo(asked(), seen(ACTIVE, OPERATOR, at=20), US, 20, gone=False)
    assert (
        first,
        passage.undo(back, seen(ACTIVE, OPERATOR, at=20.3), US, 20.3, gone=False),
    ) == (Step.ASK, Step.CONFIRMED)


def test_an_operator_name_that_was_there_before_us_is_undone_while_it_trades() -> None:
    """An OMS may go on naming whom it named before; as long as it trades it is asked once."""
    passage = Passage(mode(ACTIVE, OPERATOR), asked(LOST))
    assert passage.undo(asked(), seen(ACTIVE, OPERATOR, at=20), US, 20, gone=False) is Step.ASK


def test_an_operator_name_that_was_there_before_us_is_left_once_it_does_not_trade() -> None:
    """It names somebody else: nobody can tell whether that is still so, and nothing is sent."""
    passage = Passage(mode(ACTIVE, OPERATOR), asked(ACCEPTED))
    steps = {
        passage.undo(asked(), seen(state, OPERATOR, at=20), US, 20, gone=False) for state in (STANDBY, OTHER)
    }
    assert {Step.LEFT} == steps


TO_ACTIVE = [
    pytest.param(asked(), seen(STANDBY, ME, at=20), True, Step.ASK, id="what is ours is asked"),
    pytest.param(asked(), seen(STANDBY, OPERATOR, at=20), False, Step.LEFT, id="what is not ours is left"),
    pytest.param(asked(), seen(OTHER, ME, at=20), True, Step.LOOK, id="what drains is waited for"),
    pytest.param(asked(), seen(OTHER, OPERATOR, at=20), False, Step.LOOK, id="whoever it drains for"),
    pytest.param(asked(), unread(at=20), True, Step.LOOK, id="what cannot be read is looked at again"),
    pytest.param(asked(), seen(ACTIVE, at=20), True, Step.CONFIRMED, id="what trades already is confirmed"),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(ACTIVE, ME, at=20.2),
        True,
        Step.CONFIRMED,
        id="what was asked and trades is, too",
    ),
    pytest.param(
        asked(LOST, at=20),
        seen(ACTIVE, ME, at=20),
        True,
        Step.LOOK,
        id="but not by a question that was not asked after the request",
    ),
    pytest.param(
        asked(ACCEPTED, at=20), seen(STANDBY, ME, at=21), True, Step.LOOK, id="what accepted is given time"
    ),
    pytest.param(
        asked(ACCEPTED, at=20),
        seen(STANDBY, ME, at=23),
        True,
        Step.ASK,
        id="and after two seconds asked again",
    ),
]


@pytest.mark.parametrize(("back", "look", "may_return", "step"), TO_ACTIVE)
def test_the_way_back_to_trading(back: Asked, look: Look, may_return: bool, step: Step) -> None:  # noqa: FBT001
    """What a verified target needs to trade."""
    assert step == to_active(back, look, look.asked_at + 0.05, may_return=may_return)


# Whatever was seen

TIMES = some.floats(0, 1000)
OWNERS = (
    some.none() | some.sampled_from([ME, EARLIER_RUN, WITHOUT_A_RUN, OPERATOR, SIMILAR, "a"]) | some.text()
)
MODES = some.builds(mode, some.sampled_from(State), OWNERS)
LOOKS = some.builds(Look, TIMES, some.none() | MODES, failure=some.none() | some.sampled_from(Failure))
OUTCOMES = some.sampled_from([ACCEPTED, UNAVAILABLE, CONFLICT, LOST])
HISTORIES = some.builds(
    lambda answers, at, looked: asked(*answers, at=at).seen(looked),
    some.lists(OUTCOMES, max_size=4),
    TIMES,
    LOOKS,
)
PASSAGES = some.builds(Passage, some.none() | MODES, HISTORIES)
NAMES = some.sampled_from([US, US_ALONE, US_WITHOUT_A_RUN])
LOOKED_AT_MODES = some.builds(Look, TIMES, MODES)


@given(PASSAGES, HISTORIES, LOOKED_AT_MODES, NAMES, TIMES, some.booleans())
def test_nothing_is_sent_to_what_somebody_else_holds(
    passage: Passage,
    back: Asked,
    look: Look,
    names: Ownership,
    now: float,
    gone: bool,  # noqa: FBT001
) -> None:
    """Whatever went before, a target that is not active and names somebody else is sent nothing."""
    assert look.mode is not None
    held = look.mode.state is not ACTIVE and names.is_foreign(look.mode.owner)
    steps = {
        passage.to_standby(look, names, now),
        passage.undo(back, look, names, now, gone=gone),
        to_active(back, look, now, may_return=names.is_ours(look.mode.owner)),
    }
    assert not (held and Step.ASK in steps)


@given(PASSAGES, HISTORIES, TIMES, some.none() | some.sampled_from(Failure), NAMES, TIMES, some.booleans())
def test_what_is_unknown_is_neither_asked_nor_confirmed(
    passage: Passage,
    back: Asked,
    asked_at: float,
    failure: Failure | None,
    names: Ownership,
    now: float,
    gone: bool,  # noqa: FBT001
) -> None:
    """A look that brought no mode is looked at again; only an undo lets an address go that left with nobody there."""
    look = unread(failure, at=asked_at)
    steps = (
        passage.to_standby(look, names, now),
        passage.undo(back, look, names, now, gone=gone),
        to_active(back, look, now, may_return=True),
    )
    let_go = Step.LEFT if gone and failure else Step.LOOK
    assert (Step.LOOK, let_go, Step.LOOK) == steps


@given(PASSAGES, LOOKS, NAMES, TIMES)
def test_only_a_standby_of_ours_that_was_asked_for_and_seen_later_is_confirmed(
    passage: Passage, look: Look, names: Ownership, now: float
) -> None:
    """Confirmation takes a standby that is ours and a question asked after the switch was accepted."""
    if passage.to_standby(look, names, now) is Step.CONFIRMED:
        accepted_at = passage.asked.accepted_at
        assert look.mode is not None
        assert accepted_at is not None
        assert (
            look.mode.state is STANDBY,
            names.is_ours(look.mode.owner),
            look.asked_at >= accepted_at,
        ) == (True, True, True)


@given(PASSAGES, HISTORIES, LOOKED_AT_MODES, NAMES, TIMES, some.booleans())
def test_the_way_back_confirms_nothing_but_trading(
    passage: Passage,
    back: Asked,
    look: Look,
    names: Ownership,
    now: float,
    gone: bool,  # noqa: FBT001
) -> None:
    """A target that is not active is never taken as returned."""
    assert look.mode is not None
    steps = {passage.undo(back, look, names, now, gone=gone), to_active(back, look, now, may_return=True)}
    assert look.mode.state is ACTIVE or Step.CONFIRMED not in steps


@given(some.integers(0, 10_000))
def test_no_number_of_tries_is_too_many(tries: int) -> None:
    """However often it was asked, when to ask again is a time, and later than now."""
    answered = replace(Asked(), tries=tries).again(10).answered(ACCEPTED, 10, PAUSE)
    assert 10 < answered.not_before < float("inf")
