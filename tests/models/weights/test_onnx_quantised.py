"""Quantised ONNX files of ONNX Runtime's quantiser: weights within a step, activations that it dropped restored."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_graph import answer, gap, with_op
from made_onnx import SMALL_V2, SMALL_V3, network, ops, pictures, read, run_onnx, tiny, unfolded
from onnx import TensorProto

from mobilenets.models import fold
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    Graph,
    ShapeOp,
)


class _Feed:
    def __init__(self) -> None:
        self.batches = iter([{"picture": 6 * pictures(4, seed=i)} for i in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def quantised(data: bytes, folder: Path, *, qdq: bool, per_channel: bool, signed: bool) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    (folder / "float.onnx").write_bytes(data)
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        _Feed(),
        quant_format=QuantFormat.QDQ if qdq else QuantFormat.QOperator,
        per_channel=per_channel,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return (folder / "int8.onnx").read_bytes()


def furthest_in_steps(graph: Graph, original: Graph, *, per_channel: bool) -> float:
    """Largest distance of a convolution's weight from the original's, in steps of 8 bits."""
    worst = 0.0
    for (_, have), (_, want) in zip(graph.convolutions(), original.convolutions(), strict=True):
        axes = tuple(range(1, 4)) if per_channel else None
        step = np.abs(want.weight).max(axis=axes, keepdims=True) / 127
        worst = max(worst, float((np.abs(have.weight - want.weight) / step).max()))
    return worst


CASES = [
    (qdq, per_channel, signed) for qdq in (True, False) for per_channel in (True, False) for signed in (True, False)
]


@pytest.fixture(scope="module")
def small_v2(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Graph]:
    """A V2 whose norms are folded, as quantisers want it; its projections are signed."""
    net = fold(network(SMALL_V2))
    data = unfolded(net)
    return data, read(data)


@pytest.mark.parametrize(("qdq", "per_channel", "signed"), CASES)
def test_quantised_weights_come_back_within_a_step(
    small_v2: tuple[bytes, Graph], tmp_path: Path, qdq: bool, per_channel: bool, signed: bool
) -> None:
    data, original = small_v2
    graph = read(quantised(data, tmp_path, qdq=qdq, per_channel=per_channel, signed=signed))
    assert graph.quantised
    assert furthest_in_steps(graph, original, per_channel=per_channel) <= 0.51
    first = next(graph.convolutions())[1]
    swapped = with_op(graph, ConvOp, weight=first.weight[::-1])
    assert furthest_in_steps(swapped, original, per_channel=per_channel) > 1
    biases = zip(ops(graph, ConvOp), ops(original, ConvOp), strict=True)
    assert max(gap(have.bias, want.bias) for have, want in biases) <= 0.01


@pytest.mark.parametrize("qdq", [True, False])
def test_activations_that_a_quantiser_dropped_are_restored(
    small_v2: tuple[bytes, Graph], tmp_path: Path, qdq: bool
) -> None:
    data, original = small_v2
    graph = read(quantised(data, tmp_path, qdq=qdq, per_channel=True, signed=True))
    assert Counter(op.act for op in ops(graph, ActOp)) == {"relu6": 8}
    assert graph.notes == (
        "8 activations that the file only implies by the range of an output were restored: 8 ReLU6, 0 ReLU",
    )
    x = pictures()
    wanted = run_onnx(data, x)
    restored = gap(answer(graph, x), wanted)
    linear = replace(graph, nodes=tuple(_without_act(node) for node in graph.nodes))
    assert restored < 0.2
    assert gap(answer(linear, x), wanted) > 2 * restored
    assert len(ops(original, ClipOp)) == 8


def _without_act(node):  # type: ignore[no-untyped-def]
    return replace(node, op=ShapeOp("none")) if isinstance(node.op, ActOp) else node


def test_explicit_activations_are_not_doubled(tmp_path: Path) -> None:
    data = unfolded(fold(network(SMALL_V3)))
    graph = read(quantised(data, tmp_path, qdq=True, per_channel=True, signed=False))
    assert Counter(op.act for op in ops(graph, ActOp)) == {"hard_swish": 3, "hard_sigmoid": 2, "relu": 5}
    assert len(ops(graph, ConvOp)) == len(ops(read(data), ConvOp)) == 12


def test_weights_of_dynamic_quantisation(tmp_path: Path, small_v2: tuple[bytes, Graph]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    data, original = small_v2
    (tmp_path / "float.onnx").write_bytes(data)
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QUInt8)
    graph = read((tmp_path / "int8.onnx").read_bytes())
    assert graph.quantised
    nodes = list(graph.nodes)
    for node, want in zip((n for n in graph.nodes if isinstance(n.op, ConvOp)), ops(original, ConvOp), strict=True):
        following = nodes[nodes.index(node) + 1 :]
        scale = next(n.op.constant for n in following if isinstance(n.op, BinaryOp) and n.op.kind == "mul")
        step = np.ptp(want.weight) / 255
        assert np.abs(node.op.weight * scale - want.weight).max() <= 1.01 * step
        assert np.abs(node.op.weight - want.weight).max() > step


@pytest.mark.parametrize(
    ("highs", "wanted"),
    [
        ((6.0, 6.0, 5.0), ["relu6", "relu6", "relu6"]),
        ((6.0, 6.0, 9.0), ["relu6", "relu6", "relu"]),
        ((6.0, 9.0, 9.0), ["relu", "relu", "relu"]),
        ((5.97, 4.0, 4.0), ["relu6", "relu6", "relu6"]),
        ((5.0, 4.0, 3.0), ["relu", "relu", "relu"]),
    ],
)
def test_ranges_tell_relu_from_relu6(highs: tuple[float, ...], wanted: list[str]) -> None:
    steps, constants, x = [], {"w": np.ones((3, 3, 1, 1), np.float32), "z": np.array(-128, np.int8)}, "x"
    for i, high in enumerate(highs):
        constants[f"s{i}"] = np.array(high / 255, np.float32)
        steps += [
            ("Conv", [x, "w"], [f"c{i}"], {}),
            ("QuantizeLinear", [f"c{i}", f"s{i}", "z"], [f"q{i}"], {}),
            ("DequantizeLinear", [f"q{i}", f"s{i}", "z"], [f"d{i}"], {}),
        ]
        x = f"d{i}"
    graph = read(tiny([*steps, ("Conv", [x, "w"], ["y"], {})], constants))
    acts = {node.output: node.op.act for node in graph.nodes if isinstance(node.op, ActOp)}
    assert acts == {f"d{i}": act for i, act in enumerate(wanted)}
    explicit = read(tiny([*steps, ("HardSwish", [x], ["y"], {})], constants))
    assert x not in {node.output for node in explicit.nodes if isinstance(node.op, ActOp)}


def test_bytes_fed_have_a_scale() -> None:
    scale, zero, weight = np.float32(1 / 128), np.uint8(128), np.ones((4, 3, 1, 1), np.float32)
    steps = [("DequantizeLinear", ["x", "s", "z"], ["f"], {}), ("Conv", ["f", "w"], ["y"], {})]
    constants = {"s": np.array(scale), "z": np.array(zero), "w": weight}
    (fed,) = read(tiny(steps, constants, dtype=TensorProto.UINT8)).inputs
    assert (fed.dtype, fed.scale, fed.zero_point) == ("uint8", 1 / 128, 128)
