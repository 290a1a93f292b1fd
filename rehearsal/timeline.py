"""What a person sees of a rehearsal: what happened, in order, as it happens; then what it comes to."""

from __future__ import annotations

import asyncio
import heapq
import io
import math
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rehearsal.beside import beside
from rehearsal.fact import Fact, Tone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

# Wide enough for a sentence; fits a terminal, an e-mail and the README.
WIDTH = 100
# The OMS, PagerDuty and the hooks are heard through different channels: a line waits so long for earlier ones.
PATIENCE_SECONDS = 0.15
# What several replicas do within so much is told in one line.
MOMENT_SECONDS = 0.1
TEXT_COLUMN = 29
WHAT_WIDTH = 22

STYLES = {Tone.PHASE: "bold", Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "red"}


@dataclass(frozen=True)
class Result:
    """What the summary says of one scenario."""

    name: str
    differences: list[str]
    without_trading: str
    incident: str
    seconds: float


class Timeline:
    """Prints one scenario after the other; live and in colour on a terminal, plain text elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = 0.0
        self._waiting: list[Fact] = []

    def begin(self, name: str, story: str, circumstances: Iterable[tuple[str, str]], at: float) -> None:
        """Head a scenario; seconds count from `at`. `circumstances`: what is not as in the manifests."""
        self._began = at
        self._print_row("", Text.assemble((name, "bold reverse"), ("  " + story, "bold")), 0)
        self._console.print()
        for subject, text in circumstances:
            self._print_row(f"  {subject}", Text(text, "dim"), TEXT_COLUMN)

    def tell(self, fact: Fact) -> None:
        """Take a fact; it is printed once no earlier one can come."""
        heapq.heappush(self._waiting, fact)

    @asynccontextmanager
    async def live(self, now: Callable[[], Text]) -> AsyncIterator[None]:
        """Print facts as they come; on a terminal, over a last line that says how it is now."""
        try:
            async with beside(self._keep_printing(now)):
                yield
        finally:
            self._print_until(math.inf)

    def end(self, comes_to: Iterable[tuple[str, str]], differences: Sequence[str]) -> None:
        """Close a scenario: what it comes to, and whether it ended as it must."""
        self._console.print()
        for subject, text in comes_to:
            self._print_row(f"  {subject}", Text(text), TEXT_COLUMN)
        for difference in differences:
            self._print_row("  ended otherwise", Text(difference, "bold red"), TEXT_COLUMN)
        if not differences:
            self._print_row("", Text("  ended as it must", "bold green"), 0)
        self._console.print()

    def summary(self, results: Iterable[Result]) -> None:
        """Close a rehearsal of several scenarios with one table."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for heading in ("scenario", "ended", "without trading", "incident"):
            table.add_column(heading)
        table.add_column("took", justify="right")
        for result in results:
            how = Text("otherwise", "bold red") if result.differences else Text("as it must", "green")
            table.add_row(
                result.name, how, result.without_trading, result.incident, f"{result.seconds:.1f} s"
            )
        self._console.print(table)

    async def _keep_printing(self, now: Callable[[], Text]) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                self._print_until(time.time() - PATIENCE_SECONDS)
                if self._console.is_terminal:
                    live.update(now(), refresh=True)
                await asyncio.sleep(0.05)

    def _print_until(self, at: float) -> None:
        while self._waiting and self._waiting[0].at <= at:
            self._print_fact(*self._same())

    def _same(self) -> tuple[Fact, list[str]]:
        """Take the next fact, and who else has the same to tell in the same moment."""
        first = heapq.heappop(self._waiting)
        who = [first.who]
        while self._waiting and _is_same(first, self._waiting[0]) and self._waiting[0].who not in who:
            who.append(heapq.heappop(self._waiting).who)
        return first, who

    def _print_fact(self, fact: Fact, who: list[str]) -> None:
        if fact.tone is Tone.PHASE:
            self._console.print()
            self._print_row("", Text(f"  {fact.who}", STYLES[fact.tone]), 0)
            return
        text = Text.assemble((fact.what, STYLES[fact.tone]))
        if fact.more:
            text.pad_right(WHAT_WIDTH - len(text))
            text.append(f"  {fact.more}", "dim" if fact.tone is Tone.PLAIN else "")
        self._print_row(f"{fact.at - self._began:8.2f}  {' '.join(sorted(who))}", text, TEXT_COLUMN)

    def _print_row(self, label: str, text: Text, indent: int) -> None:
        """Print the label, and the text beside it with a hanging indent."""
        for number, line in enumerate(text.wrap(self._console, self._console.width - indent)):
            line.rstrip()
            margin = "" if number else label
            self._console.print(Text(margin.ljust(indent)) + line, soft_wrap=True)


def _is_same(one: Fact, other: Fact) -> bool:
    at_once = other.at < one.at + MOMENT_SECONDS
    return at_once and (one.what, one.more, one.tone) == (other.what, other.more, other.tone)


def console() -> Console:
    """Return the console of this process: as wide as the terminal, and of a fixed width elsewhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # No arrow is worth a crash where the encoding has none.
        sys.stdout.reconfigure(errors="replace")
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
