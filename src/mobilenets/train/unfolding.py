"""Batch norms put back into a network whose norms were folded into biases, as they are in files made for deployment.

The answer stays: each norm gets the statistics of its convolution on the training pictures, and scale and shift that
undo them. Trained on, the network then behaves as one with norms does: every channel has unit variance whatever scale
folding or quantisation left it with, so one learning rate suits all weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..data import Sample
from ..models import Network, build, load_exact, state_arrays
from ..models.layers import ConvNorm
from ..records import Preprocess
from ..specs import Pool, Spec
from ..specs.rows import Row
from .draws import Use, generator
from .outputs import HeldOut

DEAD = 1e-3
"""Standard deviation below which a channel is taken for constant: it is not enlarged to unit variance."""


def unfolded_spec(spec: Spec) -> Spec:
    """The same network with a batch norm where it has a bias; the inverse of `specs.folded` but for layer scales."""

    def with_norm(row: Row) -> Row:
        return row if isinstance(row, Pool) or row.norm != "bias" else replace(row, norm="batch")

    stem = replace(spec.stem, norm="batch") if spec.stem.norm == "bias" else spec.stem
    return replace(spec, stem=stem, rows=tuple(with_norm(row) for row in spec.rows))


@torch.no_grad()
def unfold(network: Network, batches: Iterable[Tensor]) -> Network:
    """A copy of `network` in eval mode with batch norms for biases, which answers as it does.

    With m and s the mean and standard deviation of a convolution's output (without its bias b) on `batches` of
    training pictures, w' = w / s, running mean m / s, running variance 1, scale s, shift b + m.

    Shapes: batches of float32 (n, C, h, w), on the network's device.
    """
    arrays = state_arrays(network)
    own = build(unfolded_spec(network.spec)).to(next(network.parameters()).device).eval()
    changed = {
        name: module
        for name, module in own.named_modules()
        if isinstance(module, ConvNorm) and "norm" in module._modules and f"{name}.norm.weight" not in arrays
    }
    state: dict[str, Tensor] = {key: torch.as_tensor(value) for key, value in arrays.items()}
    for name, module in changed.items():
        zeros = torch.zeros(module.norm.num_features)
        state[f"{name}.norm.bias"] = state.pop(f"{name}.conv.bias")
        state[f"{name}.norm.weight"] = torch.full_like(zeros, (1.0 + module.norm.eps) ** 0.5)
        state |= {f"{name}.norm.running_mean": zeros, f"{name}.norm.running_var": zeros + 1.0}
    load_exact(own, state)
    for name, (mean, variance) in _statistics(own, changed, batches).items():
        module = changed[name]
        scale = variance.sqrt().clamp_min(DEAD)
        module.conv.weight.div_(scale[:, None, None, None])
        module.norm.running_mean = mean / scale
        module.norm.running_var = variance / scale**2
        module.norm.weight.copy_(scale * (module.norm.running_var + module.norm.eps).sqrt())
        module.norm.bias.add_(mean)
    return own


def _statistics(
    network: nn.Module, modules: dict[str, ConvNorm], batches: Iterable[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance per channel of each convolution's output over all batches, float32 (C,)."""
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(modules, 0)

    def watch(name: str) -> RemovableHandle:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = output.double()
            found = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
            sums[name] = sums[name] + found if name in sums else found
            counts[name] += output.numel() // output.shape[1]

        return modules[name].conv.register_forward_hook(look)

    handles = [watch(name) for name in modules]
    try:
        for images in batches:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for name, (total, squares) in sums.items():
        mean = total / counts[name]
        found[name] = mean.float(), (squares / counts[name] - mean.square()).clamp_min(0.0).float()
    return found


def training_batches(samples: Sequence[Sample], record: Preprocess, *, most: int, seed: int) -> Iterator[Tensor]:
    """Up to `most` training pictures, drawn without replacement, as the deployed network will see them.

    Shapes: float32 (n, C, h, w), n at most 32.
    """
    rows = generator(seed, Use.SAMPLE).permutation(len(samples))[:most]
    for images, _ in HeldOut([samples[row] for row in rows], record).batches(32):
        yield images
