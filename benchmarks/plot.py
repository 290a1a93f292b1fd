"""The results as a picture: SVG by hand, on a card of its own so that it reads in light and in dark."""

from collections.abc import Iterator, Sequence
from math import ceil
from statistics import median

from benchmarks.results import Row

WIDTH, LEFT, RIGHT = 760, 28, 732
STRIP, BAR = 78, 44
STYLE = """
  .card { fill: #ffffff; stroke: #d1d9e0 }
  text { fill: #1f2328; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .title { font-size: 17px; font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .grid { stroke: #d1d9e0 }
  .room { fill: #818b98; fill-opacity: .22 }
  .scripts { fill: #bc4c00 }
  .hooks { fill: #0969da }
  .missed { fill: #cf222e }
  .dot { fill-opacity: .5 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc; stroke: #0d1117 }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .scripts { fill: #f0883e }
    .hooks { fill: #4493f8 }
    .missed { fill: #f85149 }
  }
"""


def drawn(waits: Sequence[Row], costs: Sequence[Row], made: str) -> str:
    """Draw the waits round by round, the costs as bars within their limits, and below how all that was made."""
    costs_top = 122 + STRIP * len(waits)
    height = costs_top + 20 + BAR * len(costs) + 40
    svg = (
        f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    )
    parts = [
        f'<svg {svg} role="img" aria-label="The hooks beside the scripts that they replace">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        *_legend(),
        *_waits(waits),
        *_costs(costs, costs_top),
        _text(LEFT, height - 16, made, "quiet"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> Iterator[str]:
    for x, kind, named in ((RIGHT - 204, "scripts", "curl scripts"), (RIGHT - 90, "hooks", "these hooks")):
        yield f'<circle class="{kind}" cx="{x}" cy="32" r="5"/>'
        yield _text(x + 11, 36, named)


def _waits(rows: Sequence[Row]) -> Iterator[str]:
    longest = ceil(max(value for row in rows for value in (*row.hooks, *row.scripts)))
    scale = (RIGHT - LEFT) / longest
    bottom = 62 + STRIP * len(rows)
    yield _text(LEFT, 36, "Seconds without trading that they add", "title")
    for second in range(longest + 1):
        x = LEFT + second * scale
        anchor = {0: "start", longest: "end"}.get(second, "middle")
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="56" y2="{bottom}"/>'
        yield _text(x, bottom + 16, f"{second} s", "quiet", anchor)
    for number, row in enumerate(rows):
        top = 76 + STRIP * number
        yield _text(LEFT + 8, top, row.what)
        yield _text(RIGHT - 8, top, _compared(row), "quiet", "end")
        yield from _dots(row.scripts, "scripts", top + 20, scale)
        yield from _dots(row.hooks, "hooks", top + 42, scale)


def _dots(values: Sequence[float], kind: str, y: int, scale: float) -> Iterator[str]:
    for value in values:
        yield f'<circle class="{kind} dot" cx="{LEFT + value * scale:.1f}" cy="{y}" r="5"/>'
    x = LEFT + median(values) * scale
    yield f'<rect class="{kind}" x="{x - 1.5:.1f}" y="{y - 9}" width="3" height="18" rx="1.5"/>'


def _costs(rows: Sequence[Row], top: int) -> Iterator[str]:
    yield _text(LEFT, top, "What they cost, within the limits set for them", "title")
    for number, row in enumerate(rows):
        y = top + 30 + BAR * number
        yield _text(LEFT, y, row.what)
        if row.limit is None:
            yield _text(RIGHT, y, f"{_compared(row)} · {row.because}", "quiet", "end")
            continue
        yield _text(RIGHT, y, f"{_compared(row)} · limit {_shown(row.limit, row.unit)}", "quiet", "end")
        yield _bar("room", y, 1)
        yield _bar("missed" if row.missed else "hooks", y, min(1, row.value / row.limit))


def _bar(kind: str, y: int, share: float) -> str:
    return f'<rect class="{kind}" x="{LEFT}" y="{y + 7}" width="{(RIGHT - LEFT) * share:.1f}" height="8" rx="4"/>'


def _compared(row: Row) -> str:
    hooks = f"hooks {_shown(row.value, row.unit)}"
    return f"scripts {_shown(row.scripts_value, row.unit)} · {hooks}" if row.scripts_value else hooks


def _shown(value: float, unit: str) -> str:
    return f"{value:.2f} s" if unit == "s" else f"{value:.0f} {unit}"


def _text(x: float, y: float, told: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{told}</text>'
