"""ONNX operators whose inputs are constants: what is computed while the file is read, dequantised weights above all."""

import numpy as np

from ...errors import BadData
from .constants import Folder, arithmetic, chained, filled, picked, reshape, whole
from .forms import floats
from .onnx_file import TYPES
from .operators import AnyArray, Operator
from .quantisation import Quantisation, checked, dequantised

Inputs = tuple[AnyArray | None, ...]


def real(
    operator: Operator, stored: AnyArray, scale: AnyArray | None, zero_point: AnyArray | None, *, axis: int
) -> AnyArray:
    """scale * (stored - zero_point) as float32, per tensor or along `axis`.

    Raises: BadData for scales in blocks, and for those that have no meaning.
    """
    if scale is None or scale.ndim > 1 or operator.integer("block_size", 0):
        raise BadData(f"{operator}: constants quantised in blocks can't be read; quantise per tensor or per channel")
    zeros = np.zeros(0, np.int64) if zero_point is None else zero_point.reshape(-1).astype(np.int64)
    q = Quantisation(floats(scale).reshape(-1), zeros, axis + stored.ndim if axis < 0 else axis)
    return dequantised(stored, checked(q, stored.shape, where=str(operator)))


def _constant(operator: Operator, inputs: Inputs) -> AnyArray | None:
    value = next((operator.attributes[key] for key in _CONSTANT_KEYS if operator.has(key)), None)
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, np.ndarray):
        return value
    return np.array(value, np.float32 if operator.has("value_float") or operator.has("value_floats") else np.int64)


_CONSTANT_KEYS = ("value", "value_float", "value_floats", "value_int", "value_ints")


def _cast(operator: Operator, inputs: Inputs) -> AnyArray | None:
    (array,) = inputs
    to = operator.integer("to", 0)
    if array is None or to not in TYPES:
        return None
    kind = TYPES[to][0]
    return array.astype("float32" if kind == "bfloat16" else kind)


def _reshape(operator: Operator, inputs: Inputs) -> AnyArray | None:
    array = inputs[0]
    target = whole(inputs[1]) if len(inputs) > 1 else operator.ints("shape", ())
    if array is None or target is None:
        return None
    return reshape(array, target, zero_copies=not operator.integer("allowzero", 0))


def axes_of(operator: Operator, inputs: Inputs) -> tuple[int, ...] | None:
    """The axes as the second input (newer files) or as an attribute."""
    if len(inputs) > 1 and inputs[1] is not None:
        return whole(inputs[1])
    return operator.ints("axes", ()) if operator.has("axes") else None


def _squeeze(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.squeeze(inputs[0], axes_of(operator, inputs))


def _unsqueeze(operator: Operator, inputs: Inputs) -> AnyArray | None:
    axes = axes_of(operator, inputs)
    return None if inputs[0] is None or axes is None else np.expand_dims(inputs[0], axes)


def _transpose(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.transpose(inputs[0], operator.ints("perm", ()) or None)


def _flatten(operator: Operator, inputs: Inputs) -> AnyArray | None:
    (array,) = inputs
    if array is None:
        return None
    axis = operator.integer("axis", 1)
    rows = int(np.prod(array.shape[:axis], dtype=np.int64))
    return array.reshape(rows, -1 if array.size else 0)


def _dequantize(operator: Operator, inputs: Inputs) -> AnyArray | None:
    if inputs[0] is None:
        return None
    scale, zero = inputs[1] if len(inputs) > 1 else None, inputs[2] if len(inputs) > 2 else None
    return real(operator, inputs[0], scale, zero, axis=operator.integer("axis", 1))


def _quantize(operator: Operator, inputs: Inputs) -> AnyArray | None:
    """Weights that a file keeps as floats and rounds when it runs; the DequantizeLinear after it gives them back."""
    array, scale = inputs[0], inputs[1] if len(inputs) > 1 else None
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros((), np.uint8)
    if array is None or scale is None or scale.ndim > 1 or not np.issubdtype(zero.dtype, np.integer):
        return None
    along = [1] * array.ndim
    if scale.size > 1:
        along[operator.integer("axis", 1)] = scale.size
    limits = np.iinfo(zero.dtype)
    steps = np.rint(floats(array) / floats(scale).reshape(along)) + zero.astype(np.float64).reshape(along)
    return np.asarray(np.clip(np.nan_to_num(steps), limits.min, limits.max), zero.dtype)


def _of_shape(operator: Operator, inputs: Inputs) -> AnyArray | None:
    shape, value = whole(inputs[0]), operator.attributes.get("value")
    return None if shape is None else filled(shape, value if isinstance(value, np.ndarray) else np.zeros(1, np.float32))


def _shape(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.array(inputs[0].shape, np.int64)


def _concat(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return chained(inputs, operator.integer("axis", 0))


def _gather(operator: Operator, inputs: Inputs) -> AnyArray | None:
    array, indices = inputs
    return None if array is None or indices is None else picked(array, indices, operator.integer("axis", 0))


def _slice(operator: Operator, inputs: Inputs) -> AnyArray | None:
    array, starts, ends = inputs[0], whole(inputs[1]), whole(inputs[2])
    if array is None or starts is None or ends is None:
        return None
    axes = (whole(inputs[3]) if len(inputs) > 3 else None) or tuple(range(len(starts)))
    steps = (whole(inputs[4]) if len(inputs) > 4 else None) or (1,) * len(starts)
    cuts = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # "up to before the first" is written as a very small number, which numpy reads so only as None.
        cuts[axis] = slice(start, None if step < 0 and end < -array.shape[axis] else end, step)
    return array[tuple(cuts)]


def _same(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return inputs[0]


def _square_root(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.asarray(np.sqrt(inputs[0]))


def _reciprocal(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.asarray(1 / inputs[0])


FOLDERS: dict[str, Folder] = {
    "Constant": _constant,
    "ConstantOfShape": _of_shape,
    "Identity": _same,
    "Cast": _cast,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "DequantizeLinear": _dequantize,
    "com.microsoft.DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
    "com.microsoft.QuantizeLinear": _quantize,
    "Shape": _shape,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Sqrt": _square_root,
    "Reciprocal": _reciprocal,
    "Add": arithmetic("add"),
    "Sub": arithmetic("sub"),
    "Mul": arithmetic("mul"),
    "Div": arithmetic("div"),
}
