"""Preprocessing as graph operators in front of a network: a picture of any size in, `data.preprocess` done inside.

The places of pixels are worked out in whole numbers, so that no rounding of a float picks another one. An ONNX graph
that does this is the network's with these operators before it; the values they make are called "preprocess.<n>".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from ..records import Preprocess
from .tracing import BATCH, HEIGHT, INPUT, WIDTH

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PREFIX = "preprocess."
MIN_OPSET = 18
"""The first whose Resize has `antialias`."""

Resizing = Literal["operator", "products"]
"""How antialiased pictures are resized. "operator": by Resize, which ONNX Runtime does as Pillow does (at most 1 of 255
levels apart); the whole picture is made, then cropped. "products": by two products with matrices of weights, for
runtimes whose Resize is another; exact as well, and 3 to 4 times slower (10 ms for 500 x 375 on one core)."""

_GREY = (19595, 38470, 7471)
_CUBIC = -0.5
_ROWS, _COLUMNS = 1, 2


def put_inside(proto: "ModelProto", record: Preprocess, *, resizing: Resizing) -> None:
    """Change a graph that takes float32 (N, C, h, w) into one that takes pictures, uint8 (N, H, W, 3) RGB.

    N, H and W are free; the pictures of one batch have one size. record: whose size, fit, colour, mean and std are
    done; its layout and dtype say how the file is fed and are not looked at.
    Raises: UsageError for a network that isn't fed what image files give.
    """
    from onnx import TensorProto, helper

    if record.channels != (wanted := 1 if record.colour == "grey" else 3):
        raise UsageError(f"preprocessing of {record.channels} channels can't go inside: {record.colour} has {wanted}")
    opset = next(entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    if opset.version < MIN_OPSET:
        raise UsageError(f"preprocessing can't go inside a graph of opset {opset.version}; it wants {MIN_OPSET}")
    graph = _Graph()
    image = _Value(graph, INPUT, np.uint8)
    tensors = _normalised(_fitted(image, record, resizing), record)
    for node in proto.graph.node:
        node.input[:] = [tensors.name if name == INPUT else name for name in node.input]
    network = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*graph.nodes, *network])
    proto.graph.initializer.extend(graph.constants())
    picture = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [BATCH, HEIGHT, WIDTH, 3])
    proto.graph.input[0].CopyFrom(picture)


def _fitted(image: "_Value", record: Preprocess, resizing: Resizing) -> "_Value":
    """As `data.fit_picture`: float32 (N, 3, h, w) of whole numbers 0 to 255, RGB."""
    size = np.array(record.size_px)
    side = image.shape(1, 3)
    match record.fit:
        case "short_then_crop":
            cover = np.array([int(wanted / record.crop_ratio + 1e-6) for wanted in record.size_px])
            full = (side * cover[::-1] / side.take([1, 0], axis=0)).at_least(cover)
            start = _half_even(full - size, 2)
        case "central_then_stretch":
            share = Fraction(record.crop_ratio).limit_denominator(10_000)
            inner = _half_even(side * share.numerator, share.denominator).at_least(1)
            first = (side - inner) / 2
            image, side = image.cut(first, first + inner, axes=(_ROWS, _COLUMNS)), inner
            full, start = side * 0 + size, side * 0
        case "stretch":
            full, start = side * 0 + size, side * 0
    if record.interpolation == "nearest" or not record.antialias:
        pixels = _sampled(image, side, full, start, record)
    elif resizing == "products":
        return _multiplied(image, side, full, start, record)
    else:
        mode = {"bilinear": "linear", "bicubic": "cubic"}[record.interpolation]
        how = {"axes": [_ROWS, _COLUMNS], "mode": mode, "cubic_coeff_a": _CUBIC, "antialias": 1, "exclude_outside": 1}
        whole = _op("Resize", image, None, None, full, attributes=how)
        pixels = whole.cut(start, start + size, axes=(_ROWS, _COLUMNS))
    return _op("Transpose", pixels, attributes={"perm": [0, 3, 1, 2]}).cast(np.float32)


def _normalised(pixels: "_Value", record: Preprocess) -> "_Value":
    """As `data.normalise`: float32 (N, C, h, w) of the record's colours, in the very order of its operations."""
    if record.colour == "bgr":
        pixels = pixels.take([2, 1, 0], axis=1)
    elif record.colour == "grey":  # below 2^24, so exact in float32
        weights = np.array(_GREY).reshape(3, 1, 1)
        pixels = (((pixels * weights).sum(axis=1) + 0x8000) / 0x10000).floor()
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (record.mean, record.std))
    return (pixels / 255 - mean) / std


