"""Sentences about many targets: those of which the same is to be said are named together."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 4


def told_together(phrases: Iterable[tuple[str, str]], *, named: int = _NAMED) -> str:
    """Join what is said of each target, given as its label and a phrase with its verb in the singular.

    `a is active; b is active; c cannot be read` becomes `a, b are active; c cannot be read`. Of those that share a
    phrase so many are named and the rest counted.
    """
    labels: dict[str, list[str]] = {}
    for label, phrase in phrases:
        labels.setdefault(phrase, []).append(label)
    return "; ".join(_clause(sharing, phrase, named) for phrase, sharing in labels.items())


def _clause(labels: list[str], phrase: str, named: int) -> str:
    rest = len(labels) - named
    listed = ", ".join(labels[:named]) + (f" and {rest} more" if rest > 0 else "")
    return f"{listed} {agreeing(phrase, len(labels))}"


def agreeing(phrase: str, number: int) -> str:
    """Return a phrase with its verb in the right number."""
    verb, space, said = phrase.partition(" ")
    plural = {"is": "are", "was": "were"}.get(verb, verb)
    return f"{plural if number > 1 else verb}{space}{said}"
