"""What is known of a tensor's form while a graph is read: its rank, where its channels are, how large its map is."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .graph import Array, Pads
from .operators import AnyArray

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Form:
    """rank: 0 where unknown. axis: the channels'. size: (h, w) of the map, 0 where unknown."""

    rank: int = 0
    axis: int = 1
    size: Size = (0, 0)

    @property
    def spatial(self) -> tuple[int, ...]:
        """The axes that are neither the batch nor the channels."""
        return tuple(i for i in range(1, self.rank) if i != self.axis)


UNKNOWN = Form()


def picture(size: Size = (0, 0)) -> Form:
    """A map (N, C, h, w)."""
    return Form(4, 1, size)


def window_size(size: Size, kernel: Size, stride: Size, dilation: Size, pads: Pads, *, up: bool = False) -> Size:
    """Sides of the map that a convolution or a pooling leaves; 0 where unknown or impossible. up: rounded up."""
    if pads == "same":
        return -(-size[0] // stride[0]), -(-size[1] // stride[1])
    top, left, bottom, right = (0, 0, 0, 0) if pads == "valid" else pads
    sides = []
    for side, k, s, d, pad in zip(size, kernel, stride, dilation, (top + bottom, left + right), strict=True):
        free = side + pad - (d * (k - 1) + 1)
        sides.append((-(-free // s) if up else free // s) + 1 if side and free >= 0 else 0)
    return sides[0], sides[1]


def transposed(form: Form, order: tuple[int, ...]) -> Form:
    """Axes put in another order; () turns them round. An order that can't be leaves an unknown form."""
    order = order or tuple(reversed(range(form.rank)))
    if sorted(order) != list(range(len(order))) or form.rank not in (0, len(order)) or form.axis not in order:
        return UNKNOWN
    at = [order.index(axis) for axis in form.spatial]
    size = form.size[::-1] if at != sorted(at) else form.size
    return Form(len(order), order.index(form.axis), size)


def reshaped(form: Form, target: tuple[int, ...] | None) -> Form:
    """Another shape, as far as its numbers tell where the channels are: beside two ones, else where they were."""
    if target is None:
        return UNKNOWN
    if len(target) != 4:
        return Form(len(target), 1)
    if target[2:] == (1, 1):
        return picture((1, 1))
    if target[1:3] == (1, 1):
        return Form(4, 3, (1, 1))
    return Form(4, form.axis if form.rank == 4 else 1)


def without_axes(form: Form, axes: tuple[int, ...]) -> Form:
    """Axes taken out."""
    if not form.rank:
        return UNKNOWN
    out = {axis % form.rank for axis in axes}
    if form.axis in out:
        return Form(form.rank - len(out))
    return Form(form.rank - len(out), form.axis - sum(axis < form.axis for axis in out))


def with_axes(form: Form, axes: tuple[int, ...]) -> Form:
    """Axes of one put in, as Unsqueeze counts them."""
    if not form.rank:
        return UNKNOWN
    rank = form.rank + len(axes)
    new = {axis % rank for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    if form.axis >= len(old):
        return Form(rank)
    axis = old[form.axis]
    return Form(rank, axis, (1, 1) if rank == 4 and new == {1, 2, 3} - {axis} else (0, 0))


def floats(array: AnyArray) -> Array:
    """The numbers as float32."""
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def beside(form: Form, constant: AnyArray) -> Array | None:
    """A constant of elementwise arithmetic with a tensor of this form: (), (c,) or (1, c, h, w); None where it is none.

    The constant is broadcast as numpy does. Where the rank is unknown, a vector is taken for one per channel.
    """
    value = floats(constant)
    if value.size == 1:
        return value.reshape(())
    if value.ndim == 1 and form.rank in (0, 2):
        return value
    rank, axis = (form.rank, form.axis) if form.rank else (4, 1)
    if value.ndim > rank:
        return None
    value = value.reshape((1,) * (rank - value.ndim) + value.shape)
    if value.shape[axis] == value.size:
        return value.reshape(-1)
    if rank != 4 or value.shape[0] != 1:
        return None
    return np.ascontiguousarray(np.moveaxis(value, axis, 1))
