"""Charts as SVG text: curves, reliability, confusion, memory. Colours are classes, so that page.css can turn dark.

Numbers become positions here and nothing else; the figures beside a chart come from figures.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..records import Reliability
from . import figures
from .markup import Html, el, join

Tone = Literal["a", "b"]
HISTOGRAM_PX = 40.0


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: (x, y) points in drawing order; points that are not finite are left out."""

    name: str
    tone: Tone
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area inside a drawing, and what its edges mean."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height * (high - value) / (high - low)


def svg(width: float, height: float, *children: str, label: str, cls: str = "") -> Html:
    """A drawing that scales with its column; `label` is what a screen reader says of it."""
    box = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label}
    return el("svg", *children, cls=f"chart {cls}".strip(), attributes=box)


def label(text: str, x: float, y: float, *, cls: str = "", anchor: Literal["start", "middle", "end"] = "start") -> Html:
    """Text at a baseline."""
    return el("text", text, cls=cls, attributes={"x": x, "y": y, "text-anchor": anchor})


def line_chart(lines: Sequence[Line], *, title: str, x_name: str, share: bool, mark: float | None = None) -> Html:
    """Curves over one x axis. `share`: y is 0..1, shown in per cent; `mark`: an x to point out (the best epoch)."""
    kept = [Line(line.name, line.tone, tuple(p for p in line.points if all(map(math.isfinite, p)))) for line in lines]
    kept = [line for line in kept if line.points]
    if not kept:
        return Html("")
    xs, ys = zip(*(point for line in kept for point in line.points), strict=True)
    ticks_y = nice_ticks(min(ys) if share else 0.0, max(max(ys), 1e-6))
    if share:
        ticks_y = [t for t in ticks_y if t <= 1.0 + 1e-9]
    low, high = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    frame = _Frame(44, 12, 404, 196, (low, high), (ticks_y[0], max(ticks_y[-1], max(ys))))
    parts = [_rules(frame, ticks_y, share=share)]
    whole = [t for t in nice_ticks(low, high, 6) if t == int(t) and low <= t <= high]
    parts += [label(f"{t:g}", frame.x(t), 226, cls="tick", anchor="middle") for t in whole]
    parts.append(label(x_name, frame.left + frame.width / 2, 246, cls="axis-name", anchor="middle"))
    if mark is not None and low <= mark <= high:
        place = {"x1": frame.x(mark), "x2": frame.x(mark), "y1": frame.top, "y2": frame.top + frame.height}
        parts.append(el("line", cls="mark", attributes=place))
    for line in kept:
        drawn = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
        parts.append(el("polyline", cls=f"curve tone-{line.tone}", attributes={"points": drawn}))
        end = {"cx": frame.x(line.points[-1][0]), "cy": frame.y(line.points[-1][1]), "r": 3}
        parts.append(el("circle", cls=f"dot tone-{line.tone}", attributes=end))
    return el("figure", el("figcaption", title, _legend(kept)), svg(460, 252, *parts, label=title), cls="plot")


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round values (1, 2, 2.5 or 5 times a power of ten) that cover low..high."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m * wanted >= span * 0.999)
    first = math.floor(low / step + 1e-9)
    return [round(step * i, 10) for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def reliability_chart(bins: Sequence[Reliability], *, title: str) -> Html:
    """Accuracy over confidence per bin beside the diagonal of honest probabilities; below it, images per bin."""
    frame = _Frame(50, 10, 260, 220, (0.0, 1.0), (0.0, 1.0))
    parts = [_rules(frame, [0.0, 0.25, 0.5, 0.75, 1.0], share=True)]
    most = max((row.images for row in bins), default=0) or 1
    parts += [_reliability_bar(frame, row, most=most) for row in bins if row.images]
    ends = {"x1": frame.x(0), "y1": frame.y(0), "x2": frame.x(1), "y2": frame.y(1)}
    parts.append(el("line", cls="diagonal", attributes=ends))
    parts.append(
        el("line", cls="rule", attributes={"x1": frame.left, "x2": frame.left + frame.width, "y1": 298, "y2": 298})
    )
    parts += [label(figures.percent(t, 0), frame.x(t), 246, cls="tick", anchor="middle") for t in (0.0, 0.5, 1.0)]
    parts.append(label("images", 44, 298, cls="tick", anchor="end"))
    parts.append(label("confidence", frame.left + frame.width / 2, 316, cls="axis-name", anchor="middle"))
    return el("figure", el("figcaption", title), svg(334, 322, *parts, label=title), cls="plot")


def _reliability_bar(frame: _Frame, row: Reliability, *, most: int) -> Html:
    """A bin: solid up to the smaller of accuracy and confidence, the gap to the larger in the colour of its sign."""
    x, width = frame.x(row.low) + 1, frame.width * (row.high - row.low) - 2
    low, high = sorted((row.accuracy, row.confidence))
    bar = {"x": x, "width": width, "y": frame.y(low), "height": frame.height * low}
    gap = {"x": x, "width": width, "y": frame.y(high), "height": frame.height * (high - low)}
    tall = HISTOGRAM_PX * row.images / most
    many = {"x": x, "width": width, "y": 298 - tall, "height": tall}
    sign = "over" if row.confidence > row.accuracy else "under"
    said = f"confidence {figures.percent(row.confidence)}, right {figures.percent(row.accuracy)}"
    return el(
        "g",
        el("title", f"{said}, {figures.plural(row.images, 'image')}"),
        el("rect", cls="bar", attributes=bar),
        el("rect", cls=f"gap {sign}", attributes=gap),
        el("rect", cls="bar quiet", attributes=many),
    )


NAMED_UP_TO = 25
LEVELS = 8


def confusion_map(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Truth down, answer across; a cell's strength is its share of its row. Up to 25 classes with names and counts,
    more as a map without: there the table of pairs beside it names what matters."""
    size = len(confusion)
    named = size <= NAMED_UP_TO
    cell = min(40.0, 560 / size)
    left, top = (118.0, 96.0) if named else (26.0, 26.0)
    side = cell * size
    frame = el("rect", cls="frame", attributes={"x": left, "y": top, "width": side, "height": side})
    parts = [frame, *_cells(confusion, cell=cell, left=left, top=top)]
    if named:
        parts += _cell_names(confusion, names, cell=cell, left=left, top=top)
    middle = side / 2
    parts.append(label("answer", left + middle, 12, cls="axis-name", anchor="middle"))
    turned = {"transform": f"translate(12 {top + middle:.1f}) rotate(-90)", "text-anchor": "middle"}
    parts.append(el("text", "truth", cls="axis-name", attributes=turned))
    return svg(left + side + 6, top + side + 6, *parts, label="confusion matrix", cls="confusion")


def _cells(confusion: Sequence[Sequence[int]], *, cell: float, left: float, top: float) -> list[Html]:
    """The cells above 0 as one path per strength, so that a map of a thousand classes stays small."""
    paths: dict[tuple[str, int], list[str]] = {}
    inner = cell - (1 if cell > 12 else 0)
    for truth, row in enumerate(confusion):
        total = sum(row)
        for answer, images in enumerate(row):
            if images:
                kind = "right" if truth == answer else "wrong"
                level = max(1, math.ceil(LEVELS * images / total))
                move = f"M{left + answer * cell:.2f} {top + truth * cell:.2f}h{inner:.2f}v{inner:.2f}h-{inner:.2f}z"
                paths.setdefault((kind, level), []).append(move)
    return [
        el("path", cls=f"cell {kind}", attributes={"d": "".join(moves), "fill-opacity": 0.15 + 0.85 * level / LEVELS})
        for (kind, level), moves in sorted(paths.items())
    ]


def _cell_names(
    confusion: Sequence[Sequence[int]], names: Sequence[str], *, cell: float, left: float, top: float
) -> list[Html]:
    parts = []
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        parts.append(label(cut(name, 16), left - 6, top + middle + 4, cls="tick", anchor="end"))
        turned = {"transform": f"translate({left + middle + 3:.1f} {top - 6:.1f}) rotate(-60)"}
        parts.append(el("text", cut(name, 13), cls="tick", attributes=turned))
    for truth, row in enumerate(confusion):
        for answer, images in enumerate(row):
            if images and cell >= 20:
                x, y = left + (answer + 0.5) * cell - 0.5, top + (truth + 0.5) * cell + 4
                tone = "on" if images * 2 > sum(row) else ""
                parts.append(label(figures.count(images), x, y, cls=f"cell-count {tone}".strip(), anchor="middle"))
    return parts


def memory_chart(names: Sequence[str], alive_mb: Sequence[float], *, peak_layer: str) -> Html:
    """Memory alive while each layer runs, in execution order, its peak pointed out."""
    highest = max(alive_mb)
    ticks = nice_ticks(0.0, highest, 4)
    frame = _Frame(58, 22, 862, 178, (0.0, float(len(names))), (0.0, ticks[-1]))
    parts = [_rules(frame, ticks, share=False, unit="MB")]
    width = frame.width / len(names)
    for i, (name, value) in enumerate(zip(names, alive_mb, strict=True)):
        hint = el("title", f"{name}: {figures.megabytes(value)}")
        place = {"x": frame.x(i) + width * 0.08, "width": width * 0.84}
        upright = {"y": frame.y(value), "height": frame.height * value / ticks[-1]}
        parts.append(el("rect", hint, cls="bar peak" if name == peak_layer else "bar", attributes={**place, **upright}))
    if peak_layer in names:
        at = list(names).index(peak_layer)
        anchor: Literal["start", "end"] = "start" if at < len(names) / 2 else "end"
        text = f"{peak_layer} · {figures.megabytes(alive_mb[at])}"
        parts.append(label(text, frame.x(at + 0.5), frame.y(alive_mb[at]) - 6, cls="note", anchor=anchor))
    parts.append(label("first layer", frame.left, 218, cls="tick"))
    parts.append(label("last layer", frame.left + frame.width, 218, cls="tick", anchor="end"))
    return svg(928, 226, *parts, label="activation memory per layer", cls="wide")


def cut(text: str, most: int) -> str:
    """`text` in at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _rules(frame: _Frame, ticks: Sequence[float], *, share: bool, unit: str = "") -> Html:
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        ends = {"x1": frame.left, "x2": frame.left + frame.width, "y1": y, "y2": y}
        parts.append(el("line", cls="rule", attributes=ends))
        shown = f"{tick * 100:.4g}{figures.SPACE}%" if share else f"{tick:.4g}{figures.SPACE}{unit}".strip()
        parts.append(label(shown, frame.left - 6, y + 4, cls="tick", anchor="end"))
    return join(parts)


def _legend(lines: Sequence[Line]) -> Html:
    keys = [el("span", el("i", cls=f"key tone-{line.tone}"), line.name, cls="legend-key") for line in lines]
    return el("span", *keys, cls="legend")
