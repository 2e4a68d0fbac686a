"""Networks whose batch norms have seen data: fresh ones answer every image with nearly zero, so all pairs agree."""

import torch
from torch import nn


@torch.no_grad()
def randomise(model: nn.Module, *, in_channels: int = 3, side_px: int = 96, seed: int = 0) -> nn.Module:
    """Draw affine parameters, layer scales and biases, fit the norms' statistics to noise, then disturb them.

    The fit keeps activations near one: without it a deep hybrid drives its softmax into chaos.
    """
    torch.manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 or name.endswith("gamma"):
            nn.init.uniform_(parameter, *((-0.3, 0.3) if name.endswith("bias") else (0.6, 1.2)))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(torch.randn(8, in_channels, side_px, side_px))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean += torch.empty_like(norm.running_mean).uniform_(-0.2, 0.2)
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25)).add_(0.02)
    return model.eval()


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest absolute difference relative to the largest of `a`."""
    return ((a - b).abs().max() / a.abs().max()).item()
