"""Mobile multi-query attention: Qin et al. 2024, arXiv:2404.10518, section 5, equation 2."""

import torch
from torch import Tensor, nn

from ..specs.spec import Norm
from ..specs.steps import AttentionStep
from .layers import ConvNorm


class MobileMQA(nn.Module):
    """Batch norm, then attention of `heads` queries over one key and one value. Shape (N, C, H, W) is kept.

    All heads share key and value, so the query heads join the token axis and both products are plain batched matmuls,
    (N, HW*heads, d) x (N, d, M) and (N, HW*heads, M) x (N, M, d) with M = HW / kv_stride^2. The key is used as the
    convolution leaves it, channels first, so that engines see no transpose and no matmul with a made-up weight.
    """

    def __init__(self, step: AttentionStep, norm: Norm) -> None:
        super().__init__()
        c, d = step.channels, step.key_dim
        self.heads, self.key_dim = step.heads, d
        self.norm = nn.BatchNorm2d(c, norm.eps, norm.momentum)
        self.query = nn.Conv2d(c, step.heads * d, 1, bias=False)
        self.key = _projection(step, norm)
        self.value = _projection(step, norm)
        self.project = nn.Conv2d(step.heads * d, c, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        x = self.norm(x)
        query = self.query(x).permute(0, 2, 3, 1).reshape(n, h * w * self.heads, self.key_dim)
        key = self.key(x).flatten(2)
        value = self.value(x).flatten(2).transpose(1, 2)
        mixed = torch.bmm(torch.bmm(query * self.key_dim**-0.5, key).softmax(-1), value)
        out: Tensor = self.project(mixed.reshape(n, h, w, self.heads * self.key_dim).permute(0, 3, 1, 2))
        return out


def _projection(step: AttentionStep, norm: Norm) -> nn.Sequential:
    """C channels to one head's d, read at 1 / kv_stride where that is not 1."""
    layers = nn.Sequential()
    if step.kv_stride > 1:
        layers.add_module("reduce", ConvNorm(step.reduction("reduce"), norm))
    layers.add_module("project", nn.Conv2d(step.channels, step.key_dim, 1, bias=False))
    return layers
