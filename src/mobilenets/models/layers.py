"""Modules for the steps that a row lowers to: convolution with norm and activation, gate, layer scale, pooling."""

from math import comb

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..specs.spec import Norm
from ..specs.steps import ConvStep, Pair, PoolStep, SqueezeStep
from .activations import activation


def same_pads(size: Pair, kernel: Pair, stride: Pair, dilation: int = 1) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding as (left, right, top, bottom): ceil(side / stride) positions, the surplus after."""
    pads: list[int] = []
    for axis in (1, 0):
        side, s = size[axis], stride[axis]
        total = max((-(-side // s) - 1) * s + dilation * (kernel[axis] - 1) + 1 - side, 0)
        pads += [total // 2, total - total // 2]
    return pads[0], pads[1], pads[2], pads[3]


class SamePadConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding. (N, c_in, H, W) -> (N, c_out, ceil(H / s), ceil(W / s))."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        pads = same_pads(
            (h, w), (self.kernel_size[0], self.kernel_size[1]), (self.stride[0], self.stride[1]), self.dilation[0]
        )
        return super().forward(F.pad(x, pads))


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and activation, each where the step has it, as `conv`, `norm`, `act`.

    Shapes: float (N, c_in, H, W) -> (N, c_out, H', W'), see `specs.map_size`.
    """

    def __init__(self, step: ConvStep, norm: Norm) -> None:
        super().__init__()
        strided_same = step.padding == "same" and step.stride != (1, 1)
        padded = step.padding != "valid" and not strided_same
        pads = tuple(step.dilation * (k // 2) if padded else 0 for k in step.kernel)
        self.conv = (SamePadConv2d if strided_same else nn.Conv2d)(
            step.c_in,
            step.c_out,
            step.kernel,
            step.stride,
            padding=(pads[0], pads[1]),
            dilation=step.dilation,
            groups=step.groups,
            bias=step.bias,
        )
        if step.norm:
            self.norm = nn.BatchNorm2d(step.c_out, norm.eps, norm.momentum)
        act = activation(step.act, step.c_out)
        if act is not None:
            self.act = act


class SqueezeExcite(nn.Module):
    """Gate channels by their global mean (V3, section 5.3). Shape is kept."""

    def __init__(self, step: SqueezeStep) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(step.channels, step.c_squeeze, 1)
        self.act = activation(step.act, step.c_squeeze) or nn.Identity()
        self.expand = nn.Conv2d(step.c_squeeze, step.channels, 1)
        self.gate = activation(step.gate, step.channels) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * gate


class LayerScale(nn.Module):
    """Multiply each channel by a learned number. Shape is kept."""

    def __init__(self, channels: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels, 1, 1), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Pooling(nn.Module):
    """Maximum, mean of the real cells, or binomial blur. (N, C, H, W) -> (N, C, H', W'), see `specs.map_size`."""

    window: Tensor

    def __init__(self, step: PoolStep) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride, self.same = step.kind, step.kernel, step.stride, step.padding == "same"
        if step.kind == "blur":
            taps = [torch.tensor([float(comb(k - 1, i)) for i in range(k)]) / 2 ** (k - 1) for k in step.kernel]
            window = (taps[0][:, None] * taps[1][None, :]).expand(step.channels, 1, *step.kernel)
            self.register_buffer("window", window.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        if self.same:
            left, right, top, bottom = same_pads((h, w), self.kernel, self.stride)
        else:
            top = bottom = self.kernel[0] // 2 if self.kernel[0] % 2 else 0
            left = right = self.kernel[1] // 2 if self.kernel[1] % 2 else 0
        pads = (left, right, top, bottom)
        match self.kind:
            case "max":
                return F.max_pool2d(F.pad(x, pads, value=-torch.inf) if any(pads) else x, self.kernel, self.stride)
            case "blur":
                return F.conv2d(F.pad(x, pads), self.window, stride=self.stride, groups=x.shape[1])
            case "avg":
                if not any(pads):
                    return F.avg_pool2d(x, self.kernel, self.stride)
                real = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), self.kernel, self.stride)
                return F.avg_pool2d(F.pad(x, pads), self.kernel, self.stride) / real
