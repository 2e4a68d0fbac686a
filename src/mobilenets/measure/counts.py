"""Parameters and MACs of one step: the numbers that every table of costs is added up from.

Counted as MACs: convolutions, linear layers and the two attention products. Not counted: norms, activations, biases,
pooling, softmax, gates' multiplications, layer scales and residual additions. Counted as parameters: weights, biases,
both affine vectors of a batch norm, PReLU's slopes, layer scales; never running statistics.
"""

from dataclasses import dataclass

from ..specs.activation import slopes_learned
from ..specs.steps import AttentionStep, ConvStep, Pair, PoolStep, ScaleStep, SqueezeStep, Step, map_size


@dataclass(frozen=True, slots=True)
class StepCount:
    """What one step adds.

    weights: parameters that a deployed file keeps at the weights' precision; biases: those it keeps as biases once
    norms are folded into their convolutions; params: trainable parameters; norm_params: the part of these in batch
    norms; macs: multiply-adds for one image.
    """

    weights: int = 0
    biases: int = 0
    params: int = 0
    norm_params: int = 0
    macs: int = 0


def count_step(step: Step, size_px: Pair) -> StepCount:
    """What `step` costs where its input map is of `size_px` (h, w)."""
    h, w = map_size(step, size_px)
    match step:
        case ConvStep():
            return _conv(step, h * w)
        case SqueezeStep():
            weights = 2 * step.channels * step.c_squeeze
            slopes = slopes_learned(step.act, step.c_squeeze) + slopes_learned(step.gate, step.channels)
            biases = step.channels + step.c_squeeze
            return StepCount(weights + slopes, biases, weights + biases + slopes, 0, weights)
        case AttentionStep():
            return _attention(step, h, w)
        case ScaleStep():
            return StepCount(step.channels, 0, step.channels, 0, 0)
        case PoolStep():
            return StepCount()


def kv_size(step: AttentionStep, size_px: Pair) -> Pair:
    """(h, w) of the map that keys and values are read from."""
    return map_size(step.reduction("key"), size_px) if step.kv_stride > 1 else size_px


def _conv(step: ConvStep, cells: int) -> StepCount:
    weights = step.kernel[0] * step.kernel[1] * step.c_in // step.groups * step.c_out
    norm = 2 * step.c_out if step.norm else 0
    bias = step.c_out if step.bias else 0
    slopes = slopes_learned(step.act, step.c_out)
    biases = step.c_out if step.norm or step.bias else 0
    return StepCount(weights + slopes, biases, weights + norm + bias + slopes, norm, weights * cells)


def _attention(step: AttentionStep, h: int, w: int) -> StepCount:
    c, d, q = step.channels, step.key_dim, step.heads * step.key_dim
    kv_h, kv_w = kv_size(step, (h, w))
    n, m = h * w, kv_h * kv_w
    strided = step.kv_stride > 1
    reduction = _conv(step.reduction("key"), m) if strided else StepCount()
    weights = 2 * c * q + 2 * c * d + 2 * reduction.weights
    norm = 2 * c + 2 * reduction.norm_params
    params = weights + norm + (2 * c if strided and not step.norm else 0)
    macs = 2 * n * c * q + 2 * m * c * d + 2 * reduction.macs + 2 * n * m * q
    return StepCount(weights + 2 * c, 2 * reduction.biases, params, norm, macs)
