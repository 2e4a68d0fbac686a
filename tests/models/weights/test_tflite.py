"""TFLite files: every published one read as what it is, tiny ones right and wrong, damaged ones refused in one line."""

import io
import math
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_twin import float_twin, outputs_of, run_tensors
from graph_in_torch import run_graph
from tiny_tflite import O, T, tiny_tflite

from mobilenets.errors import BadData
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Fed,
    Graph,
    MeanOp,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)
from mobilenets.models.weights.tflite import read_graph
from mobilenets.specs import LeakyRelu

pytest.importorskip("tflite", reason="needs the extra `weights`")

# File -> convolutions, ReLU6, ReLU, how many of these the file only implies (SOURCE.txt beside each).
FILES = {
    "tflite-support/mobilenet_v1_0.25_224_1_default_1.tflite": (28, 27, 0, 0),
    "tflite-support/mobilenet_v1_0.25_224_quant.tflite": (28, 27, 0, 27),
    "tflite-support/deeplabv3.tflite": (55, 34, 3, 0),
    "tflite-support/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite": (47, 35, 0, 27),
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite": (53, 35, 0, 0),
    "greenwaves/mobilenet_v2_0_5_224_quant.tflite": (53, 35, 0, 35),
    "greenwaves/mobilenet_v3_large_minimalistic_1_0_224_quant.tflite": (48, 0, 32, 32),
    "mlperf-tiny/vww_96_float.tflite": (27, 0, 27, 0),
    "mlperf-tiny/vww_96_int8.tflite": (27, 0, 27, 0),
    "portrait-mobilenetv3/mnv3_seg_float.tflite": (55, 0, 38, 0),
    "portrait-mobilenetv3/mnv3_post_quant.tflite": (55, 0, 38, 0),
    "arm-ml-zoo/ssd_mobilenet_v3_int8.tflite": (88, 33, 14, 0),
}
LABELS = {"coral/": 1001, "tflite-support/mobilenet_v1_0.25_224_quant": 1001, "deeplabv3": 21, "coco_ssd": 90}
SAME_OPERATORS = 1e-4
"""Largest difference of two float32 runtimes, relative to the tensor's largest number; sums differ in their order."""


def read(shared: Path, file: str) -> Graph:
    return read_graph((shared / "weights" / file).read_bytes(), where=file)


def ops(graph: Graph, kind: type) -> list:
    return [node.op for node in graph.nodes if isinstance(node.op, kind)]


# --- published files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_a_published_file_is_what_its_source_says(shared: Path, file: str) -> None:
    graph = read(shared, file)
    acts = Counter(op.act for op in ops(graph, ActOp))
    restored = [int(note.split()[0]) for note in graph.notes]
    assert (len(ops(graph, ConvOp)), acts["relu6"], acts["relu"], sum(restored)) == FILES[file]
    assert graph.quantised == any(word in file for word in ("quant", "int8", "ptq"))
    assert len(graph.labels) == next((count for part, count in LABELS.items() if part in file), 0)
    assert graph.inputs[0].channels == 3
    names = [name for node in graph.nodes for name in node.outputs]
    assert len(set(names)) == len(names)
    made = {fed.name for fed in graph.inputs}
    for node in graph.nodes:
        assert set(node.inputs) <= made
        made |= set(node.outputs)
    assert {taken.name for taken in graph.outputs} <= made


def test_what_is_fed_and_known_about_a_file(shared: Path) -> None:
    graph = read(shared, "tflite-support/mobilenet_v1_0.25_224_quant.tflite")
    assert graph.inputs == (Fed("input", (1, 224, 224, 3), "nhwc", "uint8", 1 / 128, 128),)
    assert graph.outputs[0].scale == 1 / 256
    assert graph.labels[:3] == ("background", "tench", "goldfish")
    assert graph.metadata == {"description": "TOCO Converted."}
    assert isinstance(graph.nodes[-1].op, SoftmaxOp)
    int8 = read(shared, "mlperf-tiny/vww_96_int8.tflite")
    assert int8.inputs[0] == Fed("input_1_int8", (0, 96, 96, 3), "nhwc", "int8", np.float32(1 / 255).item(), -128)
    assert int8.metadata["min_runtime"] == "1.5.0"


