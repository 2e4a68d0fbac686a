"""The operators of ONNX files that compute in integers (QOperator format, dynamic quantisation) as those of graph.py.

Weights and biases are dequantised; what is rounded on the way through the network is not rounded here.
Source: the ONNX specification (QLinearConv, ConvInteger and kin), and ONNX Runtime's own operators (com.microsoft).
"""

from typing import Literal

import numpy as np

from .assembly import Assembly, Made, Translate, dense, mean
from .graph import ActOp, ShapeOp, SoftmaxOp
from .onnx_constants import real
from .onnx_ops import conv
from .operators import AnyArray, Operator


def _real_input(a: Assembly, o: Operator, at: int, *, axis: int) -> AnyArray | None:
    """The constant input `at`, with its scale and zero point after it; None where it is computed."""
    stored = a.constant(o.input(at))
    return (
        None if stored is None else real(o, stored, a.constant(o.input(at + 1)), a.constant(o.input(at + 2)), axis=axis)
    )


def _real_bias(a: Assembly, o: Operator, at: int) -> AnyArray | None:
    """A bias of integers, whose scale is the input's times the weights'."""
    bias, x_scale, w_scale = a.constant(o.input(at)), a.constant(o.input(1)), a.constant(o.input(4))
    if bias is None or x_scale is None or w_scale is None or x_scale.size != 1:
        return None
    return real(o, bias.reshape(-1), (x_scale.reshape(-1) * w_scale.reshape(-1)), None, axis=0)


def _matmul(a: Assembly, o: Operator) -> Made:
    weight = _real_input(a, o, 3, axis=-1)
    return None if weight is None else dense(a.form(o.input(0)), weight.T)


def _gemm(a: Assembly, o: Operator) -> Made:
    is_transposed = o.integer("transB", 0) == 1
    weight = _real_input(a, o, 3, axis=0 if is_transposed else -1)
    if weight is None or o.integer("transA", 0) or (o.input(6) and a.constant(o.input(6)) is None):
        return None
    weight = weight if is_transposed else weight.T
    return dense(a.form(o.input(0)), weight * np.float32(o.number("alpha", 1.0)), _real_bias(a, o, 6))


def _conv(a: Assembly, o: Operator) -> Made:
    if o.input(8) and a.constant(o.input(8)) is None:
        return None
    return conv(a, o, _real_input(a, o, 3, axis=0), _real_bias(a, o, 8))


def _conv_integer(a: Assembly, o: Operator) -> Made:
    """The weights in steps: a Mul after it brings their scale."""
    return conv(a, o, _steps(a, o), None)


def _matmul_integer(a: Assembly, o: Operator) -> Made:
    steps = _steps(a, o)
    return None if steps is None else dense(a.form(o.input(0)), steps.T)


def _steps(a: Assembly, o: Operator) -> AnyArray | None:
    weight, zero = a.constant(o.input(1)), a.constant(o.input(3))
    if weight is None or (zero is not None and zero.size != 1):
        return None
    return weight.astype(np.float32) - np.float32(0 if zero is None else zero.reshape(-1)[0])


def _arithmetic(kind: Literal["add", "mul"]) -> Translate:
    def translate(a: Assembly, o: Operator) -> Made:
        left, right = (_real_input(a, o, at, axis=-1) for at in (0, 3))
        return a.binary(kind, o.input(0) if left is None else left, o.input(3) if right is None else right)

    return translate


def _global_mean(a: Assembly, o: Operator) -> Made:
    return mean(a.form(o.input(0)), (1, 2) if o.integer("channels_last", 0) else (2, 3), keep=True)


def _same_form(op: ActOp | ShapeOp | SoftmaxOp) -> Translate:
    return lambda a, o: (op, a.form(o.input(0)))


QUANTISED: dict[str, Translate] = {
    "QuantizeLinear": _same_form(ShapeOp("QuantizeLinear")),
    "DequantizeLinear": _same_form(ShapeOp("DequantizeLinear")),
    "com.microsoft.QuantizeLinear": _same_form(ShapeOp("QuantizeLinear")),
    "com.microsoft.DequantizeLinear": _same_form(ShapeOp("DequantizeLinear")),
    "DynamicQuantizeLinear": _same_form(ShapeOp("DynamicQuantizeLinear")),
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
    "com.microsoft.QGemm": _gemm,
    "com.microsoft.QLinearAdd": _arithmetic("add"),
    "com.microsoft.QLinearMul": _arithmetic("mul"),
    "com.microsoft.QLinearGlobalAveragePool": _global_mean,
    "com.microsoft.QLinearSigmoid": _same_form(ActOp("sigmoid")),
    "com.microsoft.QLinearSoftmax": _same_form(SoftmaxOp()),
}
