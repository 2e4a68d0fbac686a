"""Activations that a quantised TFLite file has lost: found by the range that an output can hold.

The first converter (TOCO, uint8) clamped by the output's range and wrote activation NONE: a range that begins at 0 is
all that is left of a ReLU, one of 0 to 6 of a ReLU6. Later files (int8) keep their words and are believed, as a range
may begin at 0 by calibration alone; only one without a single activation is treated like an old one.
"""

from ...specs.activation import PlainActivation
from .quantisation import checked, value_range
from .tflite_file import File, Operator

_MAY_LOSE = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD"}
SHAPES = frozenset({"RESHAPE", "SQUEEZE", "TRANSPOSE", "EXPAND_DIMS", "CAST", "QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"})
"""Operators that leave the numbers as they are."""
_CLAMPS = {"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "HARD_SWISH", "LEAKY_RELU", "PRELU", "ELU", "GELU", "TANH"}
_EXPLICIT = _CLAMPS | {"LOGISTIC", "MINIMUM", "MAXIMUM", "SOFTMAX", "LOG_SOFTMAX"}
_MOST_SHAPES = 32
_NEAR_SIX = 0.06
"""1 %: ranges are learned or measured, and rounded to a step."""


def lost_activations(file: File, where: str) -> dict[int, PlainActivation]:
    """Operators (by index) whose activation is only implied by their output's range, and what it was.

    Raises: BadData for an output whose quantisation has no meaning.
    """
    readers: dict[int, list[Operator]] = {}
    for operator in file.operators:
        for i in dict.fromkeys(operator.inputs if operator.kind not in SHAPES else operator.inputs[:1]):
            readers.setdefault(i, []).append(operator)
    keeps_words = any(op.options.activation != "NONE" or op.kind in _CLAMPS for op in file.operators)
    found: dict[int, PlainActivation] = {}
    for i, operator in enumerate(file.operators):
        if operator.kind not in _MAY_LOSE or not operator.outputs or operator.outputs[0] < 0:
            continue
        low, high, step = _range(file, operator.outputs[0], where)
        if step == 0 or abs(low) > step / 2 or operator.options.activation != "NONE":
            continue
        if keeps_words and file.tensors[operator.outputs[0]].dtype != "UINT8":
            continue
        if operator.kind == "ADD" and not any(_range(file, j, where)[0] < 0 for j in operator.inputs if j >= 0):
            continue  # a sum of what is never negative needs no ReLU
        if not _meets_activation(operator.outputs[0], readers):
            found[i] = "relu6" if abs(high - 6) <= max(step, _NEAR_SIX) else "relu"
    return found


def _range(file: File, index: int, where: str) -> tuple[float, float, float]:
    """The least and the largest number that a tensor can hold, and its step; zeros where it is not quantised."""
    tensor = file.tensors[index]
    reach = value_range(tensor.quantisation, tensor.dtype)
    if reach is None:
        return 0.0, 0.0, 0.0
    q = checked(tensor.quantisation, tensor.shape, where=f"{where}: tensor {tensor.name!r}")
    return (*reach, float(q.scales[0]))


def _meets_activation(tensor: int, readers: dict[int, list[Operator]]) -> bool:
    """Whether an operator of its own does the activation, maybe after a few changes of shape."""
    seen, waiting = {tensor}, [tensor]
    while waiting and len(seen) < _MOST_SHAPES:
        for reader in readers.get(waiting.pop(), []):
            if reader.kind in _EXPLICIT:
                return True
            if reader.kind in SHAPES:
                waiting += [j for j in reader.outputs if j not in seen]
                seen.update(reader.outputs)
    return False