def test_activations_keep_the_names_of_the_file(shared: Path) -> None:
    graph = read(shared, "tflite-support/mobilenet_v1_0.25_224_quant.tflite")
    first, act = graph.nodes[:2]
    assert act.output == "MobilenetV1/MobilenetV1/Conv2d_0/Relu6"
    assert act.inputs == first.outputs == (act.output + "/before_activation",)


@pytest.mark.peer
@pytest.mark.parametrize("file", FILES)
def test_every_tensor_equals_the_runtimes(shared: Path, file: str) -> None:
    import torch

    torch.set_num_threads(1)
    data = (shared / "weights" / file).read_bytes()
    graph, twin = read_graph(data, where=file), float_twin(data)
    (fed,) = graph.inputs
    values = np.random.default_rng(0).uniform(-1, 1, (1, *fed.shape[1:])).astype(np.float32)
    ours = run_graph(graph, {fed.name: torch.from_numpy(values.transpose(0, 3, 1, 2).copy())})
    skipped = {node.output for node in graph.nodes if isinstance(node.op, ShapeOp) and "quantize" in node.op.kind}
    names = [n for n in ours if not n.endswith("/before_activation") and n not in {fed.name, *skipped}]
    theirs = run_tensors(twin, {_input_name(twin): values}, names)
    assert len(names) > 0.9 * FILES[file][0]  # what follows a resize is left out
    for name in names:
        assert _gap(ours[name].numpy(), theirs[name]) <= SAME_OPERATORS, name
    # The broken twin: the same network on a mirrored picture must not pass.
    other = run_tensors(twin, {_input_name(twin): values[:, :, ::-1].copy()}, names[:1])
    assert _gap(ours[names[0]].numpy(), other[names[0]]) > 100 * SAME_OPERATORS


def _input_name(data: bytes) -> str:
    """The first graph input's name: a bypassed QUANTIZE keeps the network's own."""
    return read_graph(data, where="twin").inputs[0].name


def _gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.ndim == theirs.ndim == 4:
        theirs = theirs.transpose(0, 3, 1, 2)
    assert ours.size == theirs.size
    return float(np.abs(ours.reshape(-1) - theirs.reshape(-1)).max() / max(np.abs(theirs).max(), 1e-6))


@pytest.mark.peer
@pytest.mark.slow
def test_a_uint8_file_in_floating_point_is_the_network_it_was(shared: Path) -> None:
    import csv

    from mobilenets.data import preprocess, read_image
    from mobilenets.records import Preprocess

    data = (shared / "weights/tflite-support/mobilenet_v1_0.25_224_quant.tflite").read_bytes()
    folder = shared / "data/imagenet200"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    record = Preprocess((224, 224), mean=(128 / 255,) * 3, std=(128 / 255,) * 3, layout="nhwc")
    pictures = [preprocess(read_image(next(folder.rglob(row["path"]))), record)[None] for row in rows]
    truth = np.array([int(row["index"]) + 1 for row in rows])
    assert np.mean(outputs_of(float_twin(data), pictures).argmax(1) == truth) == pytest.approx(0.6, abs=0.0101)
    assert np.mean(outputs_of(float_twin(data, restore=False), pictures).argmax(1) == truth) < 0.05


@pytest.mark.peer
def test_a_badly_calibrated_file_is_good_in_floating_point(shared: Path) -> None:
    from mobilenets.data import preprocess, read_image
    from mobilenets.records import Preprocess

    data = (shared / "weights/arm-ml-zoo/ssd_mobilenet_v3_int8.tflite").read_bytes()
    record = Preprocess((320, 320), fit="stretch", mean=(0.5,) * 3, std=(0.5,) * 3, layout="nhwc")
    picture = preprocess(read_image(shared / "reference/vectors/images/cat.bmp"), record)[None]
    name = "raw_outputs/class_predictions"
    scores = run_tensors(float_twin(data), {"normalized_input_image_tensor": picture}, [name])[name][0, :, 1:]
    assert scores.max(0).argmax() + 1 == 17
    assert scores.max() == pytest.approx(0.783, abs=0.01)


