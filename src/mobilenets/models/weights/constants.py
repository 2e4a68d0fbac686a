"""Arithmetic on constants alone, done while a graph is read: casts, reshapes, dequantised weights, their scales.

Formats name these operators each in their own way; the readers' tables say which is which. What a file can make of its
constants is bounded by its size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import BadData
from .operators import AnyArray, Operator

Folder = Callable[[Operator, tuple[AnyArray | None, ...]], AnyArray | None]
"""(operator, its inputs, None where one is left out) -> the result; None where it can't be computed here."""
MOST_NUMBERS = 64
SMALL = 4096
"""Elements of a constant that may be larger than what it is made of: a shape, pads, a filled tensor."""


@dataclass(slots=True)
class Constants:
    """The constants of a file, those it computes included."""

    arrays: dict[str, AnyArray]
    folders: dict[str, Folder]
    budget_bytes: int

    @classmethod
    def of(cls, arrays: dict[str, AnyArray], folders: dict[str, Folder], file_bytes: int) -> "Constants":
        """Folding may make eight times the file (a byte becomes four, twice over), and some for small files."""
        return cls(dict(arrays), folders, 8 * file_bytes + (1 << 24))

    def absorb(self, operator: Operator) -> bool:
        """Compute `operator` if its inputs are constants. Raises: BadData for shapes that do not fit each other."""
        folder = self.folders.get(operator.kind)
        if folder is None or any(name and name not in self.arrays for name in operator.inputs):
            return False
        try:
            with np.errstate(all="ignore"):
                value = folder(operator, tuple(self.arrays.get(name) for name in operator.inputs))
        except (ValueError, OverflowError, TypeError, IndexError, ZeroDivisionError) as error:
            line = (str(error).splitlines() or ["?"])[0]
            raise BadData(f"{operator} of constants can't be computed: {line[:200]}") from None
        if value is None:
            return False
        self.budget_bytes -= value.nbytes
        if self.budget_bytes < 0:
            raise BadData(f"{operator}: its constants grow to many times the file")
        self.arrays[operator.output] = value
        return True


def arithmetic(kind: str) -> Folder:
    """add, sub, mul or div of two constants, whole numbers staying whole."""

    def fold(operator: Operator, inputs: tuple[AnyArray | None, ...]) -> AnyArray | None:
        left, right = inputs
        if left is None or right is None:
            return None
        if math.prod(np.broadcast_shapes(left.shape, right.shape)) > max(left.size, right.size, SMALL):
            return None
        result: AnyArray
        match kind:
            case "add":
                result = left + right
            case "sub":
                result = left - right
            case "mul":
                result = left * right
            case _:
                whole = np.issubdtype(left.dtype, np.integer)
                result = np.trunc(left / right).astype(left.dtype) if whole else left / right
        return result

    return fold


def reshape(array: AnyArray, target: tuple[int, ...], *, zero_copies: bool) -> AnyArray:
    """numpy's reshape; a 0 takes the side of the array where `zero_copies`."""
    shape = [array.shape[i] if side == 0 and zero_copies else side for i, side in enumerate(target)]
    return array.reshape(shape)


def whole(array: AnyArray | None) -> tuple[int, ...] | None:
    """A short constant as numbers: axes, pads, a shape; None where there is none. Raises: BadData for another one."""
    if array is None:
        return None
    if array.size > MOST_NUMBERS or not np.issubdtype(array.dtype, np.integer):
        raise BadData(f"axes, pads or a shape can't be {array.size} numbers of {array.dtype}")
    return tuple(int(value) for value in array.reshape(-1))


def filled(shape: tuple[int, ...], value: AnyArray) -> AnyArray | None:
    """A small tensor of one value; None for a large one."""
    if any(side < 0 for side in shape) or math.prod(shape) > SMALL:
        return None
    return np.full(shape, value.reshape(-1)[:1] if value.size else 0, value.dtype)


def chained(parts: tuple[AnyArray | None, ...], axis: int) -> AnyArray | None:
    """Small constants one after the other; None where one is left out or they are large."""
    present = [part for part in parts if part is not None]
    if len(present) < len(parts) or sum(part.size for part in present) > SMALL:
        return None
    return np.concatenate(present, axis)


def picked(array: AnyArray, indices: AnyArray, axis: int) -> AnyArray | None:
    """Elements of a small constant by their places."""
    if array.size * max(indices.size, 1) > SMALL:
        return None
    return np.take(array, indices.astype(np.int64), axis)
