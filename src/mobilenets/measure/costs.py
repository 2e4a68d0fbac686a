"""The cost of a spec at any image size, without building it: parameters, MACs, flash, peak and training memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import SpecError
from ..records import ActivationMB, FlashMB
from ..specs.spec import Spec, check_size
from ..specs.steps import AttentionStep, ConvStep, Pair, PoolStep, ScaleStep, SqueezeStep, Step
from .counts import StepCount, count_step
from .memory import moment, peak, training_elements
from .walk import Placed, walk

Precision = Literal["float32", "float16", "int8"]
"""Of a deployed file. int8: weights and activations of one byte; a bias of 32 bits and a float32 scale per channel."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One step of the network in execution order.

    name: "blocks.3.dw"; size_px: (h, w) of its output; activation_elements: numbers alive while it runs, a waiting
    residual input included.
    """

    name: str
    kind: str
    c_in: int
    c_out: int
    kernel: Pair
    stride: Pair
    size_px: Pair
    params: int
    macs: int
    activation_elements: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs for one image of resolution_px (h, w).

    params and macs: exact, as counts.py says; norm_params: the part of params in batch norms, which some sources leave
    out. flash_mb: weight bytes of a deployed file, norms folded; no graph, no code. peak_activation_mb: the most
    bytes of activations alive at once, as memory.py says, in the moment that `peak_layer` names.
    training_mb_per_image: float32 activations that an image keeps for the backward pass; training_mb_fixed: float32
    weights, gradients and the two moments of AdamW.
    """

    name: str
    resolution_px: Pair
    params: int
    norm_params: int
    macs: int
    flash_mb: FlashMB
    peak_activation_mb: ActivationMB
    peak_layer: str
    training_mb_per_image: float
    training_mb_fixed: float
    layers: tuple[LayerCost, ...]


def cost(spec: Spec, *, resolution_px: tuple[int, int] | None = None) -> Cost:
    """The cost of `spec` for one image, at its own resolution or another (h, w).

    Raises: SpecError for an image that is too small for the network.
    """
    size = resolution_px or spec.resolution_px
    if min(size) < 1:
        raise SpecError(f"{spec.name}: resolution_px must be positive, not {size}")
    check_size(spec, size)
    placed = tuple(walk(spec, size))
    counts = [count_step(p.step, p.size_in) for p in placed]
    moments = [moment(p) for p in placed]
    highest = peak(placed, moments)
    params = sum(c.params for c in counts)
    kept = training_elements(placed, spec.in_channels * size[0] * size[1])
    return Cost(
        name=spec.name,
        resolution_px=size,
        params=params,
        norm_params=sum(c.norm_params for c in counts),
        macs=sum(c.macs for c in counts),
        flash_mb=FlashMB(
            _flash_bytes(counts, "float32") / 1e6,
            _flash_bytes(counts, "float16") / 1e6,
            _flash_bytes(counts, "int8") / 1e6,
        ),
        peak_activation_mb=ActivationMB(4 * highest.elements / 1e6, highest.elements / 1e6),
        peak_layer=highest.name,
        training_mb_per_image=4 * kept / 1e6,
        training_mb_fixed=16 * params / 1e6,
        layers=tuple(_layer(p, c, m.elements) for p, c, m in zip(placed, counts, moments, strict=True)),
    )


def _flash_bytes(counts: Sequence[StepCount], precision: Precision) -> int:
    weights, biases = sum(c.weights for c in counts), sum(c.biases for c in counts)
    match precision:
        case "float32":
            return 4 * (weights + biases)
        case "float16":
            return 2 * (weights + biases)
        case "int8":
            return weights + 8 * biases


def _layer(placed: Placed, count: StepCount, alive: int) -> LayerCost:
    step = placed.step
    windowed = step if isinstance(step, (ConvStep, PoolStep)) else None
    return LayerCost(
        name=placed.name,
        kind=_kind(placed.name, step),
        c_in=placed.c_in,
        c_out=placed.c_out,
        kernel=windowed.kernel if windowed else (1, 1),
        stride=windowed.stride if windowed else (1, 1),
        size_px=placed.size_out,
        params=count.params,
        macs=count.macs,
        activation_elements=alive,
    )


def _kind(name: str, step: Step) -> str:
    match step:
        case ConvStep():
            if name == "classifier":
                return "linear"
            if step.is_depthwise:
                return "depthwise"
            if step.kernel == (1, 1) and step.groups == 1:
                return "pointwise"
            return "convolution"
        case SqueezeStep():
            return "squeeze-and-excite"
        case AttentionStep():
            return "attention"
        case ScaleStep():
            return "layer scale"
        case PoolStep():
            return f"{step.kind} pooling"
