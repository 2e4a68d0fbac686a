"""The optimizer of a recipe over a network's parameters, and its state as plain tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import CheckpointMismatch
from .muon import MuonAdamW
from .recipe import SGD, AdamW, Muon, Recipe, RMSprop

BACKBONE = "backbone."
"""Parameters of that prefix get the backbone's rate; `models.Network` and every task's network name them so."""


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over `network`, fused where torch has it.

    Groups: backbone or not, decayed or not, and for Muon pointwise or not. Each group's "factor" is what the scheduled
    rate is multiplied with. Norms, biases and other vectors are never decayed (style of every source since Goyal et al.
    2017); parameters of a frozen backbone (`recipe.backbone_lr` 0) stop requiring gradients.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    pointwise = _pointwise_weights(network) if isinstance(recipe.optimizer, Muon) else set()
    for name, parameter in network.named_parameters():
        below = name.startswith(BACKBONE)
        if below and recipe.backbone_lr == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            groups.setdefault((below, _decays(parameter, recipe), id(parameter) in pointwise), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "factor": recipe.backbone_lr if below else 1.0,
            "pointwise": matrices,
        }
        for (below, decays, matrices), parameters in groups.items()
    ]
    device = next(network.parameters()).device.type
    fused = device in ("cpu", "cuda")
    match recipe.optimizer:
        case AdamW(beta1, beta2, eps):
            return torch.optim.AdamW(settings, lr=recipe.lr, betas=(beta1, beta2), eps=eps, fused=fused)
        case Muon(momentum, beta1, beta2):
            return MuonAdamW(settings, lr=recipe.lr, momentum=momentum, betas=(beta1, beta2), fused=fused)
        case SGD(momentum, nesterov):
            return torch.optim.SGD(settings, lr=recipe.lr, momentum=momentum, nesterov=nesterov, fused=fused)
        case RMSprop(decay, momentum, eps):
            return torch.optim.RMSprop(settings, lr=recipe.lr, alpha=decay, momentum=momentum, eps=eps, foreach=True)


def _decays(parameter: Tensor, recipe: Recipe) -> bool:
    depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
    return parameter.ndim > 1 and (recipe.decay_depthwise or not depthwise)


def _pointwise_weights(network: nn.Module) -> set[int]:
    """id() of the weights of 1x1 convolutions between channels with a norm behind them; those of squeeze-and-excite
    have a bias instead."""
    return {
        id(m.weight)
        for m in network.modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1 and m.bias is None
    }


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """`lr` times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as tensors named "place of the parameter/what"; empty before the first step."""
    return {
        f"{place}/{name}": value
        for place, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_arrays` gave. Raises CheckpointMismatch where it belongs to other parameters."""
    parameters = _parameters(optimizer)
    for key, value in arrays.items():
        place, _, name = key.partition("/")
        if not place.isdigit() or int(place) >= len(parameters):
            raise CheckpointMismatch(f"optimizer state {key!r}: the network has {len(parameters)} trained parameters")
        parameter = parameters[int(place)]
        if value.ndim and value.shape != parameter.shape:
            raise CheckpointMismatch(
                f"optimizer state {key!r}: want {tuple(parameter.shape)}, file has {tuple(value.shape)}"
            )
        # Laid out in memory as the parameter is, so that fused kernels see what they saw before.
        kept = torch.empty_like(parameter).copy_(value) if value.ndim else value.to(_counter_device(optimizer, value))
        optimizer.state[parameter][name] = kept.detach()


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _counter_device(optimizer: torch.optim.Optimizer, value: Tensor) -> torch.device:
    """Step counters live on the parameters' device in fused kernels, on the CPU elsewhere."""
    fused = bool(optimizer.param_groups[0].get("fused"))
    return _parameters(optimizer)[0].device if fused else value.device
