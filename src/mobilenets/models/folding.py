"""Fold: batch norms and layer scales go into the convolution before them. The answer stays, in fewer steps."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..specs.transform import folded
from .arrays import COUNTER, load_exact
from .attention import MobileMQA
from .blocks import Block
from .layers import ConvNorm, LayerScale
from .network import Network


@torch.no_grad()
def fold(network: Network) -> Network:
    """A copy of `network` whose convolutions have biases and no norms, in evaluation mode; its spec says so.

    w' = w * g / sqrt(v + eps), b' = (b - m) * g / sqrt(v + eps) + beta, then both times the layer scale where one
    follows; computed in float64. The norm in front of attention stays: nothing precedes it to fold it into.
    """
    state = {k: v for k, v in network.state_dict().items() if not k.endswith(COUNTER)}
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm) and "norm" in module._modules:
            state = {k: v for k, v in state.items() if not k.startswith(f"{name}.norm.")}
            state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = _folded(module)
    for name, scale, tensors in _scales(network):
        gamma = scale.gamma.double()
        del state[f"{name}.scale.gamma"]
        for tensor in tensors:
            value = state[f"{name}.{tensor}"]
            state[f"{name}.{tensor}"] = (value.double() * gamma.reshape(-1, *[1] * (value.dim() - 1))).to(value.dtype)
    first = next(network.parameters())
    copy = Network(folded(network.spec)).to(device=first.device, dtype=first.dtype)
    load_exact(copy, state)
    return copy.eval()


def _folded(module: ConvNorm) -> tuple[Tensor, Tensor]:
    conv, norm = module.conv, module.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = torch.zeros_like(factor) if conv.bias is None else conv.bias.double()
    bias = (bias - norm.running_mean.double()) * factor + norm.bias.double()
    weight = conv.weight.double() * factor[:, None, None, None]
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def _scales(network: nn.Module) -> Iterator[tuple[str, LayerScale, tuple[str, ...]]]:
    """Every layer scale with its block's name and the tensors of the block that it can go into."""
    for name, module in network.named_modules():
        if isinstance(module, Block) and isinstance(scale := module._modules.get("scale"), LayerScale):
            if isinstance(module._modules.get("attention"), MobileMQA):
                yield name, scale, ("attention.project.weight",)
            else:
                project = module._modules["project"]
                assert isinstance(project, ConvNorm)
                biased = "norm" in project._modules or project.conv.bias is not None
                yield name, scale, ("project.conv.weight", *(("project.conv.bias",) if biased else ()))
