"""From units to rows: the longest chain of MobileNet blocks that runs through a graph.

At every tensor all readers are tried, so that a predictor, a decoder or an auxiliary branch that reads the same map
leads nowhere and the backbone leads on. A chain that ends in a classifier is preferred to any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...specs.rows import MQA, SE, UIB, Bottleneck, Conv, Depthwise, FusedBottleneck, Pool, Row, Separable
from .units import AttentionUnit, ConvUnit, GateUnit, MeanUnit, PoolUnit, SoftmaxUnit, SumUnit, Unit

MOST_READERS = 64
"""Tensors that more operators read than this are no block's input; it bounds the search."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One row with the units that are its steps, in order, from the tensor `input` to `output` (after the skip)."""

    row: Row
    units: tuple[ConvUnit | GateUnit | AttentionUnit, ...]
    input: str
    output: str
    pool: PoolUnit | None = None

    @property
    def spatial(self) -> int:
        return sum(isinstance(u, AttentionUnit) or (isinstance(u, ConvUnit) and u.kernel != (1, 1)) for u in self.units)


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """What follows the last row: global mean, a hidden layer perhaps, the classifier, a softmax perhaps."""

    hidden: ConvUnit | None
    classifier: ConvUnit
    logits: str
    softmax: bool


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Stem first. ending: None where no classifier follows. is_whole: the last row's output is a result of the file."""

    links: tuple[Link, ...]
    ending: Ending | None
    is_whole: bool


def longest_chain(units: tuple[Unit, ...], start: str, results: frozenset[str]) -> Chain:
    """The chain of rows from the tensor `start`, empty where nothing there is a block.

    Ranked by: ends in a classifier (or in a result of the file), most convolutions that look around, most
    convolutions, fewest rows.
    """
    readers: dict[str, list[Unit]] = {}
    for unit in units:
        for name in _inputs(unit):
            readers.setdefault(name, []).append(unit)
    walk = _Walk(readers, results, start)
    best: dict[str, tuple[tuple[int, int, int, int], Link | None, Ending | None]] = {}
    made = [unit.output for unit in units if isinstance(unit, (ConvUnit, SumUnit, PoolUnit, GateUnit, AttentionUnit))]
    for name in (*reversed(made), start):
        if name not in best:
            best[name] = _best(name, walk, best)
    links: list[Link] = []
    name = start
    while (link := best[name][1]) is not None:
        links.append(link)
        name = link.output
    return Chain(tuple(links), best[name][2], name in results)


_Best = dict[str, tuple[tuple[int, int, int, int], Link | None, Ending | None]]


def _best(name: str, walk: "_Walk", best: _Best) -> tuple[tuple[int, int, int, int], Link | None, Ending | None]:
    ending = walk.ending(name)
    found: tuple[tuple[int, int, int, int], Link | None, Ending | None]
    found = ((2 if ending else int(name in walk.results), 0, 0, 0), None, ending)
    for link in walk.links(name):
        end, spatial, convs, rows = best.get(link.output, ((0, 0, 0, 0), None, None))[0]
        covered = sum(isinstance(u, ConvUnit) for u in link.units)
        score = (end, spatial + link.spatial, convs + covered, rows - 1)
        if score > found[0]:
            found = (score, link, None)
    return found


