"""OpenVINO layers whose inputs are constants: weights kept in half precision or in bytes become float32."""

import numpy as np

from .constants import Folder, arithmetic, chained, reshape, whole
from .forms import floats
from .openvino_file import TYPES
from .operators import AnyArray, Operator

Inputs = tuple[AnyArray | None, ...]


def _convert(operator: Operator, inputs: Inputs) -> AnyArray | None:
    (array,) = inputs
    kind = TYPES.get(operator.text("destination_type", ""), ("", ""))[0]
    return None if array is None or not kind else array.astype("float32" if kind == "bfloat16" else kind)


def _reshape(operator: Operator, inputs: Inputs) -> AnyArray | None:
    array, target = inputs[0], whole(inputs[1])
    if array is None or target is None:
        return None
    return reshape(array, target, zero_copies=operator.flag("special_zero", False))


def _squeeze(operator: Operator, inputs: Inputs) -> AnyArray | None:
    axes = whole(inputs[1]) if len(inputs) > 1 else None
    return None if inputs[0] is None else np.squeeze(inputs[0], axes)


def _unsqueeze(operator: Operator, inputs: Inputs) -> AnyArray | None:
    axes = whole(inputs[1])
    return None if inputs[0] is None or axes is None else np.expand_dims(inputs[0], axes)


def _transpose(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return None if inputs[0] is None else np.transpose(inputs[0], whole(inputs[1]) or None)


def _concat(operator: Operator, inputs: Inputs) -> AnyArray | None:
    return chained(inputs, operator.integer("axis", 0))


def _fake_quantize(operator: Operator, inputs: Inputs) -> AnyArray | None:
    """A constant put on the levels between its limits, as the network sees it (OpenVINO's FakeQuantize-1)."""
    present = [floats(value).astype(np.float64) for value in inputs if value is not None]
    levels = operator.integer("levels", 256)
    if len(present) != 5 or levels < 2:
        return None
    x, in_low, in_high, out_low, out_high = present
    if np.broadcast_shapes(*(value.shape for value in present)) != x.shape:
        raise ValueError("its limits are larger than what they limit")
    share = np.clip((x - in_low) / (in_high - in_low), 0.0, 1.0)
    steps = np.rint(share * (levels - 1)) / (levels - 1)
    result = np.where(x <= np.minimum(in_low, in_high), out_low, steps * (out_high - out_low) + out_low)
    return floats(np.where(x > np.maximum(in_low, in_high), out_high, result))


FOLDERS: dict[str, Folder] = {
    "Convert": _convert,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "FakeQuantize": _fake_quantize,
    "Add": arithmetic("add"),
    "Subtract": arithmetic("sub"),
    "Multiply": arithmetic("mul"),
    "Divide": arithmetic("div"),
}