# --- tiny files ---------------------------------------------------------------------------------------------------

X = T("x", (1, 4, 4, 2))
CONV = {"StrideH": 1, "StrideW": 1}
DEPTHWISE = {**CONV, "DepthMultiplier": 1}
POOL = {"StrideH": 1, "StrideW": 1, "FilterHeight": 4, "FilterWidth": 4}
QX = T("x", (1, 4, 4, 2), "INT8", scales=(0.5,), zeros=(0,))
QW = T("w", (3, 1, 1, 2), "INT8", np.arange(6, dtype=np.int8), (0.5, 1.0, 2.0), (0, 0, 0))
QB = T("b", (3,), "INT32", np.array([4, 8, 16], np.int32), (0.25, 0.5, 1.0), (0, 0, 0))
QY = T("y", (1, 4, 4, 3), "INT8", scales=(0.1,), zeros=(3,))


def floats(*shape: int) -> np.ndarray:
    return np.arange(1, 1 + math.prod(shape), dtype=np.float32).reshape(shape)


def graph_of(tensors: list[T], *operators: O) -> Graph:
    return read_graph(tiny_tflite(tensors, operators), where="tiny")


def quantised_conv(x: T = QX, w: T = QW, b: T = QB, y: T = QY, **options: int) -> Graph:
    return graph_of([x, w, b, y], O("CONV_2D", (0, 1, 2), (3,), {**CONV, **options}))


def test_layouts_of_weights() -> None:
    w = floats(4, 3, 1, 2)
    graph = graph_of([X, T("w", w.shape, values=w), T("y", (1, 4, 4, 4))], O("CONV_2D", (0, 1, -1), (2,), CONV))
    (op,) = ops(graph, ConvOp)
    np.testing.assert_array_equal(op.weight, w.transpose(0, 3, 1, 2))
    assert (op.bias, op.groups, op.stride, op.dilation, op.pads) == (None, 1, (1, 1), (1, 1), "same")
    w = floats(1, 3, 3, 4)
    options = {**DEPTHWISE, "StrideH": 2, "DilationHFactor": 3, "Padding": 1, "DepthMultiplier": 2}
    graph = graph_of([X, T("w", w.shape, values=w), T("y", ())], O("DEPTHWISE_CONV_2D", (0, 1), (2,), options))
    (op,) = ops(graph, ConvOp)
    np.testing.assert_array_equal(op.weight[3, 0], w[0, :, :, 3])
    assert (op.weight.shape, op.groups) == ((4, 1, 3, 3), 2)
    assert (op.stride, op.dilation, op.pads) == ((2, 1), (3, 1), "valid")
    w = floats(4, 1, 1, 1)
    graph = graph_of([X, T("w", w.shape, values=w), T("y", ())], O("CONV_2D", (0, 1), (2,), CONV))
    assert ops(graph, ConvOp)[0].groups == 2
    w = floats(5, 32)
    graph = graph_of([X, T("w", w.shape, values=w), T("y", (1, 5))], O("FULLY_CONNECTED", (0, 1, -1), (2,)))
    np.testing.assert_array_equal(ops(graph, DenseOp)[0].weight, w)


def test_constants_are_dequantised() -> None:
    (op,) = ops(quantised_conv(), ConvOp)
    np.testing.assert_array_equal(op.weight[:, :, 0, 0], [[0, 0.5], [2, 3], [8, 10]])
    np.testing.assert_array_equal(op.bias, [1, 4, 16])
    w = T("w", (3, 1, 1, 2), "UINT8", np.array([128, 130, 0, 255, 128, 129], np.uint8), (0.5,), (128,))
    (op,) = ops(quantised_conv(w=w), ConvOp)
    np.testing.assert_array_equal(op.weight[:, :, 0, 0], [[0, 1], [-64, 63.5], [0, 0.5]])
    w = T("w", (3, 1, 1, 2), "INT4", bytes([0x21, 0x8F, 0x07]), (1.0,), (0,))
    (op,) = ops(quantised_conv(w=w), ConvOp)
    np.testing.assert_array_equal(op.weight[:, :, 0, 0], [[1, 2], [-1, -8], [7, 0]])


