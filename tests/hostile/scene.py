"""A scene: one command against far ends that behave as told, played to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from tests.hostile.oms import Oms
    from tests.hostile.peer import Behaviour, Peer
    from tests.hostile.process import Ending


class Played(NamedTuple):
    """How the command ended, what it asked, and what the OMS had become."""

    ending: Ending
    peer: Peer
    oms: Oms


T = TypeVar("T")


class Play(Protocol):
    """Returns what became of a scene."""

    def __call__(self, scene: Callable[[], T]) -> T: ...


Scene = Callable[[], Played]


def scenes(play: Callable[[Behaviour], object], table: Mapping[str, Behaviour]) -> list[ParameterSet]:
    """Return a scene for each behaviour of a table, under its name."""
    return [pytest.param(partial(play, behaviour), id=name) for name, behaviour in table.items()]
