"""What was measured, held against its limit, and the table of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One kind of time or memory, round by round, and the most that its median may be, where that is set."""

    what: str
    hooks: Sequence[float]
    limit: float | None
    because: str = ""
    scripts: Sequence[float] = ()
    unit: str = "s"

    @property
    def value(self) -> float:
        return median(self.hooks)

    @property
    def scripts_value(self) -> float | None:
        return median(self.scripts) if self.scripts else None

    @property
    def missed(self) -> bool:
        return self.limit is not None and self.value > self.limit


def table(rows: Sequence[Row]) -> str:
    head = f"{'medians':<40}{'scripts':>9}{'hooks':>9}{'ratio':>8}{'limit':>9}"
    return "\n".join([head, *map(_line, rows)])


def _line(row: Row) -> str:
    scripts = ratio = ""
    if row.scripts_value is not None:
        scripts, ratio = f"{row.scripts_value:.3f}", f"{row.value / row.scripts_value:.2f}"
    limit = "" if row.limit is None else f"{row.limit:.3f}"
    judged = "" if row.limit is None else "missed" if row.missed else "ok"
    numbers = f"{scripts:>9}{row.value:>9.3f}{ratio:>8}{limit:>9} {row.unit:<3}"
    return f"{row.what:<40}{numbers}{judged:<8}{row.because}".rstrip()
