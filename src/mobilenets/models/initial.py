"""The weights that training starts from."""

import math

from torch import nn

from .attention import MobileMQA


def initialise(network: nn.Module) -> None:
    """Fresh weights, in place.

    Convolutions: normal, variance 2 / (k * k * c_out / groups), He et al. 2015 (arXiv:1502.01852) by fan-out within a
    group, as TensorFlow's and timm's MobileNets start. (torchvision's fan-out ignores groups, so its depthwise weights
    start sqrt(C) times too small.) Attention projections: Xavier-uniform, as timm's `ix` weights. Classifier: normal,
    sigma 0.01. Biases 0, norms 1 and 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, MobileMQA):
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    nn.init.xavier_uniform_(conv.weight)
