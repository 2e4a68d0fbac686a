"""A graph made into a spec and its arrays: the one place where what a file holds becomes a network of ours.

Nothing needs a name in the catalogue: the rows are read off the file, and the catalogue only says what they are called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from ...errors import BadData, SpecError
from ...records import Labels
from ...specs.checks import Sides
from ...specs.rows import MQA, UIB, Bottleneck, Conv, Depthwise, NormKind, Pool, Row
from ...specs.spec import Head, Norm, Spec, is_pointwise
from ...specs.steps import AttentionStep, ConvStep, SqueezeStep
from .attention import with_attention
from .chains import Chain, Link, longest_chain
from .feeding import Feed, picture_input, preprocess_of
from .graph import Array, Graph
from .identify import Identity, identify
from .layout import slots
from .padding import padding_of
from .read import Read
from .units import AttentionUnit, ConvUnit, GateUnit, OtherUnit, Unit, Units, folded_unit, gather

FEWEST_BLOCKS = 4
"""A chain with fewer blocks is no MobileNet."""
KERAS_MOMENTUM = 0.01
"""What batch norms with TensorFlow's epsilon of 1e-3 were trained with, as Keras has it."""


def recognise(graph: Graph, *, where: str, name: str = "own", backbone: bool = False) -> Read:
    """The MobileNet that `graph` is, or with `backbone` the one that it contains.

    name: what to call a network that is not in the catalogue. Raises: BadData where the file holds no MobileNet, or one
    with a detail that no spec can express, naming the tensor.
    """
    gathered = gather(graph)
    gathered = replace(gathered, units=with_attention(gathered.units))
    feed = picture_input(graph, gathered, where=where)
    chain = longest_chain(gathered.units, feed.start, frozenset() if backbone else gathered.results)
    if len(chain.links) < FEWEST_BLOCKS or not isinstance(chain.links[0].row, Conv):
        raise BadData(f"{where}: holds no MobileNet: {_first_stranger(gathered, chain, feed.start)}")
    if not backbone and chain.ending is None and not chain.is_whole:
        raise BadData(
            f"{where}: no classifier follows its last block, {chain.links[-1].output!r}: "
            f"{_first_stranger(gathered, chain, feed.start)}",
            hint="for the MobileNet inside a larger network: --backbone",
        )
    stem, *rows = (link.row for link in chain.links)
    assert isinstance(stem, Conv)
    ending = None if backbone else chain.ending
    hidden = None if ending is None else ending.hidden
    head = Head() if hidden is None else Head(hidden.c_out, hidden.act)
    identity = identify(
        stem, rows, head if ending else None, in_channels=feed.channels, backbone=backbone or ending is None
    )
    links = chain.links[: 1 + _kept(rows, identity, backbone=backbone)]
    return _read(graph, gathered, replace(chain, links=links, ending=ending), identity, name=name, where=where)


def _kept(rows: Sequence[Row], identity: Identity | None, *, backbone: bool) -> int:
    """How many rows of the chain belong to the network: what a decoder adds behind a backbone does not."""
    if not backbone:
        return len(rows)
    if identity is not None:
        return identity.rows
    kept = len(rows)
    while kept > 1 and (is_pointwise(rows[kept - 1]) or isinstance(rows[kept - 1], Pool)):
        kept -= 1
    return kept


