"""Fold: every batch norm goes into the convolution before it, which gets a bias. The answer stays, in fewer steps."""

import torch
from torch import Tensor, nn

from ..specs.transform import folded
from .arrays import COUNTER, load_exact
from .layers import ConvNorm
from .network import Network


def fold(network: Network) -> Network:
    """A copy of `network` without batch norms behind convolutions, in evaluation mode; its spec says so.

    w' = w * g / sqrt(v + eps), b' = (b - m) * g / sqrt(v + eps) + beta, computed in float64. The norm in front of
    attention stays: nothing precedes it to fold it into.
    """
    state = {k: v for k, v in network.state_dict().items() if not k.endswith(COUNTER)}
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm) and isinstance(norm := module._modules.get("norm"), nn.BatchNorm2d):
            weight, bias = _folded(module.conv, norm)
            state = {k: v for k, v in state.items() if not k.startswith(f"{name}.norm.")}
            state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = weight, bias
    copy = Network(folded(network.spec)).to(next(network.parameters()).device)
    copy = copy.to(next(network.parameters()).dtype)
    load_exact(copy, state)
    return copy.eval()


@torch.no_grad()
def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.running_mean.new_zeros(()).double() if conv.bias is None else conv.bias.double()
    weight = conv.weight.double() * factor[:, None, None, None]
    bias = (bias - norm.running_mean.double()) * factor + norm.bias.double()
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)