def test_half_precision_passes_dequantize() -> None:
    w = floats(3, 1, 1, 2)
    tensors = [X, T("half", w.shape, "FLOAT16", w.astype(np.float16)), T("w", w.shape), T("y", (1, 4, 4, 3))]
    graph = graph_of(tensors, O("DEQUANTIZE", (1,), (2,)), O("CONV_2D", (0, 2, -1), (3,), CONV))
    (node,) = graph.nodes
    assert node.inputs == ("x",)
    np.testing.assert_array_equal(node.op.weight[:, :, 0, 0], w[:, 0, 0])
    assert not graph.quantised


@pytest.mark.parametrize(
    ("code", "op"), [(1, ActOp("relu")), (2, ClipOp(-1, 1)), (3, ActOp("relu6")), (4, ActOp("tanh"))]
)
def test_a_fused_activation_is_a_node(code: int, op: object) -> None:
    graph = quantised_conv(FusedActivationFunction=code)
    assert [type(node.op) for node in graph.nodes] == [ConvOp, type(op)]
    assert graph.nodes[1].op == op
    assert graph.nodes[1].output == "y"


@pytest.mark.parametrize(
    ("kind", "op"),
    [("HARD_SWISH", ActOp("hard_swish")), ("RELU", ActOp("relu")), ("RELU6", ActOp("relu6")),
     ("LOGISTIC", ActOp("sigmoid")), ("GELU", ActOp("gelu")), ("RELU_0_TO_1", ClipOp(0, 1)),
     ("RESHAPE", ShapeOp("reshape")), ("QUANTIZE", ShapeOp("quantize")), ("CAST", ShapeOp("cast")),
     ("RESIZE_BILINEAR", OtherOp("RESIZE_BILINEAR")), ("Odd_Op", OtherOp("Odd_Op")),
     ("BATCH_MATMUL", OtherOp("BATCH_MATMUL"))],
)  # fmt: skip
def test_operators_without_constants(kind: str, op: object) -> None:
    graph = graph_of([X, T("y", (1, 4, 4, 2))], O(kind, (0,), (1,)))
    assert [node.op for node in graph.nodes] == [op]


@pytest.mark.parametrize(
    ("kind", "values", "op"),
    [("PAD", np.array([[0, 0], [1, 2], [3, 4], [0, 0]], np.int32), PadOp((1, 3, 2, 4))),
     ("PAD", np.array([[0, 0], [0, 0], [0, 0], [0, 1]], np.int32), OtherOp("PAD")),
     ("PAD", np.array([[0, 0], [-1, 0], [0, 0], [0, 0]], np.int32), OtherOp("PAD")),
     ("MEAN", np.array([1, 2], np.int32), MeanOp()), ("MEAN", np.array([-3, 2], np.int32), MeanOp()),
     ("MEAN", np.array([1, 3], np.int32), OtherOp("MEAN")),
     ("MINIMUM", np.array(6, np.float32), ClipOp(-math.inf, 6)),
     ("MAXIMUM", np.array(0, np.float32), ClipOp(0, math.inf)),
     ("MAXIMUM", np.zeros(2, np.float32), OtherOp("MAXIMUM"))],
)  # fmt: skip
def test_operators_with_an_argument(kind: str, values: np.ndarray, op: object) -> None:
    dtype = "INT32" if values.dtype == np.int32 else "FLOAT32"
    graph = graph_of([X, T("a", values.shape, dtype, values), T("y", (1, 4, 4, 2))], O(kind, (0, 1), (2,)))
    assert [node.op for node in graph.nodes] == [op]


