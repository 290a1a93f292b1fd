"""What the watchdog concludes from round after round. Time is an argument, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hooks.oms.documents import Look, Mode, Ownership, State
from hooks.oms.vigil import Seen, Vigil, Wanted

STANDBY_SECONDS = 900.0
UNREADABLE_SECONDS = 300.0
OURS = Ownership("argocd-sync", None, unnamed_is_ours=True)

OPEN, CLOSED = Wanted.OPEN, Wanted.CLOSED
BOTH_CLOSED = (CLOSED, CLOSED)


def vigil(names: Ownership = OURS) -> Vigil:
    """Return a vigil with the default patience."""
    return Vigil(names, standby_seconds=STANDBY_SECONDS, unreadable_seconds=UNREADABLE_SECONDS)


def in_mode(state: State, owner: str | None = None, *, age: float | None = None) -> Seen:
    """Return what is seen of a target that can be read."""
    return Seen(Look(0.0, Mode(state, owner, {})), state, age)


def unreadable(last_read: State | None = None) -> Seen:
    """Return what is seen of a target that cannot be read, but perhaps once could."""
    return Seen(Look(0.0, None, "not answered within 5 s"), last_read)


def held(owner: str | None = "argocd-sync/run-1", *, age: float | None = None) -> Seen:
    """Return what is seen of a target in our standby."""
    return in_mode(State.STANDBY, owner, age=age)


ACTIVE = in_mode(State.ACTIVE)
OPERATORS = in_mode(State.STANDBY, "operator/alice")


def concluded(
    rounds: Sequence[tuple[float, Mapping[str, Seen]]], names: Ownership = OURS
) -> list[tuple[Wanted | None, Wanted | None]]:
    """Return what a vigil wants after each of these rounds."""
    watching = vigil(names)
    return [watching.note(now, targets) for now, targets in rounds]


# What is held


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(held("argocd-sync"), id="in standby under our name"),
        pytest.param(held("argocd-sync/run-7"), id="in standby under the name of any of our runs"),
        pytest.param(held(None), id="in a standby that names nobody"),
        pytest.param(in_mode(State.OTHER, "argocd-sync/run-7"), id="draining for us"),
        pytest.param(in_mode(State.OTHER), id="starting"),
    ],
)
def test_what_is_not_active_and_ours_is_paged_once_it_lasts_longer(seen: Seen) -> None:
    """At exactly WATCH_STANDBY_SECONDS nobody is paged, after them somebody is."""
    rounds = [(0.0, {"a": seen}), (900.0, {"a": seen}), (900.1, {"a": seen})]

    assert concluded(rounds) == [(None, CLOSED), (None, CLOSED), (OPEN, CLOSED)]


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        pytest.param(OPERATORS, OURS, id="an operator's standby"),
        pytest.param(held("argocd-sync-2/run-1"), OURS, id="a name that only begins like ours"),
        pytest.param(held(None), Ownership("argocd-sync", None, unnamed_is_ours=False), id="nobody's"),
        pytest.param(in_mode(State.ACTIVE, "argocd-sync/run-1"), OURS, id="active under our name"),
    ],
)
def test_what_is_not_ours_pages_nobody(seen: Seen, names: Ownership) -> None:
    """However long it lasts, no incident is open."""
    assert concluded([(0.0, {"a": seen}), (1e6, {"a": seen})], names) == [BOTH_CLOSED, BOTH_CLOSED]


def test_one_held_target_among_many_is_enough() -> None:
    """That others trade does not end it."""
    seen = {"a": ACTIVE, "b": held(), "c": OPERATORS}

    assert concluded([(0.0, seen), (901.0, seen)]) == [(None, CLOSED), (OPEN, CLOSED)]


# Since when


@pytest.mark.parametrize(
    ("age", "wanted"),
    [
        pytest.param(900.0, None, id="just as long as it may be"),
        pytest.param(901.0, OPEN, id="longer"),
        pytest.param(None, None, id="not told"),
        pytest.param(0.0, None, id="since now"),
    ],
)
def test_what_the_oms_tells_counts_from_the_first_look(age: float | None, wanted: Wanted | None) -> None:
    """A watchdog that has just started knows of a standby that began before it did."""
    assert concluded([(10.0, {"a": held(age=age)})]) == [(wanted, CLOSED)]


def test_the_earliest_that_any_target_tells_counts() -> None:
    """Neither the order of targets nor a later moment makes it shorter."""
    watching = vigil()
    watching.note(1000.0, {"a": held(age=30.0), "b": held(age=200.0), "c": held()})

    assert watching.held_for(1000.0) == 200.0


def test_what_an_operators_standby_tells_does_not_count() -> None:
    """Only what is ours does."""
    watching = vigil()
    watching.note(1000.0, {"a": held(age=30.0), "b": in_mode(State.STANDBY, "operator/alice", age=5000.0)})

    assert watching.held_for(1000.0) == 30.0


def test_a_first_look_counts_where_the_oms_tells_less() -> None:
    """A run that takes the standby over, so that it begins anew for the OMS, does not begin it anew for us."""
    watching = vigil()
    watching.note(0.0, {"a": held(age=100.0)})
    watching.note(500.0, {"a": held("argocd-sync/run-2", age=1.0)})

    assert watching.held_for(500.0) == 600.0


def test_a_pod_that_is_replaced_does_not_begin_it_anew() -> None:
    """Addresses come and go, the OMS does not trade all the same."""
    rounds = [(at, {f"10.0.0.{at:.0f}": held()}) for at in (0.0, 300.0, 600.0, 900.0, 901.0)]

    assert [standby for standby, _ in concluded(rounds)] == [None, None, None, None, OPEN]


def test_pods_that_take_turns_do_not_begin_it_anew() -> None:
    """As long as one target or another is held, not all of the OMS trades."""
    a, b = {"a": held(), "b": ACTIVE}, {"a": ACTIVE, "b": held()}

    assert [standby for standby, _ in concluded([(0.0, a), (500.0, b), (901.0, a)])] == [None, None, OPEN]


# How it ends


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"a": ACTIVE}, id="active"),
        pytest.param({"a": OPERATORS}, id="taken over by an operator"),
        pytest.param({"b": ACTIVE}, id="replaced by a pod that trades"),
        pytest.param({"a": ACTIVE, "b": OPERATORS}, id="one of each"),
        pytest.param({"a": ACTIVE, "b": unreadable(State.ACTIVE)}, id="unreadable, active when last read"),
    ],
)
def test_it_ends_when_no_target_is_held(end: Mapping[str, Seen]) -> None:
    """From then on the time begins anew."""
    watching = vigil()
    watching.note(0.0, {"a": held()})
    assert watching.note(901.0, {"a": held()}) == (OPEN, CLOSED)

    assert watching.note(902.0, end)[0] is CLOSED
    assert watching.held_for(902.0) == 0.0
    assert watching.note(903.0, {"a": held()})[0] is None
    assert watching.held_for(1903.0) == 1000.0


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param({"a": unreadable(State.STANDBY)}, id="unreadable, in standby when last read"),
        pytest.param({"a": ACTIVE, "b": unreadable()}, id="a pod that was never read"),
        pytest.param({"a": ACTIVE, "b": unreadable(State.OTHER)}, id="unreadable, draining when last read"),
        pytest.param({}, id="a name that nobody knows"),
    ],
)
def test_what_cannot_be_read_does_not_end_it(blind: Mapping[str, Seen]) -> None:
    """What cannot be read is not assumed to trade: the time goes on, and so does the incident."""
    rounds = [(0.0, {"a": held()}), (800.0, blind), (901.0, blind)]

    assert [standby for standby, _ in concluded(rounds)] == [None, None, OPEN]


def test_at_the_start_an_oms_that_trades_closes_both() -> None:
    """Whatever an earlier watchdog left open is closed."""
    assert concluded([(0.0, {"a": ACTIVE})]) == [BOTH_CLOSED]


def test_at_the_start_an_oms_that_is_held_closes_nothing() -> None:
    """However short it is held: an earlier watchdog may have paged for it."""
    assert concluded([(0.0, {"a": held(age=1.0)})]) == [(None, CLOSED)]


def test_at_the_start_an_oms_that_cannot_be_read_closes_nothing() -> None:
    """Nothing is known."""
    assert concluded([(0.0, {"a": unreadable()}), (1.0, {})]) == [(None, None), (None, None)]


# Unreadable


def test_an_oms_that_cannot_be_read_is_paged() -> None:
    """From WATCH_UNREADABLE_SECONDS after the first such look."""
    blind = {"a": unreadable(State.ACTIVE), "b": unreadable()}
    rounds = [(100.0, {"a": ACTIVE}), (101.0, blind), (400.9, blind), (401.0, blind)]

    assert [wanted for _, wanted in concluded(rounds)] == [CLOSED, None, None, OPEN]


def test_without_any_target_nothing_can_be_read() -> None:
    """A name that DNS does not know is no OMS that trades."""
    watching = vigil()
    watching.note(0.0, {})

    assert watching.note(300.0, {}) == (None, OPEN)
    assert watching.unreadable_for(300.0) == 300.0


@pytest.mark.parametrize(
    "readable",
    [
        pytest.param(ACTIVE, id="active"),
        pytest.param(held(), id="held"),
        pytest.param(OPERATORS, id="operator's"),
    ],
)
def test_one_target_that_can_be_read_ends_it(readable: Seen) -> None:
    """The time begins anew."""
    watching = vigil()
    watching.note(0.0, {"a": unreadable()})
    assert watching.note(300.0, {"a": unreadable()})[1] is OPEN

    assert watching.note(301.0, {"a": unreadable(), "b": readable})[1] is CLOSED
    assert watching.unreadable_for(301.0) == 0.0
    assert watching.note(302.0, {"a": unreadable()})[1] is None


# Whatever happens


@dataclass
class Expected:
    """The contract's sentences, one by one, over everything that was seen so far."""

    began: list[float] = field(default_factory=list)
    """Every moment since the last closing round at which a target was, or told to have been, held by us."""
    blind: list[float] = field(default_factory=list)

    def after(self, now: float, targets: Mapping[str, Seen]) -> tuple[Wanted | None, Wanted | None]:
        """Return what must be wanted after one more round."""
        held = [seen for seen in targets.values() if seen.look.mode and is_held(seen.look.mode)]
        known = [seen.look.mode is not None or seen.last_read is State.ACTIVE for seen in targets.values()]
        self.began += [now - (seen.age or 0.0) for seen in held]
        closed = bool(targets) and not held and all(known)
        if closed:
            self.began = []
        readable = any(seen.look.mode for seen in targets.values())
        self.blind = [] if readable else [*self.blind, now]
        too_long = bool(self.began) and now - min(self.began) > STANDBY_SECONDS
        too_blind = bool(self.blind) and now - min(self.blind) >= UNREADABLE_SECONDS
        return (
            CLOSED if closed else OPEN if too_long else None,
            CLOSED if readable else OPEN if too_blind else None,
        )


