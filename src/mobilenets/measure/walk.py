"""A spec walked step by step at an image size: which step runs where, on what map, and what is held meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..specs.spec import Spec
from ..specs.steps import ConvStep, Pair, Step, map_size


@dataclass(frozen=True, slots=True)
class Placed:
    """One step in its place. held: numbers of a residual input that wait meanwhile and are not the step's own input.
    closes: whether a residual addition follows it."""

    name: str
    step: Step
    c_in: int
    c_out: int
    size_in: Pair
    size_out: Pair
    held: int = 0
    closes: bool = False

    @property
    def elements_in(self) -> int:
        return self.c_in * self.size_in[0] * self.size_in[1]

    @property
    def elements_out(self) -> int:
        return self.c_out * self.size_out[0] * self.size_out[1]


def walk(spec: Spec, size_px: Pair) -> Iterator[Placed]:
    """Every step in execution order: stem, blocks, then on the pooled map `hidden` and `classifier`."""
    size = size_px
    for name, row, c_in, _ in spec.blocks():
        steps = row.steps(c_in, spec.padding)
        skip = row.has_skip(c_in)
        shortcut = c_in * size[0] * size[1] if skip else 0
        for i, step in enumerate(steps):
            size_in, size = size, map_size(step, size)
            last = i == len(steps) - 1
            held = shortcut if i else 0
            if isinstance(step, ConvStep):
                c_from, c_to = step.c_in, step.c_out
            else:
                c_from = c_to = step.channels
            yield Placed(f"{name}.{step.name}", step, c_from, c_to, size_in, size, held, skip and last)
    for step in spec.head.steps(spec.channels):
        yield Placed(step.name, step, step.c_in, step.c_out, (1, 1), (1, 1))
    if spec.classes:
        linear = ConvStep("classifier", spec.embedding, spec.classes, norm=False, bias=True)
        yield Placed("classifier", linear, spec.embedding, spec.classes, (1, 1), (1, 1))
