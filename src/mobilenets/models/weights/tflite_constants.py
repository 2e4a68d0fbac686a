"""The constants of a TFLite file as float32: weights and biases held against the format's rules, and small arguments.

Refused are integers without a scale, int8 weights or biases with a zero point, weights quantised along another side
than their output channels, numbers that are not finite. Two mistakes of converters are put right and noted: a bias
quantised along a side that it does not have, and one without a scale (it is the input's times the weights').
"""

import math
from dataclasses import replace

import numpy as np

from ...errors import BadData
from .graph import Array
from .quantisation import FLOATS, Quantisation, checked, dequantised, stored_values
from .tflite_file import File, Operator, Tensor

MOST_NUMBERS = 2**27
"""In all constants of a file: half a gigabyte of float32."""


class Constants:
    """What the file holds rather than computes. `notes` grow as constants are read.

    made: indices of tensors that are fed or computed; whoever walks the operators adds to it.
    """

    def __init__(self, file: File, where: str) -> None:
        self.file = file
        self.where = where
        self.notes: list[str] = []
        self.made = {i for i in file.inputs if i >= 0}
        self._source: dict[int, int] = {}  # results of QUANTIZE and DEQUANTIZE on a constant -> that constant
        self._read: dict[tuple[int, tuple[int, ...]], Array] = {}
        self._spent = 0

    def holds(self, index: int) -> bool:
        """Whether the file has the tensor's numbers; one of no numbers at all (a scalar's shape) counts too."""
        if index < 0 or index in self.made:
            return False
        tensor = self._tensor(index)
        return tensor.data is not None or (tensor.shape == (0,) and not tensor.is_variable)

    def passes(self, operator: Operator) -> bool:
        """Whether the operator only unpacks a constant (half precision, bytes), which then counts as its result."""
        if operator.kind not in ("QUANTIZE", "DEQUANTIZE") or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            return False
        source, result = operator.inputs[0], operator.outputs[0]
        if result < 0 or result in self.made or self.holds(result) or not self.holds(source):
            return False
        self._source[result] = self._source.get(source, source)
        return True

    def argument(self, index: int) -> Array | None:
        """A constant in the file's own shape; None where it is computed or left out."""
        return self._numbers(index) if self.holds(index) else None

    def weight(self, operator: Operator, order: tuple[int, ...], place: str) -> Array | None:
        """The second input, finite, its sides in `order`, output channels first; None where it is computed."""
        index = operator.input(1)
        if not self.holds(index):
            return None
        tensor = self._tensor(index)
        q, where = tensor.quantisation, f"{place}: its weights {tensor.name!r}"
        if len(tensor.shape) != len(order) or 0 in tensor.shape:
            raise BadData(f"{where} have the shape {tensor.shape}; {len(order)} sides, none of them 0, are wanted")
        if tensor.dtype not in FLOATS:
            if not q:
                raise BadData(f"{where} are {tensor.dtype.lower()} without a quantisation scale")
            if len(q.scales) > 1 and q.axis != order[0]:
                raise BadData(f"{where} are quantised along dimension {q.axis}; it must be {order[0]}")
            if tensor.dtype != "UINT8" and q.zero_points.any():
                zero = q.zero_points[q.zero_points != 0][0]
                raise BadData(f"{where} are {tensor.dtype.lower()} with a zero point of {zero}; the format wants 0")
        return self._numbers(index, order=order)

    def bias(self, operator: Operator, count: int, place: str) -> Array | None:
        """The third input, (count,); None where the operator has none."""
        index = operator.input(2)
        if index < 0:
            return None
        tensor = self._tensor(index)
        where = f"{place}: its bias {tensor.name!r}"
        if not self.holds(index):
            raise BadData(f"{where} is computed; only constants are read")
        if math.prod(tensor.shape) != count:
            raise BadData(f"{where} has the shape {tensor.shape}; {count} numbers are wanted")
        if tensor.dtype not in FLOATS and tensor.quantisation.zero_points.any():
            raise BadData(f"{where} is {tensor.dtype.lower()} with a zero point; the format wants 0")
        return finite(self._numbers(index, self._bias_scales(operator, tensor, where)), where).reshape(count)

    def _bias_scales(self, operator: Operator, bias: Tensor, where: str) -> Quantisation:
        """The bias's own scales, with what can be put right put right."""
        q = bias.quantisation
        if bias.dtype in FLOATS:
            return q
        if not q:
            fed, weight = (self._tensor(operator.input(side)).quantisation for side in (0, 1))
            if len(fed.scales) != 1 or not weight:
                raise BadData(f"{where} is {bias.dtype.lower()} without a quantisation scale")
            self.notes.append(f"{bias.name!r} has no scale; that of the input times that of the weights was taken")
            with np.errstate(over="ignore"):
                return Quantisation(fed.scales * weight.scales, q.zero_points)
        if len(q.scales) > 1 and q.axis != 0 and len(bias.shape) == 1:
            self.notes.append(f"{bias.name!r} is quantised along dimension {q.axis}; a bias has one side, 0 was taken")
            return replace(q, axis=0)
        return q

    def _numbers(self, index: int, scales: Quantisation | None = None, order: tuple[int, ...] = ()) -> Array:
        """float32 in the file's layout, or finite and in `order`; read once, as many operators may share it."""
        index = self._source.get(index, index)
        if scales is None and (index, order) in self._read:
            return self._read[index, order]
        tensor = self.file.tensors[index]
        where = f"{self.where}: constant {tensor.name!r}"
        if tensor.is_sparse:
            raise BadData(f"{where} is sparse; only whole tensors are read")
        raw = memoryview(b"") if tensor.data is None else tensor.data
        stored = stored_values(raw, tensor.dtype, tensor.shape, where=where)
        self._spent += stored.size
        if self._spent > min(MOST_NUMBERS, 4 * self.file.size_bytes):
            raise BadData(f"{where} and those before it hold more numbers than the file has room for")
        q = tensor.quantisation if scales is None else scales
        if tensor.dtype in FLOATS or not q:
            with np.errstate(over="ignore"):
                values = stored.astype(np.float32)
        else:
            values = dequantised(stored, checked(q, tensor.shape, where=where))
        if order:
            values = np.ascontiguousarray(finite(values, where).transpose(order))
        return values if scales is not None else self._read.setdefault((index, order), values)

    def _tensor(self, index: int) -> Tensor:
        return self.file.tensors[self._source.get(index, index)]


def finite(values: Array, where: str) -> Array:
    """`values`, all finite. Raises BadData."""
    if not np.isfinite(values).all():
        raise BadData(f"{where}: not every number is finite")
    return values
