"""The picture of a network: one solid per stage (height and depth its resolution, length its channels), costs below."""

import math
from collections.abc import Sequence

from ..records import StageSummary
from . import figures
from .markup import Html, el
from .plots import cut, label, svg

COLUMN = 124.0
GROUND = 178.0
TALLEST = 112.0
LONGEST = 62.0


def network_diagram(stages: Sequence[StageSummary]) -> Html:
    """Stages from left to right with their size, channels, blocks, and their shares of MACs and parameters as bars."""
    largest = max((max(stage.size_px) for stage in stages), default=0) or 1
    widest = max(stage.channels for stage in stages)
    macs, params = max(s.macs for s in stages) or 1, max(s.params for s in stages) or 1
    parts: list[Html] = []
    for i, stage in enumerate(stages):
        x = 62.0 + COLUMN * i
        parts.append(_solid(stage, x, largest=largest, widest=widest))
        middle = x + COLUMN / 2 - 12
        where = figures.size(stage.size_px) if max(stage.size_px) else "pooled"
        rows = (
            (stage.name, "stage-name", 204.0),
            (where, "stage-text", 223.0),
            (figures.plural(stage.channels, "channel"), "stage-text", 240.0),
            (cut(_made_of(stage), 20), "stage-kind", 258.0),
        )
        parts += [label(text, middle, y, cls=cls, anchor="middle") for text, cls, y in rows]
        parts += _cost_bar(middle, 282.0, share=stage.macs / macs, text=figures.short(stage.macs), tone="a")
        parts += _cost_bar(middle, 318.0, share=stage.params / params, text=figures.short(stage.params), tone="b")
    parts.append(label("MACs", 6, 290, cls="axis-name"))
    parts.append(label("weights", 6, 326, cls="axis-name"))
    return svg(66 + COLUMN * len(stages), 348, *parts, label="the network's stages", cls="wide stages")


def _solid(stage: StageSummary, x: float, *, largest: int, widest: int) -> Html:
    """A box in oblique projection, standing on the ground line; roots, so that 7 px beside 224 px can be seen."""
    tall = max(6.0, TALLEST * math.sqrt(stage.size_px[0] / largest))
    deep = max(4.0, 0.3 * TALLEST * math.sqrt(stage.size_px[1] / largest))
    long = max(5.0, LONGEST * math.sqrt(stage.channels / widest))
    left, top = x + (COLUMN - 24 - long - deep) / 2, GROUND - tall
    faces = (
        ("front", ((left, top), (left + long, top), (left + long, GROUND), (left, GROUND))),
        ("top", ((left, top), (left + deep, top - deep), (left + long + deep, top - deep), (left + long, top))),
        (
            "side",
            (
                (left + long, top),
                (left + long + deep, top - deep),
                (left + long + deep, GROUND - deep),
                (left + long, GROUND),
            ),
        ),
    )
    drawn = [
        el(
            "path",
            cls=f"face {name}",
            attributes={"d": "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in corners) + "z"},
        )
        for name, corners in faces
    ]
    hint = f"{stage.name}: {figures.plural(stage.blocks, 'block')}, {stage.kind}"
    return el("g", el("title", hint), *drawn)


def _cost_bar(middle: float, y: float, *, share: float, text: str, tone: str) -> list[Html]:
    room = COLUMN - 30
    track = {"x": middle - room / 2, "y": y, "width": room, "height": 7, "rx": 3.5}
    filled = {**track, "width": max(2.0, room * share)}
    return [
        el("rect", cls="track", attributes=track),
        el("rect", cls=f"fill tone-{tone}", attributes=filled),
        label(text, middle, y + 22, cls="tick", anchor="middle"),
    ]


def _outline(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "z"


def _made_of(stage: StageSummary) -> str:
    return f"{stage.blocks} × {stage.kind}" if stage.blocks > 1 else stage.kind