def _read(graph: Graph, gathered: Units, chain: Chain, identity: Identity | None, *, name: str, where: str) -> Read:
    feed = picture_input(graph, gathered, where=where)
    ending = chain.ending
    eps = _common_eps(chain)
    padding = padding_of(chain.links, feed.size_px, where=where)
    shapes = [_row(link, eps, padding.unpadded) for link in chain.links]
    if identity is not None:
        shapes[1:] = [_as_named(row, named) for row, named in zip(shapes[1:], identity.spec.rows, strict=False)]
    stem, *rows = shapes
    assert isinstance(stem, Conv)
    hidden = None if ending is None else _unit(ending.hidden, eps) if ending.hidden else None
    dropout = identity.spec.head.dropout if identity else 0.2
    head = Head(dropout=dropout if ending else 0.0)
    if hidden is not None:
        head = Head(hidden.c_out, hidden.act, _norm_kind([hidden]), dropout)
    spec = _spec(
        identity, stem, tuple(rows), head, feed, padding.padding, _norm(chain, eps), name=name, where=where,
        classes=ending.classifier.c_out if ending else 0,
    )  # fmt: skip
    arrays = dict(_arrays(spec, chain, eps, hidden))
    if ending is not None:
        classifier = folded_unit(ending.classifier)
        assert classifier.bias is not None
        arrays |= {"classifier.weight": classifier.weight[:, :, 0, 0], "classifier.bias": classifier.bias}
    arrays = _complete(spec, arrays, where)
    preprocess, how, assumed = preprocess_of(graph, feed)
    return Read(
        spec,
        arrays,
        preprocess,
        labels=_labels(graph.labels, spec.classes),
        evidence=(*_evidence(identity, spec, eps), *how, *graph.notes),
        left_out=_left_out(gathered, chain),
        tensors=_tensors(spec, chain),
        ends_in_softmax=ending is not None and ending.softmax,
        quantised=graph.quantised,
        assumed=(*assumed, *(("resolution",) if 0 in feed.fed.size_px else ())),
        metadata=graph.metadata,
    )


def _spec(
    identity: Identity | None,
    stem: Conv,
    rows: tuple[Row, ...],
    head: Head,
    feed: Feed,
    padding: Literal["symmetric", "same"],
    norm: Norm,
    *,
    classes: int,
    name: str,
    where: str,
) -> Spec:
    """The network's value. Raises: BadData for one that can't be."""
    known = None if identity is None else identity.spec
    try:
        return Spec(
            name if known is None else known.name, stem, rows, head, classes=classes, in_channels=feed.channels,
            resolution_px=feed.size_px, padding=padding, norm=norm,
            generation="own" if known is None else known.generation, alpha=1.0 if known is None else known.alpha,
        )  # fmt: skip
    except SpecError as error:
        raise BadData(f"{where}: {error.message}") from error


def _common_eps(chain: Chain) -> float | None:
    """The epsilon of all batch norms, None where they are folded in part or in whole, or differ: then all are."""
    values = {None if unit.norm is None else round(unit.norm.eps, 12) for unit in _convs(chain)}
    values |= {round(unit.norm.eps, 12) for unit in _attentions(chain)}
    return values.pop() if len(values) == 1 else None


def _norm(chain: Chain, eps: float | None) -> Norm:
    """The network's batch norm; where all are folded, that in front of attention, which can't be."""
    if eps is None:
        eps = next((round(unit.norm.eps, 12) for unit in _attentions(chain)), Norm().eps)
    return Norm(eps, KERAS_MOMENTUM if eps == 1e-3 else Norm().momentum)


def _convs(chain: Chain) -> list[ConvUnit]:
    """Every convolution of the backbone that may have a norm."""
    reduces = [r for unit in _attentions(chain) for r in (unit.key_reduce, unit.value_reduce) if r is not None]
    return [u for link in chain.links for u in link.units if isinstance(u, ConvUnit)] + reduces


def _attentions(chain: Chain) -> list[AttentionUnit]:
    return [u for link in chain.links for u in link.units if isinstance(u, AttentionUnit)]


def _unit(unit: ConvUnit, eps: float | None) -> ConvUnit:
    """`unit` as the network holds it: with its norm where all are kept, else folded."""
    return unit if unit.norm is None or eps is not None else folded_unit(unit)


def _norm_kind(convs: Sequence[ConvUnit]) -> NormKind:
    if all(unit.norm is None for unit in convs):
        return "none" if all(unit.bias is None for unit in convs) else "bias"
    return "batch" if all(unit.bias is None for unit in convs) else "batch_bias"