def _inputs(unit: Unit) -> tuple[str, ...]:
    match unit:
        case ConvUnit() | GateUnit() | AttentionUnit() | MeanUnit() | PoolUnit() | SoftmaxUnit():
            return (unit.input,)
        case SumUnit():
            return unit.inputs
        case _:
            return ()


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    readers: dict[str, list[Unit]]
    results: frozenset[str]
    start: str

    def convs(self, name: str) -> Iterator[ConvUnit]:
        for unit in self.readers.get(name, ())[:MOST_READERS]:
            if isinstance(unit, ConvUnit):
                yield unit

    def links(self, name: str) -> Iterator[Link]:
        """Every row that may begin at the tensor `name`; the stem is a convolution by itself."""
        if name == self.start:
            for stem in self.convs(name):
                yield from self.alone(stem)
            return
        for unit in self.readers.get(name, ())[:MOST_READERS]:
            if isinstance(unit, PoolUnit):
                yield Link(Pool(unit.kind, unit.kernel, unit.stride), (), name, unit.output, unit)
            elif isinstance(unit, AttentionUnit):
                yield from self.attention(unit)
            elif isinstance(unit, ConvUnit):
                yield from self.rows(unit)

    def rows(self, first: ConvUnit) -> Iterator[Link]:
        """The rows whose first convolution is `first`."""
        yield from self.alone(first)
        if first.is_depthwise:
            yield from self.after_depthwise(first)
        elif first.is_pointwise and first.act != "none":
            yield from self.after_expansion(first)
        elif first.kernel != (1, 1):
            for gate, out in self.gated(first.output):
                for project in self.projections(out):
                    if (link := self.fused(first, gate, project)) is not None:
                        yield link

    def alone(self, unit: ConvUnit) -> Iterator[Link]:
        dilation = _dilation(unit)
        if dilation is None or not all(k % 2 for k in unit.kernel):
            return
        row: Row
        if unit.is_depthwise:
            row = Depthwise(unit.kernel, unit.c_out // unit.c_in, unit.stride, unit.act, dilation)
        else:
            row = Conv(unit.kernel, unit.c_out, unit.stride, unit.act, unit.groups, dilation)
        yield Link(row, (unit,), unit.input, unit.output)

    def after_depthwise(self, dw: ConvUnit) -> Iterator[Link]:
        dilation = _dilation(dw)
        if dilation is None or dw.c_out != dw.c_in or not all(k % 2 for k in dw.kernel):
            return
        for gate, out in self.gated(dw.output):
            for pw in self.pointwise(out):
                if pw.act == "none":
                    yield from self.bottleneck((), dw, gate, pw)
                elif pw.act == dw.act and gate is None:
                    row = Separable(dw.kernel, pw.c_out, dw.stride, dw.act, dilation)
                    yield Link(row, (dw, pw), dw.input, pw.output)
                elif dw.act == "none" and gate is None and dw.kernel[0] == dw.kernel[1]:
                    yield from self.universal(dw, pw)

    def after_expansion(self, expand: ConvUnit) -> Iterator[Link]:
        for dw in self.convs(expand.output):
            if dw.is_depthwise and dw.c_out == dw.c_in and dw.act == expand.act:
                for gate, out in self.gated(dw.output):
                    for project in self.projections(out):
                        yield from self.bottleneck((expand,), dw, gate, project)
        for project in self.projections(expand.output):
            skipped = self.skipped(expand.input, project.output)
            if skipped is not None:
                row = UIB(0, 0, expand.c_out, project.c_out, act=expand.act)
                yield Link(row, (expand, project), expand.input, skipped)

    def universal(self, start: ConvUnit, expand: ConvUnit) -> Iterator[Link]:
        """ConvNext-like and ExtraDW: depthwise, expansion, perhaps another depthwise, projection."""
        dilation = _dilation(start)
        middles: list[ConvUnit | None] = [None]
        for dw in self.convs(expand.output):
            square = dw.kernel[0] == dw.kernel[1] and dw.kernel[0] % 2 == 1
            if dw.is_depthwise and dw.c_out == dw.c_in and dw.act == expand.act and square:
                middles.append(dw)
        for middle in middles:
            strided = middle or start
            if middle is not None and (start.stride != (1, 1) or _dilation(middle) != dilation):
                continue
            for project in self.projections((middle or expand).output):
                row = UIB(
                    start.kernel[0], middle.kernel[0] if middle else 0, expand.c_out, project.c_out, strided.stride,
                    expand.act, dilation=dilation or 1,
                )  # fmt: skip
                convs = (start, expand, *((middle,) if middle else ()), project)
                skipped = self.skipped(start.input, project.output)
                if (skipped is not None) == row.has_skip(start.c_in):
                    yield Link(row, convs, start.input, skipped or project.output)

    def bottleneck(
        self, expand: tuple[ConvUnit, ...], dw: ConvUnit, gate: GateUnit | None, project: ConvUnit
    ) -> Iterator[Link]:
        dilation = _dilation(dw)
        if dilation is None or not all(k % 2 for k in dw.kernel):
            return
        first = expand[0] if expand else dw
        row = Bottleneck(dw.kernel, dw.c_out, project.c_out, dw.stride, dw.act, _se(gate), dilation=dilation)
        convs = (*expand, dw, *((gate,) if gate else ()), project)
        if expand and row.c_hidden == first.c_in:
            return  # a row of ours has no expansion there
        could = row.has_skip(first.c_in)
        skipped = self.skipped(first.input, project.output) if could else None
        row = replace(row, skip=not could or skipped is not None)
        yield Link(row, convs, first.input, skipped or project.output)

    def attention(self, unit: AttentionUnit) -> Iterator[Link]:
        reduce = unit.key_reduce
        kernel, stride = ((3, 3), (1, 1)) if reduce is None else (reduce.kernel, reduce.stride)
        skipped = self.skipped(unit.input, unit.output)
        if skipped is not None and kernel[0] == kernel[1] and stride[0] == stride[1]:
            dilation = 1 if reduce is None else _dilation(reduce) or 1
            row = MQA(unit.query.c_out // unit.key.c_out, unit.key.c_out, stride[0], kernel[0], dilation=dilation)
            yield Link(row, (unit,), unit.input, skipped)

    def fused(self, expand: ConvUnit, gate: GateUnit | None, project: ConvUnit) -> Link | None:
        dilation = _dilation(expand)
        if dilation is None or not all(k % 2 for k in expand.kernel) or expand.act == "none":
            return None
        row = FusedBottleneck(
            expand.kernel, expand.c_out, project.c_out, expand.stride, expand.act, _se(gate), groups=expand.groups,
            dilation=dilation,
        )  # fmt: skip
        could = row.has_skip(expand.c_in)
        skipped = self.skipped(expand.input, project.output) if could else None
        row = replace(row, skip=not could or skipped is not None)
        convs = (expand, *((gate,) if gate else ()), project)
        return Link(row, convs, expand.input, skipped or project.output)

    def gated(self, name: str) -> tuple[tuple[GateUnit | None, str], ...]:
        """The tensor `name` itself, or after its squeeze-and-excite where it has one."""
        gates = [u for u in self.readers.get(name, ())[:MOST_READERS] if isinstance(u, GateUnit)]
        return tuple((gate, gate.output) for gate in gates) or ((None, name),)

    def pointwise(self, name: str) -> Iterator[ConvUnit]:
        return (unit for unit in self.convs(name) if unit.is_pointwise)

    def projections(self, name: str) -> Iterator[ConvUnit]:
        return (unit for unit in self.pointwise(name) if unit.act == "none")

    def skipped(self, before: str, after: str) -> str | None:
        """The sum of a row's input and its last convolution, None where nothing adds them."""
        for unit in self.readers.get(after, ())[:MOST_READERS]:
            if isinstance(unit, SumUnit) and set(unit.inputs) == {before, after}:
                return unit.output
        return None

    def ending(self, name: str) -> Ending | None:
        """The classifier that reads the mean of `name`, where its answer is a result of the file."""
        for mean in self.readers.get(name, ())[:MOST_READERS]:
            if isinstance(mean, MeanUnit):
                for first in self.pointwise(mean.output):
                    if (end := self.result(first.output)) is not None and first.act == "none":
                        return Ending(None, first, first.output, end)
                    for second in self.projections(first.output):
                        if (end := self.result(second.output)) is not None:
                            return Ending(first, second, second.output, end)
        return None

    def result(self, name: str) -> bool | None:
        """Whether a softmax stands between `name` and the file's results; None where it leads elsewhere."""
        if name in self.results:
            return False
        for unit in self.readers.get(name, ())[:MOST_READERS]:
            if isinstance(unit, SoftmaxUnit) and unit.output in self.results:
                return True
        return None


def _se(gate: GateUnit | None) -> SE | None:
    return None if gate is None else SE(gate.reduce.c_out, gate.reduce.act, gate.expand.act)


def _dilation(unit: ConvUnit) -> int | None:
    """One dilation for both sides, None where they differ."""
    return unit.dilation[0] if unit.dilation[0] == unit.dilation[1] else None
