"""How many activations live at once when a network runs step by step, and how many training keeps per image.

The running network is the deployed one: norms, biases, activations and layer scales work inside their convolution;
every step writes a new buffer while its input and a waiting residual input stay; additions and gates write a new
buffer too. Weights and an engine's scratch are not counted. A runtime that works in place needs less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..specs.activation import LeakyRelu
from ..specs.steps import AttentionStep, ConvStep, PoolStep, ScaleStep, SqueezeStep
from .counts import kv_size
from .walk import Placed


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the run: the step (or the addition after it, "blocks.3.skip") and the numbers alive in it."""

    name: str
    elements: int


def moment(placed: Placed) -> Moment:
    """The step's own moment."""
    match placed.step:
        case ConvStep() | PoolStep():
            elements = placed.elements_in + placed.elements_out
        case SqueezeStep():
            elements = placed.elements_in + placed.elements_out + placed.c_in
        case ScaleStep():
            elements = placed.elements_in
        case AttentionStep():
            elements = placed.elements_in + _attention(placed.step, placed)
    return Moment(placed.name, placed.held + elements)


def peak(steps: Sequence[Placed], moments: Sequence[Moment]) -> Moment:
    """The moment in which most numbers are alive, of the steps' `moments` and the additions: the first of equals."""
    highest = moments[0]
    for placed, own in zip(steps, moments, strict=True):
        if own.elements > highest.elements:
            highest = own
        if placed.closes and 3 * placed.elements_out > highest.elements:
            highest = Moment(f"{placed.name.rpartition('.')[0]}.skip", 3 * placed.elements_out)
    return highest


def training_elements(steps: Sequence[Placed], image_elements: int) -> int:
    """Numbers that one image leaves for the backward pass, as PyTorch's autograd keeps them: each map that a later
    convolution reads, each input of a norm, and the inputs of activations whose slope is no function of their output.
    """
    return image_elements + sum(_kept(placed) for placed in steps)


def _kept(placed: Placed) -> int:
    out = placed.elements_out
    match placed.step:
        case ConvStep() as step:
            by_output = step.act in ("none", "relu", "relu6", "sigmoid", "tanh")
            by_output = by_output or isinstance(step.act, LeakyRelu)
            return out * (1 + step.norm + (not by_output))
        case SqueezeStep() as step:
            return out + 3 * step.channels + 2 * step.c_squeeze
        case ScaleStep():
            return out
        case PoolStep() as step:
            return out * (3 if step.kind == "max" else 1)
        case AttentionStep() as step:
            h, w = placed.size_in
            kv_h, kv_w = kv_size(step, (h, w))
            n, m, c, d, q = h * w, kv_h * kv_w, step.channels, step.key_dim, step.heads * step.key_dim
            reduced = 2 * 2 * m * c if step.kv_stride > 1 else 0
            return n * c + 2 * n * q + 2 * m * d + step.heads * n * m + reduced + out


def _attention(step: AttentionStep, placed: Placed) -> int:
    """Most numbers alive inside Mobile MQA beside its input."""
    h, w = placed.size_in
    kv_h, kv_w = kv_size(step, (h, w))
    n, m, c, d, q = h * w, kv_h * kv_w, step.channels, step.key_dim, step.heads * step.key_dim
    reduced = m * c if step.kv_stride > 1 else 0
    scores = step.heads * n * m
    return max(
        n * c + n * q + 2 * m * d + reduced,  # while the value is projected from the normed map
        n * q + 2 * m * d + scores,  # query x key, the value waiting
        2 * scores + m * d,  # softmax
        scores + m * d + n * q,  # weights x value
        2 * n * q,  # heads back to channels
        n * q + n * c,  # projection
    )
