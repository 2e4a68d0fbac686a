"""One network under two sets of names: arrays taken from others' names into ours, and given back."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointMismatch, UsageError
from ...specs.spec import Spec
from .graph import Array
from .layout import Slot, slots

COUNTER = "num_batches_tracked"
"""PyTorch's count of batches in each norm; it changes no output."""
Shape = tuple[int, ...]


def their_name(name: str, modules: Mapping[str, str]) -> str:
    """Their name of the tensor that we call `name`: their module's, and the same last part."""
    module, _, leaf = name.rpartition(".")
    return f"{modules[module]}.{leaf}" if modules.get(module) else f"(no name for {name})"


def assign(spec: Spec, modules: Mapping[str, str], arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """The arrays of `spec` under our names, taken from `arrays` by `modules` (our module -> theirs).

    Shapes may differ in axes of length one. Raises: CheckpointMismatch, which names the first tensor and both shapes.
    """
    found: dict[str, Array] = {}
    for slot in slots(spec):
        key = their_name(slot.name, modules)
        if key not in arrays:
            raise CheckpointMismatch(f"{where}: no tensor {key!r}, which {spec.name} needs with shape {slot.shape}")
        array = arrays[key]
        if squeezed(array.shape) != squeezed(slot.shape):
            shapes = f"has shape {array.shape}, {spec.name} needs {slot.shape}"
            raise CheckpointMismatch(f"{where}: {key} {shapes} (as {slot.name})")
        found[slot.name] = np.ascontiguousarray(array, dtype=np.float32).reshape(slot.shape)
    return found


def renamed(
    spec: Spec,
    arrays: Mapping[str, NDArray[np.generic]],
    names: Mapping[str, str],
    their_shape: Callable[[Slot], Shape],
) -> dict[str, NDArray[np.generic]]:
    """The arrays of `spec` by `names` (ours -> theirs) in their shapes; every norm brings its counter, at 0.

    Raises: CheckpointMismatch where `arrays` are not those of `spec`.
    """
    found: dict[str, NDArray[np.generic]] = {}
    for slot in slots(spec):
        array = arrays.get(slot.name)
        if array is None or array.shape != slot.shape:
            has = "missing" if array is None else f"of shape {array.shape}"
            raise CheckpointMismatch(f"{spec.name}: {slot.name} is {has}, the network needs {slot.shape}")
        if slot.name not in names or names[slot.name].startswith("("):
            raise UsageError(f"{spec.name}: {slot.name} has no name in that library")
        found[names[slot.name]] = np.asarray(array).reshape(their_shape(slot))
        if slot.role == "variance":
            found[names[slot.name].removesuffix("running_var") + COUNTER] = np.array(0, np.int64)
    return found


def squeezed(shape: Shape) -> Shape:
    """A shape without its axes of length one."""
    return tuple(n for n in shape if n != 1)
