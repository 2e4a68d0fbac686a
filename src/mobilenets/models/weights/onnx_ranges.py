"""What scales and zero points tell of an ONNX file that computes in integers: lost activations, bytes that are fed.

ONNX Runtime's quantiser drops a ReLU or ReLU6 before a QuantizeLinear whose range begins at 0, in both of its formats:
QDQ (float operators between QuantizeLinear and DequantizeLinear) and QOperator (QLinearConv and its kin).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from ...specs.activation import PlainActivation
from .operators import AnyArray, Operator

End = Literal["six", "above", "below"]
QUANTIZE = ("QuantizeLinear", "com.microsoft.QuantizeLinear")
DEQUANTIZE = ("DequantizeLinear", "com.microsoft.DequantizeLinear")
_RENAMES = {*QUANTIZE, *DEQUANTIZE, "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"}
_ACTS = {
    "Relu", "Clip", "LeakyRelu", "PRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Gelu", "Tanh", "Max", "Min", "Elu",
    "Softmax", "com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSoftmax",
}  # fmt: skip
_MAY_LOSE = ("Conv", "Gemm")
# Where QOperator operators keep their scales: (of the first input, of the output); the zero point follows each.
SCALES: dict[str, tuple[int, int]] = {
    "QLinearConv": (1, 6),
    "QLinearMatMul": (1, 6),
    "com.microsoft.QGemm": (1, 7),
    "com.microsoft.QLinearAdd": (1, 6),
    "com.microsoft.QLinearMul": (1, 6),
    "com.microsoft.QLinearGlobalAveragePool": (1, 3),
    "com.microsoft.QLinearSigmoid": (1, 3),
    "com.microsoft.QLinearSoftmax": (1, 3),
}
_WEIGHTED = ("QLinearConv", "QLinearMatMul", "com.microsoft.QGemm")
IN_INTEGERS = {*QUANTIZE, *DEQUANTIZE, *SCALES, "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}


def implied_activations(
    operators: Sequence[Operator], constants: dict[str, AnyArray], results: Iterable[str]
) -> dict[str, PlainActivation]:
    """Activations that only a range tells of, by the tensor that carries their result.

    A range from 0 is a ReLU, or a ReLU6 where it ends at 6 (within a step, or 1 %), unless an activation is written
    down after it or the tensor is what the file answers with. Ranges are what a calibration saw: in a file where more
    end at 6 than above it, those that end below 6 are ReLU6 too; in another one an end at 6 is chance.
    """
    makers = {name: operator for operator in operators for name in operator.outputs}
    readers: dict[str, list[Operator]] = {}
    for operator in operators:
        for name in set(operator.inputs):
            readers.setdefault(name, []).append(operator)
    taken = set(results)
    found: dict[str, End] = {}
    for operator in operators:
        at = _output_scale(operator, makers, readers, taken)
        if at is None:
            continue
        end = _end(constants.get(operator.input(at)), constants.get(operator.input(at + 1)))
        if end is not None and not _meets_activation(operator.output, readers, taken):
            after = readers.get(operator.output, [])
            alone = operator.kind in QUANTIZE and len(after) == 1 and after[0].kind in DEQUANTIZE
            found[after[0].output if alone else operator.output] = end
    ends_at = Counter(found.values())
    has_six = ends_at["six"] > ends_at["above"]
    return {name: "relu6" if has_six and end != "above" else "relu" for name, end in found.items()}


def _output_scale(
    operator: Operator, makers: dict[str, Operator], readers: dict[str, list[Operator]], ends: set[str]
) -> int | None:
    """Which input is the scale of a convolution's (or dense layer's) result; None for other operators."""
    if operator.kind in _WEIGHTED:
        return SCALES[operator.kind][1]
    source = operator.input(0)
    if operator.kind in QUANTIZE and source in makers and makers[source].kind in _MAY_LOSE:
        return 1 if len(readers[source]) == 1 and source not in ends else None
    return None


def _end(scale: AnyArray | None, zero_point: AnyArray | None) -> End | None:
    """Where a range that begins at 0 ends; None for another one."""
    zero = np.zeros((), np.uint8) if zero_point is None else zero_point
    if scale is None or scale.size != 1 or zero.size != 1 or not np.issubdtype(zero.dtype, np.integer):
        return None
    limits, at, step = np.iinfo(zero.dtype), int(zero.reshape(-1)[0]), float(scale.reshape(-1)[0])
    if at != limits.min or not (math.isfinite(step) and step > 0):
        return None
    high = (limits.max - at) * step
    return "six" if abs(high - 6) <= max(step, 0.06) else "above" if high > 6 else "below"


def _meets_activation(name: str, readers: dict[str, list[Operator]], ends: set[str]) -> bool:
    """Whether an activation is written down after the tensor, or the file answers with it, maybe under other names."""
    seen, waiting = set[str](), [name]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in ends:
            return True
        for operator in readers.get(name, ()):
            if operator.kind in _ACTS:
                return True
            if operator.kind in _RENAMES:
                waiting.append(operator.output)
    return False


def quantised_at(
    name: str, operators: Iterable[Operator], constants: dict[str, AnyArray], *, is_input: bool
) -> tuple[float, int]:
    """(scale, zero point) of a fed or taken tensor of integers, as the operator beside it says; (1, 0) where none does.
    """  # fmt: skip
    for operator in operators:
        first, last = SCALES.get(operator.kind, (1, 1))
        if is_input and operator.input(0) == name and (operator.kind in SCALES or operator.kind in DEQUANTIZE):
            at = first
        elif not is_input and name in operator.outputs and (operator.kind in SCALES or operator.kind in QUANTIZE):
            at = last
        else:
            continue
        scale, zero = constants.get(operator.input(at)), constants.get(operator.input(at + 1))
        if scale is not None and scale.size == 1 and math.isfinite(float(scale.reshape(-1)[0])):
            return float(scale.reshape(-1)[0]), 0 if zero is None or zero.size != 1 else int(zero.reshape(-1)[0])
    return 1.0, 0
