"""Weights as named arrays: taken out, put in exactly, and adapted to another number of input channels."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import CheckpointMismatch, UsageError

COUNTER = "num_batches_tracked"
"""PyTorch's count of batches in each norm: it changes no output, so it is neither written nor asked for."""


def state_arrays(model: nn.Module) -> dict[str, NDArray[np.generic]]:
    """Every parameter and statistic by its name, as arrays of their own on the CPU; bfloat16 comes out as float32."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, tensor in model.state_dict().items():
        if not name.endswith(COUNTER):
            tensor = tensor.detach().cpu()
            found[name] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()
    return found


def load_exact(
    model: nn.Module, arrays: Mapping[str, NDArray[np.generic] | Tensor], *, skip: frozenset[str] = frozenset()
) -> None:
    """Put `arrays` into `model`, whose names and shapes must agree but for those in `skip`, which keep their values.

    Raises: CheckpointMismatch, which shows the first name that differs; the model is then untouched.
    """
    state = {k: v for k, v in model.state_dict().items() if not k.endswith(COUNTER) and k not in skip}
    want = {k: tuple(v.shape) for k, v in state.items()}
    have = {k: tuple(v.shape) for k, v in arrays.items() if not k.endswith(COUNTER) and k not in skip}
    wrong = sorted(k for k in want.keys() | have.keys() if want.get(k) != have.get(k))
    if wrong:
        k = wrong[0]
        wanted, given = _shape(want.get(k)), _shape(have.get(k))
        raise CheckpointMismatch(f"{len(wrong)} tensors differ; {k}: the network has {wanted}, the weights {given}")
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(torch.as_tensor(arrays[name]))


def adapt_stem(
    weights: NDArray[np.generic], in_channels: int, how: Literal["sum", "mean"] = "sum"
) -> NDArray[np.generic]:
    """A stem's filters (c_out, c_in, kh, kw) for images of another number of channels.

    "sum": every channel gets the filters' sum / in_channels, so that a grey picture, alone or copied into every
    channel, is answered exactly as before; the choice for grey. "mean": the old channels keep their filters and each
    further one starts with their mean, the choice for colour with depth or infrared beside it; where there are fewer
    channels than before, each has the mean, and answers are weaker by that.

    Raises: UsageError for weights of another rank or no channel.
    """
    if weights.ndim != 4 or in_channels < 1:
        raise UsageError(f"stem weights need 4 axes, and at least one channel; got {weights.shape}, {in_channels}")
    c_in = weights.shape[1]
    if in_channels == c_in:
        return weights.copy()
    match how:
        case "sum":
            adapted = np.repeat(weights.sum(axis=1, keepdims=True) / in_channels, in_channels, axis=1)
        case "mean":
            mean = weights.mean(axis=1, keepdims=True)
            further = np.repeat(mean, in_channels - c_in if in_channels > c_in else in_channels, axis=1)
            adapted = np.concatenate((weights, further), axis=1) if in_channels > c_in else further
    return adapted.astype(weights.dtype)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(shape)
