"""A jq expression, compiled once and asked of documents; the only import of jq."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from typing import Any

import jq


class Expression:
    """One jq program (what `jq -e` would be given), compiled when it is first used: that takes 1.2 ms.

    Expressions are trusted: one that never ends is the operator's to mend.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _program(self) -> Any:
        try:
            return jq.compile(self.text)
        except ValueError as error:
            first = str(error).partition("\n")[0].removeprefix("jq: error: ")
            raise ValueError(f"is not a jq expression: {first}") from None

    def compiled(self) -> Expression:
        """Compile now; raises ValueError, in words for a person, when that cannot be done."""
        _ = self._program
        return self

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def only(self, document: str) -> Any:
        """Return the one value that the expression yields for a document, given as JSON text.

        Raises ValueError when it fails on the document, and when it yields no value or more than one.
        """
        # At most two are taken: an expression may yield without end.
        values = list(islice(iter(self._program.input_text(document)), 2))
        if len(values) != 1:
            raise ValueError("yields no value" if not values else "yields more than one value")
        return values[0]

    def is_true(self, document: str) -> bool:
        """Whether the expression yields exactly one value and that is `true` (contract, "Words")."""
        try:
            return self.only(document) is True
        except ValueError:
            return False