def _half_even(above: "_Value", below: int) -> "_Value":
    """above / below to the nearest whole number, halves to the even one as Python's `round` does it; above >= 0."""
    odd = above / below % 2
    return (above * 2 + odd + (below - 1)) / (2 * below)


def _centres(side: "_Value", full: "_Value", start: "_Value", record: Preprocess, axis: int) -> tuple["_Value", ...]:
    """For each kept pixel of an axis, where its centre lies in the source, as a fraction: (above (n,), below (1,)); and
    the source's side (1,) and the resized picture's (1,). A source pixel's centre is at half-integers."""
    here = [axis - 1]
    length, whole = side.take(here, axis=0), full.take(here, axis=0)
    odds = 2 * np.arange(record.size_px[axis - 1]) + 1
    return (start.take(here, axis=0) * 2 + odds) * length, whole * 2, length, whole


def _sampled(image: "_Value", side: "_Value", full: "_Value", start: "_Value", record: Preprocess) -> "_Value":
    """Interpolation between the 1, 2 or 4 nearest pixels of each axis, edges repeated: whole numbers (N, h, w, 3)."""
    offsets = {"nearest": (0,), "bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}[record.interpolation]
    taps = len(offsets)
    weights = []
    for axis in (_ROWS, _COLUMNS):
        above, below, length, whole = _centres(side, full, start, record, axis)
        if record.interpolation == "nearest":
            image = image.take(above / below, axis=axis)
            continue
        shifted = above + whole  # half a pixel to the left, and one to the right: Div rounds towards 0, not down
        index = (shifted / below + (np.array(offsets) - 1)[:, None]).at_least(0).at_most(length - 1)
        image = image.take(index.reshape(-1), axis=axis)
        part = (shifted % below).cast(np.float32) / below.cast(np.float32)
        weights.append(_weights((part - np.array(offsets)[:, None]).abs(), record))
    if not weights:
        return image
    h, w = record.size_px
    rows, columns = weights
    near = image.cast(np.float32).reshape(0, taps, h, taps, w, 3) * columns.reshape(taps, w, 1)
    return (
        ((near.sum(axis=3, keep=False) * rows.reshape(taps, h, 1, 1)).sum(axis=1, keep=False) + 0.5)
        .floor()
        .clip(0, 255)
    )


def _multiplied(image: "_Value", side: "_Value", full: "_Value", start: "_Value", record: Preprocess) -> "_Value":
    """Antialiased as Pillow does it, columns before rows and rounded after each: whole numbers (N, 3, h, w)."""
    rows, columns = (_matrix(_centres(side, full, start, record, axis), record) for axis in (_ROWS, _COLUMNS))
    pixels = _op("Transpose", image, attributes={"perm": [0, 3, 1, 2]}).cast(np.float32)
    across = _op("Transpose", columns, attributes={"perm": [1, 0]})
    narrow = (_op("MatMul", pixels, across) + 0.5).floor().clip(0, 255)
    return (_op("MatMul", rows, narrow) + 0.5).floor().clip(0, 255)


def _matrix(centres: tuple["_Value", ...], record: Preprocess) -> "_Value":
    """The share of each source pixel in each kept one, (n, length): the filter, as wide as the picture shrinks."""
    above, below, length, whole = centres
    centre = (above.cast(np.float32) / below.cast(np.float32)).reshape(-1, 1)
    cells = _op("Range", length.of(0), length.reshape(), length.of(1)).cast(np.float32) + 0.5
    shrink = (length.cast(np.float32) / whole.cast(np.float32)).at_least(1)
    weights = _weights((cells - centre).abs() / shrink, record)
    return weights / weights.sum(axis=1)


def _weights(distance: "_Value", record: Preprocess) -> "_Value":
    """The filter at a distance >= 0 in pixels: a triangle, or Keys' cubic."""
    if record.interpolation == "bilinear":
        return (distance * -1 + 1).at_least(0)
    near, far = distance.at_most(1), distance.clip(1, 2)  # each piece is 0 at its ends
    inner = (near * (_CUBIC + 2) - (_CUBIC + 3)) * near * near + 1
    return inner + (((far - 5) * far + 8) * far - 4) * _CUBIC


# --- graphs as arithmetic -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """A value of the graph, to be reckoned with; `dtype` is int64, float32 or uint8. "/" of int64 drops the rest."""

    graph: "_Graph"
    name: str
    dtype: type[np.generic]

    def of(self, number: ArrayLike) -> "_Value":
        """A constant of this value's type."""
        return self.graph.constant(number, self.dtype)

    def __add__(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Add", self, self._like(other))

    def __sub__(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Sub", self, self._like(other))

    def __mul__(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Mul", self, self._like(other))

    def __truediv__(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Div", self, self._like(other))

    def __mod__(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Mod", self, self._like(other))

    def at_least(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Max", self, self._like(other))

    def at_most(self, other: "_Value | ArrayLike") -> "_Value":
        return _op("Min", self, self._like(other))

    def clip(self, low: float, high: float) -> "_Value":
        return _op("Clip", self, self.of(low), self.of(high))

    def abs(self) -> "_Value":
        return _op("Abs", self)

    def floor(self) -> "_Value":
        return _op("Floor", self)

    def sum(self, *, axis: int, keep: bool = True) -> "_Value":
        return _op("ReduceSum", self, self.graph.constant([axis], np.int64), attributes={"keepdims": int(keep)})

    def take(self, index: "_Value | list[int]", *, axis: int) -> "_Value":
        place = index if isinstance(index, _Value) else self.graph.constant(index, np.int64)
        return _op("Gather", self, place, attributes={"axis": axis})

    def cut(self, start: "_Value", stop: "_Value", *, axes: tuple[int, ...]) -> "_Value":
        return _op("Slice", self, start, stop, self.graph.constant(axes, np.int64))

    def reshape(self, *shape: int) -> "_Value":
        """0 keeps a side, -1 is what remains."""
        return _op("Reshape", self, self.graph.constant(shape, np.int64))

    def shape(self, start: int, stop: int) -> "_Value":
        found = _op("Shape", self, attributes={"start": start, "end": stop})
        return _Value(self.graph, found.name, np.int64)

    def cast(self, dtype: type[np.generic]) -> "_Value":
        from onnx import helper

        done = _op("Cast", self, attributes={"to": helper.np_dtype_to_tensor_dtype(np.dtype(dtype))})
        return _Value(self.graph, done.name, dtype)

    def _like(self, other: "_Value | ArrayLike") -> "_Value":
        return other if isinstance(other, _Value) else self.of(other)


@dataclass(slots=True)
class _Graph:
    """Operators in their order, and the constants they use, each once."""

    nodes: "list[NodeProto]" = field(default_factory=list)
    _constants: dict[tuple[str, tuple[int, ...], bytes], tuple[str, NDArray[Any]]] = field(default_factory=dict)

    def constant(self, number: ArrayLike, dtype: type[np.generic]) -> _Value:
        array = np.asarray(number, dtype)
        key = (array.dtype.name, array.shape, array.tobytes())
        name, _ = self._constants.setdefault(key, (f"{PREFIX}constant.{len(self._constants)}", array))
        return _Value(self, name, dtype)

    def constants(self) -> list[Any]:
        from onnx import numpy_helper

        return [numpy_helper.from_array(array, name) for name, array in self._constants.values()]


def _op(kind: str, first: _Value, *others: _Value | None, attributes: Mapping[str, Any] | None = None) -> _Value:
    """One more operator, whose output has the type of its first input; None where an input is left out."""
    from onnx import helper

    graph = first.graph
    name = f"{PREFIX}{len(graph.nodes)}"
    inputs = [first.name, *("" if other is None else other.name for other in others)]
    graph.nodes.append(helper.make_node(kind, inputs, [name], name=name, **(attributes or {})))
    return _Value(graph, name, first.dtype)