def test_slopes_and_softmax() -> None:
    graph = graph_of([X, T("y", (1, 4, 4, 2))], O("LEAKY_RELU", (0,), (1,), {"Alpha": 0.25}))
    assert ops(graph, ActOp) == [ActOp(LeakyRelu(0.25))]
    slopes = T("a", (1, 1, 2), values=floats(1, 1, 2))
    graph = graph_of([X, slopes, T("y", (1, 4, 4, 2))], O("PRELU", (0, 1), (2,)))
    np.testing.assert_array_equal(ops(graph, PReluOp)[0].slopes, [1, 2])
    graph = graph_of([X, T("y", (1, 4, 4, 2))], O("SOFTMAX", (0,), (1,), {"Beta": 1.0}))
    assert ops(graph, SoftmaxOp)
    graph = graph_of([X, T("y", (1, 4, 4, 2))], O("SOFTMAX", (0,), (1,), {"Beta": 0.5}))
    assert ops(graph, OtherOp) == [OtherOp("SOFTMAX")]


@pytest.mark.parametrize(
    ("shape", "ours"),
    [
        ((), ()),
        ((1, 1), ()),
        ((2,), (2,)),
        ((1, 1, 1, 2), (2,)),
        ((4, 4, 2), (1, 2, 4, 4)),
        ((1, 4, 1, 2), (1, 2, 4, 1)),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_arithmetic_with_a_constant(shape: tuple[int, ...], ours: tuple[int, ...], reverse: bool) -> None:
    values = floats(*shape)
    sides = (1, 0) if reverse else (0, 1)
    graph = graph_of([X, T("a", shape, values=values), T("y", (1, 4, 4, 2))], O("SUB", sides, (2,)))
    (op,) = ops(graph, BinaryOp)
    assert (op.kind, op.reverse, op.constant.shape) == ("sub", reverse, ours)
    if len(ours) == 4:
        np.testing.assert_array_equal(op.constant[0, 1], values[..., 1].reshape(ours[2:]))
    assert graph.nodes[0].inputs == ("x",)


def test_pools() -> None:
    def pool(kind: str, **options: int) -> object:
        graph = graph_of([X, T("y", (1, 1, 1, 2))], O(kind, (0,), (1,), {**POOL, **options}))
        return graph.nodes[0].op

    assert pool("AVERAGE_POOL_2D", Padding=1) == MeanOp()
    assert pool("AVERAGE_POOL_2D", Padding=0, StrideH=4, StrideW=4) == MeanOp()
    assert pool("AVERAGE_POOL_2D", Padding=0) == PoolOp("avg", (4, 4), (1, 1), "same")
    assert pool("AVERAGE_POOL_2D", Padding=1, FilterWidth=2) == PoolOp("avg", (4, 2), (1, 1), "valid")
    assert pool("MAX_POOL_2D", Padding=1) == PoolOp("max", (4, 4), (1, 1), "valid")


def test_names_are_made_unique() -> None:
    same = [X, T("", (1, 4, 4, 2)), T("x", (1, 4, 4, 2)), T("x#2", (1, 4, 4, 2))]
    graph = graph_of(same, O("RELU", (0,), (1,)), O("RELU", (1,), (2,)), O("RELU", (2,), (3,)))
    assert [node.output for node in graph.nodes] == ["#1", "x#2", "x#2#3"]
    assert graph.inputs[0].name == "x"


def test_open_sides_and_channels_first() -> None:
    x = T("x", (1, 3, 8, 9), signature=(-1, 3, -1, -1))
    graph = graph_of([x, T("y", (1, 8, 9, 3))], O("TRANSPOSE", (0,), (1,)))
    assert graph.inputs[0] == Fed("x", (0, 3, 0, 0), "nhwc")  # open sides say nothing
    graph = graph_of([replace(x, signature=()), T("y", (1, 8, 9, 3))], O("TRANSPOSE", (0,), (1,)))
    assert graph.inputs[0] == Fed("x", (1, 3, 8, 9), "nchw")
    assert graph.inputs[0].size_px == (8, 9)


# --- lost activations ---------------------------------------------------------------------------------------------

U8 = T("y", (1, 4, 4, 3), "UINT8", scales=(6 / 255,), zeros=(0,))


def old_conv(y: T, *more: O, extra: tuple[T, ...] = (), **options: int) -> Graph:
    x = T("x", (1, 4, 4, 2), "UINT8", scales=(0.5,), zeros=(128,))
    w = T("w", (3, 1, 1, 2), "UINT8", np.arange(6, dtype=np.uint8), (0.5,), (3,))
    b = T("b", (3,), "INT32", np.array([4, 8, 16], np.int32), (0.25,), (0,))
    return graph_of([x, w, b, y, *extra], O("CONV_2D", (0, 1, 2), (3,), {**CONV, **options}), *more)


@pytest.mark.parametrize(
    ("y", "acts"),
    [(U8, ["relu6"]), (replace(U8, scales=(5.95 / 255,)), ["relu6"]), (replace(U8, scales=(5 / 255,)), ["relu"]),
     (replace(U8, scales=(9 / 255,)), ["relu"]), (replace(U8, zeros=(1,)), []),
     (replace(U8, dtype="INT8", zeros=(-128,)), ["relu6"])],
)  # fmt: skip
def test_an_activation_is_restored_by_the_range(y: T, acts: list[str]) -> None:
    graph = old_conv(y)
    assert [op.act for op in ops(graph, ActOp)] == acts
    assert len(graph.notes) == len(acts)
    assert graph.nodes[-1].output == "y"


def test_what_says_its_activation_is_believed() -> None:
    z = T("z", (1, 4, 4, 3), "UINT8", scales=(0.1,), zeros=(0,))
    for kind in ("HARD_SWISH", "LOGISTIC", "SOFTMAX", "RELU"):
        graph = old_conv(U8, O(kind, (3,), (4,)), extra=(z,))
        assert len(ops(graph, ActOp)) == (kind != "SOFTMAX")
        assert not graph.notes
    assert not old_conv(U8, FusedActivationFunction=3).notes
    # An int8 file with activations keeps NONE where it says so.
    int8 = replace(U8, dtype="INT8", zeros=(-128,))
    w = T("v", (3, 1, 1, 3), "INT8", np.ones(9, np.int8), (0.5,), (0,))
    more = O("CONV_2D", (3, 4, -1), (5,), {**CONV, "FusedActivationFunction": 1})
    graph = old_conv(int8, more, extra=(w, replace(int8, name="z")))
    assert [op.act for op in ops(graph, ActOp)] == ["relu"]
    assert not graph.notes


def test_a_sum_is_clipped_only_where_it_could_be_negative() -> None:
    three = T("3", (), "UINT8", np.array(255, np.uint8), (3 / 255,), (0,))
    sixes = replace(U8, name="z")
    graph = old_conv(replace(U8, zeros=(9,)), O("ADD", (3, 4), (5,)), extra=(three, sixes))
    assert [op.act for op in ops(graph, ActOp)] == ["relu6"]
    graph = old_conv(U8, O("ADD", (3, 3), (4,)), extra=(replace(U8, name="z", scales=(12 / 255,)),))
    assert [node.output for node in graph.nodes if isinstance(node.op, ActOp)] == ["y"]


# --- malformed quantisation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"w": replace(QW, scales=(0.5, 0.0, 1.0))}, "scale of 0"),
        ({"w": replace(QW, scales=(0.5, -1.0, 1.0))}, "scale of -1"),
        ({"w": replace(QW, scales=(0.5, math.nan, 1.0))}, "scale of nan"),
        ({"w": replace(QW, scales=(0.5, math.inf, 1.0))}, "scale of inf"),
        ({"w": replace(QW, scales=(0.5, 1e38, 1e38))}, "not every number is finite"),
        ({"w": replace(QW, scales=(0.5, 1.0), zeros=(0, 0))}, "2 scales along dimension 0"),
        ({"w": replace(QW, zeros=(0, 0))}, "2 zero points for 3 scales"),
        ({"w": replace(QW, zeros=(0, 0, 7))}, "zero point of 7"),
        ({"w": replace(QW, axis=3)}, "dimension 3; it must be 0"),
        ({"w": replace(QW, axis=-1)}, "dimension -1; it must be 0"),
        ({"w": replace(QW, scales=(), zeros=())}, "without a quantisation scale"),
        ({"w": replace(QW, values=b"\1\2\3\4\5")}, "holds 5 bytes"),
        ({"w": replace(QW, shape=(3, 1, 2))}, "4 sides"),
        ({"w": replace(QW, shape=(3, 1, 1, 2**26))}, "bytes"),
        ({"w": replace(QW, shape=(2**20, 2**20, 1, 2))}, "can't have the shape"),
        ({"w": replace(QW, shape=(3, 1, 1, -2))}, "can't have the shape"),
        ({"w": replace(QW, dtype="STRING")}, "string"),
        ({"w": replace(QW, buffer=77)}, "buffer 77"),
        ({"x": replace(QX, shape=(1, 4, 4, 5))}, "do not fit a map of 5 channels"),
        ({"x": replace(QX, scales=(0.0,))}, "scale of 0"),
        ({"b": replace(QB, scales=(0.0, 1.0, 1.0))}, "scale of 0"),
        ({"b": replace(QB, zeros=(0, 1, 0))}, "zero point"),
        ({"b": replace(QB, scales=(1.0, 1.0), zeros=(0, 0))}, "2 scales along dimension 0"),
        ({"b": replace(QB, shape=(3, 2))}, "3 numbers are wanted"),
        ({"b": replace(QB, values=None)}, "is computed"),
        ({"y": replace(QY, scales=(math.nan,))}, "scale of nan"),
        ({"StrideH": 0}, "stride is (0, 1)"),
        ({"DilationWFactor": -1}, "dilation"),
        ({"FusedActivationFunction": 99}, "activation 99"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(change: dict, says: str) -> None:
    with pytest.raises(BadData) as caught:
        quantised_conv(**change)
    assert says in caught.value.message
    assert caught.value.message.startswith("tiny")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "bias", "notes"),
    [
        ({}, [1, 4, 16], 0),
        ({"b": replace(QB, axis=3)}, [1, 4, 16], 1),
        ({"b": replace(QB, scales=(), zeros=())}, [1, 4, 16], 1),
        ({"b": replace(QB, scales=(0.5,), zeros=(0,), axis=3)}, [2, 4, 8], 0),
        ({"b": replace(QB, scales=(1e-45, 1e-45, 1.0))}, [0, 0, 16], 0),
        ({"b": replace(QB, zeros=())}, [1, 4, 16], 0),
    ],
)
def test_what_can_be_put_right_is_and_says_so(change: dict, bias: list[float], notes: int) -> None:
    graph = quantised_conv(**change)
    np.testing.assert_allclose(ops(graph, ConvOp)[0].bias, bias, atol=1e-40)
    assert len(graph.notes) == notes
    (op,) = ops(quantised_conv(w=replace(QW, scales=(1e-45, 1e-10, 1.0))), ConvOp)
    assert np.abs(op.weight[:2]).max() < 1e-9


@pytest.mark.parametrize(
    ("tensors", "operators", "says"),
    [
        ([X, T("y", ())], [O("RELU", (5,), (1,))], "names tensor 5 of 2"),
        ([X, T("y", ())], [O("RELU", (0,), (-2,))], "names tensor -2 of 2"),
        ([X, T("y", ())], [O("RELU", (1,), (1,))], "nothing before it makes"),
        ([X, T("y", ())], [O("RELU", (0,), (0,)), O("RELU", (0,), (1,))], "there already"),
        ([X, T("y", ())], [O("RELU", (0,), ())], "makes nothing"),
        ([X, T("y", ())], [], "nothing makes the output 'y'"),
        ([X, T("w", (2, 2), values=floats(2, 2)), T("y", ())],
         [O("FULLY_CONNECTED", (0, 1), (2,), {"WeightsFormat": 1})], "shuffled"),
    ],
)  # fmt: skip
def test_graphs_that_can_not_run_are_refused(tensors: list[T], operators: list[O], says: str) -> None:
    with pytest.raises(BadData, match=says):
        graph_of(tensors, *operators)


# --- labels -------------------------------------------------------------------------------------------------------


def labelled(name: str, text: bytes, compression: int = zipfile.ZIP_STORED) -> Graph:
    buffer = io.BytesIO(tiny_tflite([X, T("y", (1, 4, 4, 2))], [O("RELU", (0,), (1,))]))
    with zipfile.ZipFile(buffer, "a", compression) as archive:
        archive.writestr("other.txt", "no")
        archive.writestr(name, text)
    return read_graph(buffer.getvalue(), where="tiny")


def test_labels_come_from_the_zip() -> None:
    assert labelled("labels.txt", "cat\r\nhérisson\n\n".encode()).labels == ("cat", "hérisson")
    assert labelled("my_labels_en.txt", b"a\n???\nb").labels == ("a", "???", "b")
    assert labelled("readme.txt", b"a").labels == ()
    for graph in (
        labelled("labels.txt", b"a\n" * 2**20, zipfile.ZIP_DEFLATED),
        labelled("labels.txt", b"a\nb", zipfile.ZIP_LZMA),
    ):
        assert (graph.labels, len(graph.notes)) == ((), 1)


# --- damage -------------------------------------------------------------------------------------------------------


def survives(data: bytes) -> bool:
    """Whether it still reads; anything but BadData in one line, or a second, is a failure."""
    start, problem = time.process_time(), ""
    try:
        read_graph(data, where="damaged")
    except BadData as error:
        problem = error.message
    assert time.process_time() - start < 5
    assert "\n" not in problem
    assert len(problem) < 5000
    return not problem


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\0" * 64, b"PK\3\4" + b"\0" * 60, b"\x1c\0\0\0TFL3", b"\xff\xff\xff\xffTFL3" * 9]
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadData, match="tiny"):
        read_graph(data, where="tiny")