def _row(link: Link, eps: float | None, unpadded: frozenset[str]) -> Row:
    """The link's row with its norm, and with single numbers for square kernels and strides."""
    row = link.row
    if isinstance(row, Pool):
        return replace(row, kernel=_side(row.kernel), stride=_side(row.stride))
    if isinstance(row, MQA):
        return replace(row, norm="bias" if eps is None else "batch")
    kind = _norm_kind([_unit(unit, eps) for unit in link.units if isinstance(unit, ConvUnit)])
    match row:
        case UIB():
            return replace(row, norm=kind, stride=_side(row.stride))
        case Depthwise():
            padded = link.output not in unpadded
            return replace(row, norm=kind, kernel=_side(row.kernel), stride=_side(row.stride), pad=padded)
        case _:
            return replace(row, norm=kind, kernel=_side(row.kernel), stride=_side(row.stride))


def _side(pair: Sides) -> Sides:
    return pair[0] if isinstance(pair, tuple) and pair[0] == pair[1] else pair


def _as_named(row: Row, named: Row) -> Row:
    """`row` in the words of the catalogue's network: V4 calls an inverted bottleneck universal."""
    if isinstance(row, Bottleneck) and isinstance(named, UIB) and row.se is None:
        return replace(named, act=row.act, norm=row.norm, stride=row.stride, dilation=row.dilation, scale=None)
    return row


def _arrays(spec: Spec, chain: Chain, eps: float | None, hidden: ConvUnit | None) -> Iterator[tuple[str, Array]]:
    """Every array of backbone and hidden layer, by our names."""
    for link, (block, row, c_in, _) in zip(chain.links, spec.blocks(), strict=True):
        for step, unit in zip(_weighted(row, c_in, spec), link.units, strict=True):
            name = f"backbone.{block}.{step.name}"
            if isinstance(unit, AttentionUnit):
                yield from _attention_arrays(name, unit, eps)
            elif isinstance(unit, GateUnit):
                for part, conv in (("reduce", unit.reduce), ("expand", unit.expand)):
                    yield f"{name}.{part}.weight", conv.weight
                    if conv.bias is not None:
                        yield f"{name}.{part}.bias", conv.bias
            else:
                assert isinstance(step, ConvStep)
                yield from _conv_arrays(name, _unit(unit, eps), biased=step.bias)
    if hidden is not None:
        yield from _conv_arrays("hidden.0", hidden, biased=spec.head.norm in ("bias", "batch_bias"))


def _weighted(row: Row, c_in: int, spec: Spec) -> list[ConvStep | SqueezeStep | AttentionStep]:
    """The steps of a row that have weights, in order: those of its link's units."""
    steps = row.steps(c_in, spec.padding)
    return [step for step in steps if isinstance(step, (ConvStep, SqueezeStep, AttentionStep))]


def _attention_arrays(name: str, unit: AttentionUnit, eps: float | None) -> Iterator[tuple[str, Array]]:
    for part, values in zip(
        ("weight", "bias", "running_mean", "running_var"),
        (unit.norm.gamma, unit.norm.beta, unit.norm.mean, unit.norm.variance),
        strict=True,
    ):
        yield f"{name}.norm.{part}", values
    yield f"{name}.query.weight", unit.query.weight
    for side, reduce, project in (("key", unit.key_reduce, unit.key), ("value", unit.value_reduce, unit.value)):
        if reduce is not None:
            yield from _conv_arrays(f"{name}.{side}.reduce", _unit(reduce, eps), biased=eps is None)
        yield f"{name}.{side}.project.weight", project.weight
    yield f"{name}.project.weight", unit.project.weight


