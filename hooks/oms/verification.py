"""N healthy looks in a row on all targets, and the relapse after it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Streaks(Generic[T]):
    """How many times in a row each target gave the same kind of answer, the last one included."""

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self._lengths: dict[T, int] = {}

    def note(self, answers: Mapping[T, bool]) -> None:
        """Take one round: a no begins anew."""
        for target, answer in answers.items():
            self._lengths[target] = self._lengths.get(target, 0) + 1 if answer else 0

    def forget(self, targets: Iterable[T]) -> None:
        """Begin anew with these targets."""
        for target in targets:
            self._lengths.pop(target, None)

    def reached(self, target: T) -> bool:
        """Whether the target's streak is as long as needed."""
        return self._lengths.get(target, 0) >= self._needed

    def all_reached(self, targets: Collection[T]) -> bool:
        """Whether all targets' are; no targets is no."""
        return bool(targets) and all(self.reached(target) for target in targets)
