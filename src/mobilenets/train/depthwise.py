"""Depthwise convolutions in training: kept in float32 under autocast, and their weight gradient by pairs of positions.

oneDNN's weight gradient of a depthwise convolution falls off a cliff where the map is small and the kernel large. One
thread of an EPYC (Zen 3), torch 2.12, float32, channels-last: 960 channels, 5x5 on 4x4, batch 32: 32.7 ms, where the
input's gradient takes 1.0 ms; 288 channels, 5x5, 4x4 to 2x2, batch 64: 42 ms. On maps that small all products of an
input position and an output position, summed over the batch, are one small matrix product per channel, and each kernel
weight is the sum of some of them: 1.5 and 1.4 ms. Which way is faster is measured per layer, on the machine.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from ..models.layers import SamePadConv2d

MOST_PAIRS = 4096
"""Pairs of positions (input x output) above which the products are certainly slower."""
GAIN = 1.2
"""How many times faster the pairs must be to be used: noise decides nothing."""
TRIES = 9

Forward = Callable[[Tensor], Tensor]


class _ByPairs(Function):
    """A depthwise convolution (groups = channels in = channels out, no bias) whose weight gradient goes by pairs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, dilation)
        return functional.conv2d(x, weight, None, stride, padding, dilation, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        dx = input_gradient(grad, x, weight, *ctx.geometry) if ctx.needs_input_grad[0] else None
        dw = weight_gradient(grad, x, weight, *ctx.geometry) if ctx.needs_input_grad[1] else None
        return dx, dw, None, None, None


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """torch's own."""
    dx: Tensor = _torch_gradients(grad, x, weight, stride, padding, dilation, [True, False, False])[0]
    return dx


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """The same as torch's to rounding, by pairs of positions.

    Shapes: grad (N, C, h', w'), x (N, C, h, w), weight (C, 1, k, k) -> (C, 1, k, k).
    Cost: C * h*w * h'*w' * (N + k*k) multiply-adds.
    """
    n, channels, height, width = x.shape
    places, outputs = height * width, grad.shape[2] * grad.shape[3]
    # (C, N, positions): a plain transpose of channels-last memory.
    left = x.permute(0, 2, 3, 1).reshape(n * places, channels).t().contiguous().view(channels, n, places)
    right = grad.permute(0, 2, 3, 1).reshape(n * outputs, channels).t().contiguous().view(channels, n, outputs)
    products = torch.bmm(left.transpose(1, 2), right).view(channels, places * outputs)
    chosen = _membership((height, width), tuple(grad.shape[2:]), tuple(weight.shape[2:]), stride, padding, dilation)
    return (products @ chosen).view_as(weight)


@lru_cache(maxsize=256)
def _membership(
    size: tuple[int, int], out: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int, dilation: int
) -> Tensor:
    """float32 (h*w * h'*w', k*k): 1 where an input and an output position meet at a place of the kernel."""
    axes = []
    for length, reached, taps in zip(size, out, kernel, strict=True):
        read = torch.arange(reached)[:, None] * stride - padding + torch.arange(taps)[None] * dilation  # (h', k)
        axes.append((torch.arange(length)[:, None, None] == read[None]).float())  # (h, h', k)
    both = torch.einsum("hpi,wqj->hwpqij", *axes)
    return both.reshape(size[0] * size[1] * out[0] * out[1], kernel[0] * kernel[1])


def _torch_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int, wanted: list[bool]
) -> Any:
    geometry = [[value, value] for value in (stride, padding, dilation)]
    return torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, False, [0, 0], x.shape[1], wanted)


def depthwise_layers(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The depthwise convolutions by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels
    }


def _geometry(module: nn.Conv2d) -> tuple[int, int, int] | None:
    """(stride, padding, dilation) where the pairs can do it: square, no bias, one output per input channel, and no
    padding that depends on the picture."""
    padding = module.padding
    if (
        isinstance(module, SamePadConv2d)
        or isinstance(padding, str)
        or module.bias is not None
        or module.out_channels != module.in_channels
    ):
        return None
    pairs = (module.stride, padding, module.dilation)
    if module.padding_mode != "zeros" or any(a != b for a, b in pairs):
        return None
    return module.stride[0], padding[0], module.dilation[0]


def faster_by_pairs(network: nn.Module, images: Tensor) -> tuple[str, ...]:
    """Names of the depthwise convolutions of `network` whose weight gradient is faster by pairs, timed one by one.

    Shapes: images float32 (N, C, h, w), a batch as training will have it. Runs `network` forward once, in eval mode.
    """
    sizes: dict[str, tuple[Tensor, Tensor]] = {}
    layers = {n: m for n, m in depthwise_layers(network).items() if _geometry(m) is not None and max(m.kernel_size) > 1}

    def seen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if inputs[0][0, 0].numel() * output[0, 0].numel() <= MOST_PAIRS:
                sizes[name] = inputs[0].detach(), output.detach()

        return hook

    handles = [module.register_forward_hook(seen(name)) for name, module in layers.items()]
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(images.contiguous(memory_format=torch.channels_last))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    known: dict[object, bool] = {}
    for name, (x, y) in sizes.items():
        key = (x.shape, layers[name].kernel_size, _geometry(layers[name]))
        if key not in known:
            known[key] = _pairs_win(layers[name], x, y)
        sizes[name] = (x, y)
    return tuple(n for n, (x, _) in sizes.items() if known[(x.shape, layers[n].kernel_size, _geometry(layers[n]))])


def _pairs_win(module: nn.Conv2d, x: Tensor, grad: Tensor) -> bool:
    geometry = _geometry(module)
    assert geometry is not None
    weight = module.weight.detach()

    def by_torch() -> None:
        _torch_gradients(grad, x, weight, *geometry, [False, True, False])

    def by_pairs() -> None:
        weight_gradient(grad, x, weight, *geometry)

    best = {by_torch: float("inf"), by_pairs: float("inf")}
    for turn in range(TRIES + 1):
        for way in best:
            start = perf_counter()
            way()
            if turn:
                best[way] = min(best[way], perf_counter() - start)
    return best[by_torch] > GAIN * best[by_pairs]


def depthwise_forwards(network: nn.Module, *, float32: bool, by_pairs: Collection[str]) -> dict[nn.Module, Forward]:
    """Other forward functions for some depthwise convolutions: out of autocast (all of them), by pairs (the named)."""
    return {
        module: _forward(module, float32=float32, by_pairs=name in by_pairs)
        for name, module in depthwise_layers(network).items()
        if float32 or name in by_pairs
    }


def _forward(module: nn.Conv2d, *, float32: bool, by_pairs: bool) -> Forward:
    geometry = _geometry(module) if by_pairs else None

    def plain(x: Tensor) -> Tensor:
        if geometry is not None:
            y: Tensor = _ByPairs.apply(x, module.weight, *geometry)  # type: ignore[no-untyped-call]
        else:
            y = type(module).forward(module, x)  # its own padding included
        return y

    def in_float32(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return plain(x.float())

    return in_float32 if float32 else plain


@contextmanager
def replaced(forwards: dict[nn.Module, Forward]) -> Iterator[None]:
    """Within the block these modules compute by these functions; names and parameters stay as they are."""
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward  # an attribute of the instance hides the class's method
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__["forward"]
