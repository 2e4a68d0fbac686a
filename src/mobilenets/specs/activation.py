"""Activations as values: a plain name where the papers have one, a small value where a number comes with it.

ReLU6 is Sandler et al. 2018 (arXiv:1801.04381, section 3.3), h-swish and h-sigmoid Howard et al. 2019
(arXiv:1905.02244, section 5.2). The forms with numbers are what files of other engines hold.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import SpecError

PlainActivation = Literal["none", "relu", "relu6", "hard_swish", "hard_sigmoid", "swish", "sigmoid", "gelu", "tanh"]
PLAIN: tuple[PlainActivation, ...] = (
    "none", "relu", "relu6", "hard_swish", "hard_sigmoid", "swish", "sigmoid", "gelu", "tanh",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClippedRelu:
    """min(max(x, 0), ceiling): ReLU6 with another ceiling, as TensorFlow's RELU_N1_TO_1 kin and Caffe files have."""

    ceiling: float

    def __post_init__(self) -> None:
        _check_positive("ClippedRelu.ceiling", self.ceiling)


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where positive, slope * x elsewhere."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        _check_finite("LeakyRelu.slope", self.slope)


@dataclass(frozen=True, slots=True)
class PRelu:
    """LeakyRelu whose slope is learned, one per channel or one for all (`shared`); starts at 0.25."""

    shared: bool = False


@dataclass(frozen=True, slots=True)
class HardSigmoid:
    """min(max(slope * x + offset, 0), ceiling).

    The paper's is (1/6, 1/2, 1); slim's relu6(x + 3) * 0.16667 is (0.16667, 0.50001, 1.00002); PaddlePaddle's
    default is (0.2, 0.5, 1).
    """

    slope: float = 1 / 6
    offset: float = 0.5
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("HardSigmoid.slope", self.slope)
        _check_finite("HardSigmoid.offset", self.offset)
        _check_positive("HardSigmoid.ceiling", self.ceiling)


@dataclass(frozen=True, slots=True)
class HardSwish:
    """x times the hard sigmoid of these numbers; see `HardSigmoid`."""

    slope: float = 1 / 6
    offset: float = 0.5
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("HardSwish.slope", self.slope)
        _check_finite("HardSwish.offset", self.offset)
        _check_positive("HardSwish.ceiling", self.ceiling)


Activation: TypeAlias = PlainActivation | ClippedRelu | LeakyRelu | PRelu | HardSigmoid | HardSwish


def slopes_learned(act: Activation, channels: int) -> int:
    """How many parameters the activation has on a map of `channels`: PReLU's slopes, else none."""
    if not isinstance(act, PRelu):
        return 0
    return 1 if act.shared else channels


def check_activation(where: str, act: Activation) -> None:
    """Raises SpecError naming `where` for a word that is no activation."""
    if isinstance(act, str) and act not in PLAIN:
        raise SpecError(f"{where} must be one of {', '.join(PLAIN)} or an activation value, not {act!r}")
    if not isinstance(act, (str, ClippedRelu, LeakyRelu, PRelu, HardSigmoid, HardSwish)):
        raise SpecError(f"{where} must be an activation, not {act!r}")


def _check_finite(where: str, value: float) -> None:
    if not math.isfinite(value):
        raise SpecError(f"{where} must be a finite number, not {value!r}")


def _check_positive(where: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise SpecError(f"{where} must be a positive number, not {value!r}")