def _conv_arrays(name: str, unit: ConvUnit, *, biased: bool) -> Iterator[tuple[str, Array]]:
    yield f"{name}.conv.weight", unit.weight
    if biased:
        yield f"{name}.conv.bias", np.zeros(unit.c_out, np.float32) if unit.bias is None else unit.bias
    if unit.norm is not None:
        yield f"{name}.norm.weight", unit.norm.gamma
        yield f"{name}.norm.bias", unit.norm.beta
        yield f"{name}.norm.running_mean", unit.norm.mean
        yield f"{name}.norm.running_var", unit.norm.variance
    if unit.slopes is not None:
        yield f"{name}.act.weight", unit.slopes


def _complete(spec: Spec, arrays: dict[str, Array], where: str) -> dict[str, Array]:
    """The arrays in the order of the network, each there, of its shape and finite."""
    found: dict[str, Array] = {}
    for slot in slots(spec):
        array = arrays.get(slot.name)
        if array is None or array.shape != slot.shape:
            has = "nothing" if array is None else str(array.shape)
            raise BadData(f"{where}: {slot.name}: the network needs {slot.shape}, the file has {has}")
        if not np.isfinite(array).all():
            raise BadData(f"{where}: {slot.name}: holds numbers that are not finite")
        found[slot.name] = np.array(array, dtype=np.float32, order="C")  # the file's bytes stay the file's
    return found


def _tensors(spec: Spec, chain: Chain) -> dict[str, str]:
    """The file's name of each tap, and of the logits."""
    taps = {tap.name for tap in spec.taps()}
    found: dict[str, str] = {}
    for link, (block, row, c_in, _) in zip(chain.links, spec.blocks(), strict=True):
        for step, unit in zip(_weighted(row, c_in, spec), link.units, strict=True):
            if f"{block}.{step.name}" in taps:
                found[f"{block}.{step.name}"] = unit.output
        found[block] = link.output
    if chain.ending is not None:
        found["logits"] = chain.ending.logits
    return found


def _left_out(gathered: Units, chain: Chain) -> tuple[str, ...]:
    """Convolutions and unknown operators of the file that are no part of the network, by the tensors they make."""
    used = {id(unit) for link in chain.links for unit in link.units}
    if chain.ending is not None:
        used |= {id(chain.ending.classifier), id(chain.ending.hidden)}
    return tuple(_name(unit) for unit in gathered.units if _counts(unit) and id(unit) not in used)


def _counts(unit: Unit) -> bool:
    return isinstance(unit, (ConvUnit, GateUnit, AttentionUnit, OtherUnit))


def _name(unit: Unit) -> str:
    return f"{unit.kind} {' '.join(unit.outputs)}" if isinstance(unit, OtherUnit) else unit.output


def _first_stranger(gathered: Units, chain: Chain, start: str) -> str:
    """The first operator that is no block, for a message."""
    at = chain.links[-1].output if chain.links else start
    for unit in gathered.units:
        if isinstance(unit, OtherUnit) and at in unit.inputs:
            return f"{unit.kind} reads {at!r}"
        if isinstance(unit, ConvUnit) and unit.input == at:
            return f"a convolution of {unit.kernel[0]}x{unit.kernel[1]} follows that is no block ({unit.output!r})"
    return f"{len(chain.links)} blocks from {start!r}"


def _labels(names: Sequence[str], classes: int) -> Labels | None:
    """The file's own class names, made unique where they are not."""
    if not classes or len(names) != classes:
        return None
    twice = len(set(names)) != len(names)
    ids = tuple(f"{i} {name}" for i, name in enumerate(names)) if twice else tuple(names)
    return Labels(ids, tuple(names) if twice else ())


def _evidence(identity: Identity | None, spec: Spec, eps: float | None) -> tuple[str, ...]:
    if identity is None:
        called = "no network of the catalogue: a spec of its own, its rows read off the file"
    else:
        called = f"rows are those of {spec.name} at alpha {spec.alpha:g}"
        called += f", {identity.variant}" if identity.variant else ""
    norms = "norms are folded into biases" if eps is None else f"batch norms are kept, eps {eps:g}"
    return called, norms, f"padding is {spec.padding}"