def is_held(mode: Mode) -> bool:
    """Whether it does not trade, and that is our doing."""
    return mode.state is not State.ACTIVE and (mode.owner is None or mode.owner.startswith("argocd-sync"))


AGES = st.none() | st.sampled_from([0.0, 1.0, 100.0, 899.0, 901.0, 5000.0])
LOOKS = st.one_of(
    st.builds(
        in_mode,
        st.sampled_from(State),
        st.sampled_from([None, "argocd-sync", "argocd-sync/run-1", "operator/alice"]),
        age=AGES,
    ),
    st.builds(unreadable, st.none() | st.sampled_from(State)),
)
ROUNDS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 5.0, 299.0, 300.0, 600.0, 901.0]),
        st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), LOOKS, max_size=4),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(ROUNDS)
def test_it_concludes_what_the_contract_says(rounds: Sequence[tuple[float, Mapping[str, Seen]]]) -> None:
    """The clock is the OMS's, not an address's: whatever was replaced, silent, or told."""
    watching, expected, now = vigil(), Expected(), 0.0
    for pause, targets in rounds:
        now += pause
        assert watching.note(now, targets) == expected.after(now, targets)


@settings(max_examples=80, deadline=None)
@given(ROUNDS)
def test_addresses_do_not_matter(rounds: Sequence[tuple[float, Mapping[str, Seen]]]) -> None:
    """The same looks under other addresses, new ones every round, lead to the same conclusions."""
    now = 0.0
    same, renamed = vigil(), vigil()
    for number, (pause, targets) in enumerate(rounds):
        now += pause
        moved = {f"{label}-{number}": seen for label, seen in reversed(list(targets.items()))}
        assert same.note(now, targets) == renamed.note(now, moved)
