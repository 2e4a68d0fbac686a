"""Mobile multi-query attention found among units: norm, query, key and value, two products, softmax, projection.

Files keep the scale of the product somewhere in query and key (ours is key_dim ** -0.5 on the query): the query's
weights are divided by it, so that the products are those of the file.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .units import AttentionUnit, ConvUnit, NormUnit, OtherUnit, SoftmaxUnit, Unit

PRODUCT = "MatMul"


def with_attention(found: Sequence[Unit]) -> tuple[Unit, ...]:
    """`found` with every attention as one unit."""
    makers: dict[str, Unit] = {}
    for unit in found:
        for name in unit.outputs if isinstance(unit, OtherUnit) else (unit.output,):
            makers[name] = unit
    attentions: dict[int, AttentionUnit] = {}
    inner: set[int] = set()
    for i, unit in enumerate(found):
        if isinstance(unit, ConvUnit) and unit.is_pointwise:
            made = _attention(unit, makers)
            if made is not None:
                attentions[i], parts = made
                inner |= {id(part) for part in parts}
    return tuple(attentions.get(i, unit) for i, unit in enumerate(found) if id(unit) not in inner)


def _attention(project: ConvUnit, makers: dict[str, Unit]) -> tuple[AttentionUnit, list[Unit]] | None:
    """The attention that `project` ends, and the other units in it; None where it ends none."""
    mixed = _product(makers.get(project.input))
    if mixed is None:
        return None
    softmax, value = (makers.get(name) for name in mixed.inputs)
    if not isinstance(softmax, SoftmaxUnit) or not isinstance(value, ConvUnit):
        return None
    weighed = _product(makers.get(softmax.input))
    if weighed is None:
        return None
    query, key = (makers.get(name) for name in weighed.inputs)
    if not isinstance(query, ConvUnit) or not isinstance(key, ConvUnit):
        return None
    reduces = [_depthwise(makers.get(side.input)) for side in (key, value)]
    norm = makers.get(query.input)
    starts = {
        query.input,
        *(side.input if r is None else r.input for side, r in zip((key, value), reduces, strict=True)),
    }
    plain = all(_is_plain(unit) for unit in (query, key, value, project))
    if not isinstance(norm, NormUnit) or len(starts) != 1 or not plain:
        return None
    if (reduces[0] is None) != (reduces[1] is None) or query.c_out % key.c_out or key.c_out != value.c_out:
        return None
    scaled = replace(query, weight=(query.weight * np.sqrt(key.c_out)).astype(np.float32), bias=None)
    parts: list[Unit] = [mixed, softmax, weighed, query, key, value, norm, *(r for r in reduces if r is not None)]
    unit = AttentionUnit(
        norm.input, project.output, norm.norm, scaled, key, value, replace(project, bias=None), reduces[0], reduces[1]
    )
    return unit, parts


def _product(unit: Unit | None) -> OtherUnit | None:
    """The unit where it multiplies two tensors as matrices."""
    return unit if isinstance(unit, OtherUnit) and unit.kind == PRODUCT and len(unit.inputs) == 2 else None


def _depthwise(unit: Unit | None) -> ConvUnit | None:
    return unit if isinstance(unit, ConvUnit) and unit.is_depthwise else None


def _is_plain(unit: ConvUnit) -> bool:
    """Whether it is a 1x1 convolution without norm, activation and (but for zeros) bias, as ours are."""
    return unit.is_pointwise and unit.norm is None and unit.act == "none" and (unit.bias is None or not unit.bias.any())
