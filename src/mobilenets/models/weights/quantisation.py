"""Affine quantisation of TFLite files: real = scale * (stored - zero_point), per tensor or along one axis.

Source: the published 8-bit specification (ai.google.dev/edge/litert/models/quantization_spec). What can be computed is
taken as written, tiny and denormal scales of dead channels included (they give zeros); what has no meaning is refused.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData
from .graph import Array

STORED = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "BOOL": "?",
    "UINT8": "u1", "INT8": "i1", "INT16": "<i2", "UINT16": "<u2", "INT32": "<i4", "UINT32": "<u4", "INT64": "<i8",
}  # fmt: skip
"""How numpy reads the file's types; INT4 is two to a byte."""
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64")
BYTES = {"UINT8": (0, 255), "INT8": (-128, 127), "INT16": (-32768, 32767)}
"""Least and largest stored value of the types that activations are quantised to."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """What a file says of one tensor, unchecked. scales: float32 (1,) or one per slice along `axis`, (0,) where the
    tensor is not quantised. zero_points: int64, as many, or (0,) for zeros."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int = 0

    def __bool__(self) -> bool:
        return len(self.scales) > 0


NOT_QUANTISED = Quantisation(np.zeros(0, np.float32), np.zeros(0, np.int64))


def stored_values(raw: memoryview, dtype: str, shape: tuple[int, ...], *, where: str) -> NDArray[np.number[Any]]:
    """The numbers of a constant as the file stores them. Raises BadData for another length than the shape's."""
    count = math.prod(shape)
    size = (count + 1) // 2 if dtype == "INT4" else count * np.dtype(_stored(dtype, where)).itemsize
    if len(raw) != size:
        raise BadData(f"{where} holds {len(raw)} bytes; {dtype.lower()} {shape} takes {size}")
    if dtype == "INT4":
        pairs = np.frombuffer(raw, np.uint8)
        nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(-1)[:count].astype(np.int8)
        return ((nibbles ^ 8) - 8).reshape(shape)  # the fourth bit is the sign
    return np.frombuffer(raw, _stored(dtype, where)).reshape(shape)


def _stored(dtype: str, where: str) -> str:
    if dtype not in STORED:
        raise BadData(f"{where} is of type {dtype.lower()}, which holds no numbers that can be read")
    return STORED[dtype]


def checked(q: Quantisation, shape: tuple[int, ...], *, where: str) -> Quantisation:
    """`q` with one zero point per scale. Raises BadData for scales or counts without a meaning."""
    scales, zeros = q.scales, q.zero_points
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        wrong = scales[~(np.isfinite(scales) & (scales > 0))][0]
        raise BadData(f"{where} has a quantisation scale of {wrong:g}; it must be positive and finite")
    if len(scales) > 1:
        if not 0 <= q.axis < len(shape):
            raise BadData(f"{where} is quantised along dimension {q.axis}, but its shape is {shape}")
        if len(scales) != shape[q.axis]:
            raise BadData(f"{where} has {len(scales)} scales along dimension {q.axis} of {shape}")
    if len(zeros) not in (0, len(scales)):
        raise BadData(f"{where} has {len(zeros)} zero points for {len(scales)} scales")
    return Quantisation(scales, zeros if len(zeros) else np.zeros(len(scales), np.int64), q.axis)


def dequantised(stored: NDArray[np.number[Any]], q: Quantisation) -> Array:
    """float32 of the same shape; `q` as `checked` gives it. Wide integers (biases) are scaled in double precision."""
    exact: Any = np.float32 if stored.dtype.itemsize <= 2 else np.float64
    along = [1] * stored.ndim
    if len(q.scales) > 1:
        along[q.axis] = len(q.scales)
    with np.errstate(over="ignore"):
        values: NDArray[Any] = stored.astype(exact)
        values -= q.zero_points.astype(exact).reshape(along)
        values *= q.scales.astype(exact).reshape(along)
        return values.astype(np.float32, copy=False)


def value_range(q: Quantisation, dtype: str) -> tuple[float, float] | None:
    """The least and the largest number that a tensor quantised as a whole can hold; None for any other tensor."""
    if dtype not in BYTES or len(q.scales) != 1 or len(q.zero_points) > 1:
        return None
    scale, zero = float(q.scales[0]), int(q.zero_points[0]) if len(q.zero_points) else 0
    low, high = BYTES[dtype]
    return scale * (low - zero), scale * (high - zero)
