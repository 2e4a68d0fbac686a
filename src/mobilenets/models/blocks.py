"""A row made into a module: its steps in order, and the input added where the row has a skip."""

from torch import Tensor, nn

from ..specs.rows import Row
from ..specs.spec import Spec
from ..specs.steps import AttentionStep, ConvStep, PoolStep, ScaleStep, SqueezeStep, Step
from .attention import MobileMQA
from .layers import ConvNorm, LayerScale, Pooling, SqueezeExcite


class DropPath(nn.Module):
    """Drop a residual branch for whole images with chance `rate` in training (Huang et al. 2016, arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1.0 - self.rate)
        return x * kept.div_(1.0 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


class Block(nn.Sequential):
    """One row: its steps as children under their own names, in order. (N, c_in, H, W) -> (N, c_out, H', W')."""

    def __init__(self, row: Row, c_in: int, spec: Spec, *, drop_path: float = 0.0) -> None:
        super().__init__()
        for step in row.steps(c_in, spec.padding):
            self.add_module(step.name, _module(step, spec))
        self.has_skip = row.has_skip(c_in)
        if self.has_skip and drop_path > 0:
            self.add_module("drop_path", DropPath(drop_path))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for module in self:
            y = module(y)
        return y.add_(x) if self.has_skip else y

    def read(self, x: Tensor, name: str, kept: dict[str, Tensor | None]) -> Tensor:
        """`forward` that also writes every tensor whose name `kept` lists: `name` and `name`.step."""
        y = x
        for step, module in self.named_children():
            y = module(y)
            if f"{name}.{step}" in kept:
                kept[f"{name}.{step}"] = y
        y = y + x if self.has_skip else y
        if name in kept:
            kept[name] = y
        return y


def _module(step: Step, spec: Spec) -> nn.Module:
    match step:
        case ConvStep():
            return ConvNorm(step, spec.norm)
        case SqueezeStep():
            return SqueezeExcite(step)
        case AttentionStep():
            return MobileMQA(step, spec.norm)
        case ScaleStep():
            return LayerScale(step.channels, step.init)
        case PoolStep():
            return Pooling(step)
