"""What a network costs, computed by walking its spec: no module is built, no torch is loaded."""

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:
    from .budget import ALPHAS, SIDES_PX, Fitting, fitting_networks
    from .costs import Cost, LayerCost, Precision, cost
    from .counts import StepCount, count_step

__all__ = [
    "ALPHAS",
    "SIDES_PX",
    "Cost",
    "Fitting",
    "LayerCost",
    "Precision",
    "StepCount",
    "cost",
    "count_step",
    "fitting_networks",
]  # fmt: skip

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("ALPHAS", "Fitting", "SIDES_PX", "fitting_networks"), ".budget"),
        **dict.fromkeys(("Cost", "LayerCost", "Precision", "cost"), ".costs"),
        **dict.fromkeys(("StepCount", "count_step"), ".counts"),
    },
)
