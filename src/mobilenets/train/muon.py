"""Muon for pointwise convolutions: the momentum, with all of its singular values made about 1, is the update.

A MobileNet's weights are nearly all in pointwise convolutions, which are matrices. Torch's own Muon takes parameters
of two dimensions only, and these have four. Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon (the
iteration and its coefficients); Liu et al. 2025, arXiv:2502.16982, section 2.2 (the factor by which rate and weight
decay of AdamW serve).
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
RMS = 0.2
"""Root mean square of AdamW's updates, which the factor matches."""


class MuonAdamW(torch.optim.AdamW):
    """Muon with Nesterov momentum for the parameters of groups whose "pointwise" is true, AdamW for the others'.

    Shapes: weights of a pointwise group (out, in, 1, 1), float32.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        betas: tuple[float, float],
        fused: bool,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, fused=fused)
        self.momentum = momentum
        # Fused AdamW unscales float16 gradients inside its kernel, which Muon's part never sees: let the scaler do it.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        groups = self.param_groups
        for group in groups:
            if group["pointwise"]:
                self._turn(group)
        self.param_groups = [group for group in groups if not group["pointwise"]]
        try:
            loss: float | None = super().step(closure)
            return loss
        finally:
            self.param_groups = groups

    def _turn(self, group: dict[str, Any]) -> None:
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in moved:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients: list[Tensor] = [parameter.grad for parameter in moved]
        momenta: list[Tensor] = [self.state[parameter]["momentum"] for parameter in moved]
        torch._foreach_lerp_(momenta, gradients, 1.0 - self.momentum)
        ahead = torch._foreach_lerp(gradients, momenta, self.momentum)
        torch._foreach_mul_(moved, 1.0 - group["lr"] * group["weight_decay"])
        for parameter, direction in zip(moved, ahead, strict=True):
            factor = RMS * math.sqrt(max(parameter.shape[:2]))
            parameter.add_(orthogonal(direction.flatten(1)).view_as(parameter), alpha=-group["lr"] * factor)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V' of `matrix` = U S V', singular values between 0.7 and 1.2, by Newton-Schulz iteration; (m, n)."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        square = x @ x.t()
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x
