"""A scene: one command, played to its end against far ends that behave as told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import pytest

from tests.hostile.environment import BRIEF, given
from tests.hostile.oms import Oms
from tests.hostile.peer import Behaviour, Peer
from tests.hostile.process import Ending, run

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


class Played(NamedTuple):
    """How the command ended, what it asked, and what the OMS had become."""

    ending: Ending
    peer: Peer
    oms: Oms


class Crowd(NamedTuple):
    """How a command ended for many targets at once, each by the name of its behaviour."""

    ending: Ending
    peers: dict[str, Peer]
    all_oms: dict[str, Oms]

    def last_seen(self, name: str) -> dict[str, Any]:
        """Return the verdict's observation of a target."""
        observation: dict[str, Any] = self.ending.verdict["targets"][self.peers[name].address]
        return observation


T = TypeVar("T")


class Play(Protocol):
    """Returns what became of a scene."""

    def __call__(self, scene: Callable[[], T]) -> T: ...


Scene = Callable[[], Played]


def crowd(
    command: str,
    table: Mapping[str, Behaviour],
    answers: Callable[[Oms, Behaviour], Behaviour],
    *,
    mode: str = "active",
    times: Mapping[str, str] = BRIEF,
) -> Crowd:
    """Play a command with a target for each behaviour of a table, which `answers` puts in its place."""
    all_oms = {name: Oms(mode=mode) for name in table}
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(Peer(answers(all_oms[name], behaviour)))
            for name, behaviour in table.items()
        }
        return Crowd(run(command, given(*peers.values(), times=times), within=5), peers, all_oms)


def scenes(play: Callable[[Behaviour], object], table: Mapping[str, Behaviour]) -> list[ParameterSet]:
    """Return a scene for each behaviour of a table, under its name."""
    return [pytest.param(partial(play, behaviour), id=name) for name, behaviour in table.items()]