def every_word(data: bytes) -> list[bytes]:
    """The file with each aligned word in turn set to the values that break indices, lengths and signs."""
    values = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data) - 4, 0x00010001)
    return [
        data[:at] + struct.pack("<I", value) + data[at + 4 :] for at in range(0, len(data) - 4, 4) for value in values
    ]


def cut_anywhere(data: bytes) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [data[: int(at)] for at in rng.integers(8, len(data), 100)]


def struck_anywhere(data: bytes) -> list[bytes]:
    """A few words overwritten behind a whole header: half of them in the tables, which lie at both ends of a file."""
    rng = np.random.default_rng(1)
    found = []
    ends = np.r_[8 : min(4096, len(data) - 4), max(len(data) - 40_000, 8) : len(data) - 4]
    for i in range(150):
        bytes_ = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.choice(ends)) if i % 2 else int(rng.integers(8, len(data) - 4))
            bytes_[at : at + 4] = struct.pack(
                "<I", int(rng.choice([0, 1, 127, 2**31 - 1, 2**32 - 1, rng.integers(2**32)]))
            )
        found.append(bytes(bytes_))
    return found


@pytest.mark.parametrize("damage", [every_word, cut_anywhere, struck_anywhere])
def test_a_damaged_tiny_file(damage: Callable[[bytes], list[bytes]]) -> None:
    data = tiny_tflite([QX, QW, QB, QY], [O("CONV_2D", (0, 1, 2), (3,), CONV)])
    assert survives(data)
    outcomes = [survives(broken) for broken in damage(data)]
    assert not all(outcomes)


@pytest.mark.parametrize("damage", [cut_anywhere, struck_anywhere])
def test_a_damaged_published_file(shared: Path, damage: Callable[[bytes], list[bytes]]) -> None:
    data = (shared / "weights/mlperf-tiny/vww_96_int8.tflite").read_bytes()
    outcomes = [survives(broken) for broken in damage(data)]
    assert not all(outcomes)
