"""One module per activation value of `specs.activation`. In place where that loses nothing."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..specs.activation import Activation, ClippedRelu, HardSigmoid, HardSwish, LeakyRelu, PRelu


class ClampedLine(nn.Module):
    """min(max(slope * x + offset, 0), ceiling), times x where `times_x`: hard sigmoid and hard swish of any numbers."""

    def __init__(self, act: HardSigmoid | HardSwish) -> None:
        super().__init__()
        self.slope, self.offset, self.ceiling = act.slope, act.offset, act.ceiling
        self.times_x = isinstance(act, HardSwish)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.clamp(x * self.slope + self.offset, 0.0, self.ceiling)
        return x * gate if self.times_x else gate

    def extra_repr(self) -> str:
        return f"slope={self.slope:g}, offset={self.offset:g}, ceiling={self.ceiling:g}, times_x={self.times_x}"


class LeanHardswish(nn.Hardswish):
    """h-swish that overwrites its input where no gradient will ask for it (the gradient needs the input)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x, inplace=not torch.is_grad_enabled())


class _Relu6(torch.autograd.Function):
    """ReLU6 in place whose gradient reads the output, which the next convolution keeps anyway.

    PyTorch's own reads the input, for which it keeps a copy of the map: a third of what V2 keeps for training.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_(0.0, 6.0)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, y, 0.0, 6.0)
        return passed


class LeanReLU6(nn.ReLU6):
    """min(max(x, 0), 6) in place, keeping nothing of its own for training."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _Relu6.apply(x)  # type: ignore[no-any-return, no-untyped-call]  # torch's stub has no types here
        return F.relu6(x, inplace=not torch.compiler.is_exporting())  # in place, an export takes twice as long


def activation(act: Activation, channels: int) -> nn.Module | None:
    """The module of `act` on a map of `channels`; None for "none"."""
    match act:
        case "none":
            return None
        case "relu":
            return nn.ReLU(inplace=True)
        case "relu6":
            return LeanReLU6(inplace=True)
        case "hard_swish":
            return LeanHardswish()
        case "hard_sigmoid":
            return nn.Hardsigmoid()
        case "swish":
            return nn.SiLU()
        case "sigmoid":
            return nn.Sigmoid()
        case "gelu":
            return nn.GELU()
        case "tanh":
            return nn.Tanh()
        case ClippedRelu():
            return nn.Hardtanh(0.0, act.ceiling, inplace=True)
        case LeakyRelu():
            return nn.LeakyReLU(act.slope, inplace=act.slope > 0)
        case PRelu():
            return nn.PReLU(1 if act.shared else channels)
        case HardSigmoid() | HardSwish():
            return ClampedLine(act)
