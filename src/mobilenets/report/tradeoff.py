"""The picture of a timing: accuracy against latency, or multiply-adds where no accuracy is known. One SVG by itself.

Measured accuracy and accuracy quoted from publications never share a picture: the axis says which it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..records import Bench, BenchRow
from . import figures
from .markup import Html, el, join
from .plots import cut, label, nice_ticks

WIDTH, HEIGHT = 860.0, 460.0
LEFT, TOP, RIGHT, BOTTOM = 64.0, 44.0, 640.0, 400.0
LINE_PX = 14.0
TONES = (
    "#2563a8", "#d9772b", "#1f8a55", "#8a4fa3", "#c2382e", "#5c6670",
    "#b7791f", "#0f8b8d", "#c2478f", "#6b8e23", "#5b6ee1", "#8b5e3c",
)  # fmt: skip
STYLE = """
svg{background:#fbfbfa;font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
text{fill:#1b1f24} .tick,.axis-name{fill:#5c6670;font-size:11.5px} .title{font-size:14px;font-weight:600}
.rule{stroke:#e3e5e8;stroke-width:1} .front{fill:none;stroke:#5c6670;stroke-width:1.2;stroke-dasharray:4 4}
@media(prefers-color-scheme:dark){svg{background:#14171a} text{fill:#e7eaed} .tick,.axis-name{fill:#9aa4ae}
.rule{stroke:#2e343a} .front{stroke:#9aa4ae}}
"""
Measure = Literal["measured", "quoted", "macs"]


@dataclass(frozen=True, slots=True)
class _Point:
    """A row in the picture: where it lies (in its own units), what it is called, and its series' colour."""

    name: str
    series: str
    ms: float
    value: float


def tradeoff_picture(bench: Bench) -> str:
    """Every row as a point: latency across, up its top-1 (measured, else quoted where all have one), else MACs.

    The dashed line joins those that no other beats in both. A complete SVG file that needs nothing beside it.
    """
    measure = _measure(bench.rows)
    points = [_Point(_name(row), _series(row, bench.rows), row.median_ms, _value(row, measure)) for row in bench.rows]
    values = [point.value for point in points]
    ticks_x = nice_ticks(0.0, max(point.ms for point in points))
    low = 0.0 if measure == "macs" else min(values) - 0.02
    ticks_y = nice_ticks(max(0.0, low), max(values) if measure == "macs" else min(1.0, max(values) + 0.01))

    def place(ms: float, value: float) -> tuple[float, float]:
        across = (ms - ticks_x[0]) / (ticks_x[-1] - ticks_x[0])
        up = (value - ticks_y[0]) / (ticks_y[-1] - ticks_y[0])
        return LEFT + across * (RIGHT - LEFT), BOTTOM - up * (BOTTOM - TOP)

    names = {"measured": "top-1, measured", "quoted": "top-1, as published (not measured here)", "macs": "MACs"}
    tones = {series: TONES[i % len(TONES)] for i, series in enumerate(dict.fromkeys(p.series for p in points))}
    parts = [el("style", Html(STYLE)), label(f"{names[measure]}, against latency", LEFT, 24, cls="title")]
    for tick in ticks_y:
        _, y = place(0.0, tick)
        parts.append(el("line", cls="rule", attributes={"x1": LEFT, "x2": RIGHT, "y1": y, "y2": y}))
        shown = figures.short(round(tick)) if measure == "macs" else figures.percent(tick)
        parts.append(label(shown, LEFT - 8, y + 4, cls="tick", anchor="end"))
    for tick in ticks_x:
        x, _ = place(tick, ticks_y[0])
        parts.append(label(f"{tick:g}", x, BOTTOM + 18, cls="tick", anchor="middle"))
    parts.append(label("milliseconds, median", (LEFT + RIGHT) / 2, BOTTOM + 38, cls="axis-name", anchor="middle"))
    if measure != "macs" and len(points) > 1:
        line = " ".join("{:.1f},{:.1f}".format(*place(point.ms, point.value)) for point in _front(points))
        parts.append(el("polyline", cls="front", attributes={"points": line}))
    for point in points:
        x, y = place(point.ms, point.value)
        hint = f"{point.name}, {point.series}: {figures.milliseconds(point.ms)}"
        parts.append(_dot(x, y, tones[point.series], hint))
    parts += _names([(point.name, *place(point.ms, point.value)) for point in points])
    parts += _legend(tones)
    machine = f"{bench.machine.cpu}; the same file twice: ratio {bench.aa_spread:.3f}"
    parts.append(label(machine, LEFT, HEIGHT - 8, cls="tick"))
    box = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}",
        "role": "img",
        "aria-label": f"{names[measure]} against latency",
    }
    return f"{el('svg', join(parts), attributes=box)}\n"


def _measure(rows: Sequence[BenchRow]) -> Measure:
    if all(row.top1 is not None for row in rows):
        return "measured"
    return "quoted" if all(row.quoted_top1 is not None for row in rows) else "macs"


def _value(row: BenchRow, measure: Measure) -> float:
    match measure:
        case "measured":
            return row.top1 or 0.0
        case "quoted":
            return row.quoted_top1 or 0.0
        case "macs":
            return float(row.macs)


def _name(row: BenchRow) -> str:
    height, width = row.resolution_px
    alpha = f" {row.alpha:g}" if row.alpha not in (None, 1.0) else ""
    size = f" {height}x{width}" if height and (height, width) != (224, 224) else ""
    return f"{row.network}{alpha}{size}"


def _series(row: BenchRow, rows: Sequence[BenchRow]) -> str:
    """Target and precision; threads and batch only where they differ between rows."""
    parts = [row.target, row.precision]
    if len({other.threads for other in rows}) > 1:
        parts.append(figures.plural(row.threads, "thread"))
    if len({other.batch for other in rows}) > 1:
        parts.append(f"batch {row.batch}")
    return " ".join(parts)


def _front(points: Sequence[_Point]) -> list[_Point]:
    """The points that no other beats in both, from the fastest."""
    found: list[_Point] = []
    for point in sorted(points, key=lambda p: (p.ms, -p.value)):
        if not found or point.value > found[-1].value:
            found.append(point)
    return found


def _dot(x: float, y: float, tone: str, hint: str) -> Html:
    circle = el("circle", attributes={"cx": x, "cy": y, "r": 5, "fill": tone, "fill-opacity": 0.85})
    return el("g", el("title", hint), circle)


def _names(places: Sequence[tuple[str, float, float]]) -> list[Html]:
    """Each network's name once, right of its slowest point, moved down where two would overlap."""
    furthest: dict[str, tuple[float, float]] = {}
    for name, x, y in places:
        if name not in furthest or x > furthest[name][0]:
            furthest[name] = (x, y)
    parts = []
    taken: list[tuple[float, float]] = []
    for name, (x, y) in sorted(furthest.items(), key=lambda item: item[1][1]):
        baseline = y + 4
        while any(abs(baseline - other) < LINE_PX and abs(x - left) < 150 for left, other in taken):
            baseline += 2
        taken.append((x, baseline))
        parts.append(label(cut(name, 30), x + 9, baseline))
    return parts


def _legend(tones: dict[str, str]) -> list[Html]:
    parts = []
    for index, (series, tone) in enumerate(tones.items()):
        y = HEIGHT - 8 - LINE_PX * (len(tones) - index)
        parts.append(el("circle", attributes={"cx": RIGHT + 24, "cy": y - 4, "r": 5, "fill": tone}))
        parts.append(label(series, RIGHT + 36, y, cls="tick"))
    return parts
