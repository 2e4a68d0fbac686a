"""The peers that `deployed.py` and `litert_peers.py` share: timm's seven networks with the same random weights."""

import torch
from torch import nn

NETWORKS = (
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    "mobilenetv4_hybrid_medium",
)
SIDE_PX = 224


def filled(model: nn.Module) -> nn.Module:
    """The same numbers every time: drawn from one seed, the statistics those of one batch of noise."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, mode="fan_out" if parameter.dim() == 4 else "fan_in")
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.6, 1.2)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 128, 128))
    return model.eval()
