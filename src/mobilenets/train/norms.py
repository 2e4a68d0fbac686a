"""Batch norm in a run: its momentum, frozen statistics, statistics computed anew, and the gap between its two modes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .optimizers import BACKBONE
from .recipe import Recipe

FORGETS_IN = 0.1
"""Share of a run after which the running statistics hold at most 1 % of what they started from."""


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The modules that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def norm_momentum(recipe: Recipe, *, own: float, steps: int) -> float:
    """PyTorch's momentum for a run of `steps`: the recipe's, or the network's own raised for short runs.

    A network made for 500,000 steps (TensorFlow decay 0.997) never forgets its initial statistics in 500, and then
    answers in eval mode by chance what it answers right in training mode.
    """
    if recipe.norm_momentum is not None:
        return recipe.norm_momentum
    quick: float = 1.0 - 0.01 ** (1.0 / max(1.0, FORGETS_IN * steps))
    return max(own, min(0.1, quick))


@contextmanager
def run_momentum(network: nn.Module, recipe: Recipe, *, steps: int) -> Iterator[None]:
    """Every batch norm has the momentum of `norm_momentum` within the block."""
    norms = batch_norms(network)
    own = [norm.momentum for norm in norms]
    for norm, momentum in zip(norms, own, strict=True):
        norm.momentum = norm_momentum(recipe, own=0.1 if momentum is None else momentum, steps=steps)
    try:
        yield
    finally:
        for norm, momentum in zip(norms, own, strict=True):
            norm.momentum = momentum


def train_mode(network: nn.Module, recipe: Recipe) -> None:
    """Training mode, with batch norms kept in eval mode where their statistics, or the whole backbone, are frozen."""
    network.train()
    for name, module in network.named_modules():
        frozen = recipe.norm_statistics == "frozen" or (recipe.backbone_lr == 0 and name.startswith(BACKBONE))
        if frozen and isinstance(module, _BatchNorm):
            module.eval()


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """`network` in eval mode but for its batch norms, which use the batch's statistics and keep none of them."""
    norms = batch_norms(network)
    network.eval()
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            # Without running statistics eval mode uses the batch's (torch's documented behaviour).
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, var) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, var


@torch.no_grad()
def recompute_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over `batches` (float32 (n, C, h, w), equal n) of each one's own.

    Leaves `network` in eval mode. Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.2, whose averaged weights
    never saw statistics of their own.
    """
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
