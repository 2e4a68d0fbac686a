"""OpenVINO IR: files that OpenVINO writes read back to the last bit or half, small ones by hand, damaged refused."""

import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_graph import answer, gap, with_op
from made_onnx import HYBRID, SMALL_V2, SMALL_V3, W, network, pictures, unfolded

from mobilenets.errors import BadData
from mobilenets.models import fold, state_arrays
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Graph,
    MeanOp,
    NormOp,
    Op,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)
from mobilenets.models.weights.openvino import read_graph
from mobilenets.specs.activation import HardSigmoid

OTHER_RUNTIME = 1e-4
"""Float32 sums in another order; the broken twins are ten times further away."""


# --- files by hand --------------------------------------------------------------------------------------------------

ELEMENTS = {"float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "int8": "i8", "uint8": "u8"}


class Ir:
    """An IR under construction: layers with one output each, from the Parameter "x" on."""

    def __init__(self, shape: tuple[int, ...] = (-1, 3, 8, 8), version: str = "11") -> None:
        self.version = version
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.weights = b""
        self.info = ""
        self.put("Parameter", "x", [], shape, {"shape": ",".join(map(str, shape)), "element_type": "f32"})

    def put(
        self, kind: str, name: str, inputs: list[int], shape: tuple[int, ...], data: dict[str, Any], opset: int = 1
    ) -> int:
        at = len(self.layers)
        attributes = " ".join(f'{key}="{value}"' for key, value in data.items())
        ports = "".join(f'<port id="{i}"><dim>1</dim></port>' for i in range(len(inputs)))
        dims = "".join(f"<dim>{side}</dim>" for side in shape)
        output = "" if kind == "Result" else f'<output><port id="9" precision="FP32">{dims}</port></output>'
        self.layers.append(
            f'<layer id="{at}" name="{name}" type="{kind}" version="opset{opset}"><data {attributes}/>'
            f"<input>{ports}</input>{output}</layer>"
        )
        for i, source in enumerate(inputs):
            self.edges.append(f'<edge from-layer="{source}" from-port="9" to-layer="{at}" to-port="{i}"/>')
        return at

    def const(self, array: np.ndarray) -> int:
        data = {
            "element_type": ELEMENTS[array.dtype.name], "shape": ",".join(map(str, array.shape)),
            "offset": len(self.weights), "size": array.nbytes,
        }  # fmt: skip
        self.weights += array.tobytes()
        return self.put("Const", f"const{len(self.layers)}", [], array.shape, data)

    def files(self, last: int) -> tuple[bytes, bytes]:
        self.put("Result", "result", [last], (), {})
        layers, edges = "".join(self.layers), "".join(self.edges)
        text = (
            f'<?xml version="1.0"?><net name="tiny" version="{self.version}"><layers>{layers}</layers>'
            f"<edges>{edges}</edges><rt_info>{self.info}</rt_info></net>"
        )
        return text.encode(), self.weights


def read(files: tuple[bytes, bytes]) -> Graph:
    return read_graph(*files, where="a.xml")


def one(
    kind: str,
    data: dict[str, Any],
    *constants: np.ndarray,
    opset: int = 1,
    shape: tuple[int, ...] = (-1, 3, 8, 8),
    out: tuple[int, ...] = (),
) -> Op:
    """The operator that a layer on "x" and `constants` is read as."""
    ir = Ir(shape)
    inputs = [0, *(ir.const(np.asarray(array)) for array in constants)]
    return read(ir.files(ir.put(kind, "y", inputs, out or shape, data, opset))).nodes[-1].op


GEOMETRY = {"strides": "1,1", "dilations": "1,1", "pads_begin": "0,0", "pads_end": "0,0"}


@pytest.mark.parametrize(
    ("data", "pads"),
    [
        ({"auto_pad": "explicit", "pads_begin": "0, 1", "pads_end": "2, 3"}, (0, 1, 2, 3)),
        ({"auto_pad": "same_upper"}, "same"),
        ({"auto_pad": "same_lower"}, "same"),
        ({"auto_pad": "valid"}, "valid"),
        ({}, (0, 0, 0, 0)),
    ],
)
def test_convolutions_and_their_pads(data: dict[str, str], pads: object) -> None:
    op = one("Convolution", GEOMETRY | {"strides": "1,1"} | data, W)
    assert isinstance(op, ConvOp)
    assert op.pads == pads
    assert np.array_equal(op.weight, W)
    strided = one("Convolution", GEOMETRY | {"strides": "2,2", "auto_pad": "same_lower"}, W)
    assert strided == OtherOp("Convolution")


def test_groups_are_an_axis_of_the_weights() -> None:
    weight = np.arange(3 * 2 * 1 * 9, dtype=np.float32).reshape(3, 2, 1, 3, 3)
    op = one("GroupConvolution", GEOMETRY, weight)
    assert isinstance(op, ConvOp)
    assert op.groups == 3
    assert np.array_equal(op.weight, weight.reshape(6, 1, 3, 3))


def test_dense_layers_and_slopes() -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    plain = one("MatMul", {"transpose_a": "false", "transpose_b": "false"}, kernel, shape=(-1, 3))
    turned = one("MatMul", {"transpose_a": "false", "transpose_b": "true"}, kernel.T.copy(), shape=(-1, 3))
    assert isinstance(plain, DenseOp)
    assert isinstance(turned, DenseOp)
    assert np.array_equal(plain.weight, kernel.T)
    assert np.array_equal(turned.weight, kernel.T)
    slopes = one("PRelu", {}, np.array([1, 2, 3], np.float32))
    assert isinstance(slopes, PReluOp)
    assert slopes.slopes.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("opset", "at"), [(1, 2), (5, 0)])
def test_norms_of_both_orders(opset: int, at: int) -> None:
    ir = Ir()
    inputs = [ir.const(np.full(3, i, np.float32)) for i in range(1, 5)]
    inputs.insert(at, 0)
    graph = read(
        ir.files(ir.put("BatchNormInference", "y", inputs, (-1, 3, 8, 8), {"epsilon": "9.99999997e-06"}, opset))
    )
    op = graph.nodes[-1].op
    assert isinstance(op, NormOp)
    assert [part[0] for part in (op.gamma, op.beta, op.mean, op.variance)] == [1, 2, 3, 4]
    assert op.eps == 1e-5
    assert graph.nodes[-1].inputs == ("x",)


POOL = {"kernel": "8,8", "strides": "1,1", "pads_begin": "0,0", "pads_end": "0,0", "exclude-pad": "true"}


@pytest.mark.parametrize(
    ("kind", "data", "constants", "wanted"),
    [
        ("ReLU", {}, (), ActOp("relu")),
        ("Clamp", {"min": "0", "max": "6"}, (), ClipOp(0.0, 6.0)),
        ("HSwish", {}, (), ActOp("hard_swish")),
        ("HSigmoid", {}, (), ActOp("hard_sigmoid")),
        ("HardSigmoid", {}, (np.float32(0.2), np.float32(0.5)), ActOp(HardSigmoid(0.2, 0.5))),
        ("HardSigmoid", {}, (np.float32(1 / 6), np.float32(0.5)), ActOp("hard_sigmoid")),
        ("Sigmoid", {}, (), ActOp("sigmoid")),
        ("Swish", {}, (), ActOp("swish")),
        ("Swish", {}, (np.float32(2),), OtherOp("Swish")),
        ("Gelu", {"approximation_mode": "ERF"}, (), ActOp("gelu")),
        ("Maximum", {}, (np.float32(0),), ClipOp(0.0, np.inf)),
        ("ReduceMean", {"keep_dims": "true"}, (np.array([2, 3]),), MeanOp()),
        ("ReduceMean", {"keep_dims": "true"}, (np.array([1]),), OtherOp("ReduceMean")),
        ("AvgPool", POOL, (), MeanOp()),
        ("AvgPool", POOL | {"kernel": "2,2", "strides": "2,2"}, (), PoolOp("avg", (2, 2), (2, 2))),
        ("MaxPool", POOL | {"kernel": "3,3", "strides": "2,2", "rounding_type": "ceil"}, (), OtherOp("MaxPool")),
        ("Pad", {"pad_mode": "constant"}, (np.array([0, 0, 0, 1]), np.array([0, 0, 2, 3])), PadOp((0, 1, 2, 3))),
        ("Pad", {"pad_mode": "edge"}, (np.array([0, 0, 0, 1]), np.array([0, 0, 2, 3])), OtherOp("Pad")),
        ("Reshape", {"special_zero": "true"}, (np.array([0, -1]),), ShapeOp("Reshape")),
        ("Convert", {"destination_type": "f32"}, (), ShapeOp("Convert")),
        ("SoftMax", {"axis": "1"}, (), SoftmaxOp()),
        ("TopK", {}, (), OtherOp("TopK")),
    ],
)
def test_layers_without_arrays(kind: str, data: dict[str, str], constants: tuple[np.ndarray, ...], wanted: Op) -> None:
    assert one(kind, data, *constants) == wanted


@pytest.mark.parametrize(("shape", "wanted"), [((1, 1), ()), ((1, 3, 1, 1), (3,)), ((3, 1, 1), (3,))])
def test_constants_beside_a_map(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    op = one("Subtract", {}, np.ones(shape, np.float32))
    assert isinstance(op, BinaryOp)
    assert op.constant is not None
    assert (op.kind, op.constant.shape) == ("sub", wanted)


def test_weights_in_bytes_become_floats() -> None:
    """Const -> Convert -> Subtract -> Multiply -> Convert, as compressed weights are written."""
    ir, stored = Ir(), np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3)
    scale = np.array([0.5, 1, 2, 4], np.float16).reshape(4, 1, 1, 1)
    wide = ir.put("Convert", "wide", [ir.const(stored)], stored.shape, {"destination_type": "f16"})
    shifted = ir.put("Subtract", "shifted", [wide, ir.const(np.float16([3]).reshape(1, 1, 1, 1))], stored.shape, {})
    scaled = ir.put("Multiply", "scaled", [shifted, ir.const(scale)], stored.shape, {})
    real = ir.put("Convert", "real", [scaled], stored.shape, {"destination_type": "f32"})
    op = read(ir.files(ir.put("Convolution", "y", [0, real], (-1, 4, 6, 6), GEOMETRY))).nodes[-1].op
    assert isinstance(op, ConvOp)
    assert op.weight.dtype == np.float32
    assert np.array_equal(op.weight, (stored.astype(np.float32) - 3) * scale.astype(np.float32))


def test_a_fake_quantize_of_the_map_makes_a_file_quantised() -> None:
    limits = [np.float32(value) for value in (0, 6, 0, 6)]
    ir = Ir()
    at = ir.put("FakeQuantize", "q", [0, *(ir.const(np.asarray(v)) for v in limits)], (-1, 3, 8, 8), {"levels": "256"})
    graph = read(ir.files(ir.put("ReLU", "y", [at], (-1, 3, 8, 8), {})))
    assert graph.quantised
    assert [node.op for node in graph.nodes] == [ShapeOp("FakeQuantize"), ActOp("relu")]


def test_channels_last_and_labels() -> None:
    ir = Ir((-1, 8, 8, 3))
    turned = ir.put("Transpose", "t", [0, ir.const(np.array([0, 3, 1, 2]))], (-1, 3, 8, 8), {})
    conv = ir.put("Convolution", "c", [turned, ir.const(W)], (-1, 4, 6, 6), GEOMETRY)
    back = ir.put("Transpose", "b", [conv, ir.const(np.array([0, 2, 3, 1]))], (-1, 6, 6, 4), {})
    mul = ir.put("Multiply", "y", [back, ir.const(np.ones((1, 1, 1, 4), np.float32))], (-1, 6, 6, 4), {})
    ir.info = '<model_info><labels value="cat dog"/></model_info>'
    graph = read(ir.files(mul))
    assert graph.inputs[0].layout == "nhwc"
    assert graph.outputs[0].layout == "nhwc"
    assert graph.labels == ("cat", "dog")
    op = graph.nodes[-1].op
    assert isinstance(op, BinaryOp)
    assert op.constant is not None
    assert op.constant.shape == (4,)


# --- files that OpenVINO writes -------------------------------------------------------------------------------------


def saved(data: bytes | Any, folder: Path, *, half: bool) -> tuple[bytes, bytes]:
    """An ONNX file, or a model of OpenVINO's own, as IR."""
    import openvino as ov

    if isinstance(data, bytes):
        (folder / "a.onnx").write_bytes(data)
        data = ov.convert_model(folder / "a.onnx")
    ov.save_model(data, folder / "a.xml", compress_to_fp16=half)
    return (folder / "a.xml").read_bytes(), (folder / "a.bin").read_bytes()


def run_openvino(folder: Path, x: np.ndarray) -> np.ndarray:
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return ov.Core().compile_model(folder / "a.xml", "CPU", settings)(x)[0]


@pytest.mark.peer
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("spec", [SMALL_V2, SMALL_V3, HYBRID], ids=lambda spec: spec.name)
def test_constants_of_a_converted_network(tmp_path: Path, spec: Any, half: bool) -> None:
    net = fold(network(spec))
    graph = read(saved(unfolded(net), tmp_path, half=half))
    arrays = [array.ravel() for name, array in state_arrays(net).items() if "attention" not in name]
    rounded = Counter((array.astype(np.float16).astype(np.float32) if half else array).tobytes() for array in arrays)
    found = Counter[bytes]()
    for node in graph.nodes:
        match node.op:
            case ConvOp(weight=array) | DenseOp(weight=array) | BinaryOp(constant=np.ndarray() as array):
                found[array.tobytes()] += 1
    assert not rounded - found
    exact = Counter(array.tobytes() for array in arrays)
    assert bool(exact - found) == half
    assert graph.metadata["producer"] == "openvino"


@pytest.mark.peer
@pytest.mark.parametrize("spec", [SMALL_V2, SMALL_V3], ids=lambda spec: spec.name)
def test_a_graph_answers_as_its_file(tmp_path: Path, spec: Any) -> None:
    graph, x = read(saved(unfolded(network(spec)), tmp_path, half=False)), pictures()
    wanted = run_openvino(tmp_path, x)
    assert gap(answer(graph, x), wanted) <= OTHER_RUNTIME
    first = next(graph.convolutions())[1]
    assert gap(answer(with_op(graph, ConvOp, weight=first.weight[::-1]), x), wanted) > 10 * OTHER_RUNTIME
    assert gap(answer(with_op(graph, ConvOp, pads="same"), x), wanted) > 10 * OTHER_RUNTIME


@pytest.mark.peer
@pytest.mark.parametrize("levels", [256, 255, 16])
def test_quantised_weights_are_what_openvino_computes(tmp_path: Path, levels: int) -> None:
    import openvino as ov
    from openvino import opset13 as ops_of

    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    high = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) * np.float32(0.9)
    x = ops_of.parameter([1, 3, 8, 8], np.float32, name="x")
    fake = ops_of.fake_quantize(ops_of.constant(weight), -high, high, -high, high, levels)
    conv = ops_of.convolution(x, fake, [1, 1], [0, 0], [0, 0], [1, 1])
    files = saved(ov.Model([conv], [x], "a"), tmp_path, half=False)
    op = read(files).nodes[-1].op
    assert isinstance(op, ConvOp)
    assert b'"FakeQuantize"' in files[0]
    picture = pictures(1, h=8, w=8)
    wanted = run_openvino(tmp_path, picture)
    graph = read(files)
    assert gap(answer(graph, picture), wanted.reshape(1, -1)) <= OTHER_RUNTIME
    assert gap(answer(with_op(graph, ConvOp, weight=weight), picture), wanted.reshape(1, -1)) > 10 * OTHER_RUNTIME
    assert all(len(np.unique(channel)) <= levels for channel in op.weight)


# --- what is refused ------------------------------------------------------------------------------------------------


def small() -> tuple[bytes, bytes]:
    ir = Ir()
    half = ir.put("Convert", "real", [ir.const(W.astype(np.float16))], W.shape, {"destination_type": "f32"})
    conv = ir.put("Convolution", "c", [0, half], (-1, 4, 6, 6), GEOMETRY)
    mean = ir.put("ReduceMean", "m", [conv, ir.const(np.array([2, 3]))], (-1, 4), {"keep_dims": "false"})
    return ir.files(ir.put("MatMul", "y", [mean, ir.const(np.ones((4, 2), np.float32))], (-1, 2), {}))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'version="11"', b'version="7"', "convert the network anew"),
        (b"<net", b'<!DOCTYPE net [<!ENTITY a "aaaa">]><net', "declares a document type"),
        (b'offset="0"', b'offset="-8"', "lies at -8"),
        (b'size="216"', b'size="214"', "holds 214 bytes"),
        (b'from-layer="0"', b'from-layer="77"', "which no layer has"),
        (b'from-layer="0"', b'from-layer="3"', "waits for its own result"),
        (b'strides="1,1"', b'strides="1,x"', "no list of whole numbers"),
        (b'strides="1,1"', b'strides="0,1"', "two numbers of at least 1"),
        (b"</layers>", b"", "can't be parsed"),
        (b"layers>", b"players>", "no OpenVINO network"),
        (b'type="Result"', b'type="Sink"', "no layers or no result"),
    ],
)
def test_contradictions_are_refused_in_one_line(old: bytes, new: bytes, says: str) -> None:
    xml, weights = small()
    assert old in xml
    with pytest.raises(BadData) as caught:
        read((xml.replace(old, new), weights))
    assert caught.value.message.startswith("a.xml: ")
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bin_that_was_cut_is_refused() -> None:
    xml, weights = small()
    assert len(read((xml, weights)).nodes) == 3
    with pytest.raises(BadData, match=r"of a \.bin with"):
        read((xml, weights[:-1]))


def outcome(call: Callable[[], Graph]) -> str:
    """ "graph" or "refused", within seconds of work; anything else raises."""
    start = time.process_time()
    with contextlib.suppress(BadData):
        call()
        assert time.process_time() - start < 5
        return "graph"
    assert time.process_time() - start < 5
    return "refused"


def test_damaged_bytes_give_a_graph_or_one_line() -> None:
    (xml, weights), draw, found = small(), random.Random(0), Counter[str]()
    for _ in range(300):
        damaged = bytearray(xml)
        for _ in range(draw.choice((1, 2))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(32, 127)
        found[outcome(lambda: read((bytes(damaged), weights)))] += 1  # noqa: B023  # called at once
    for end in range(0, len(xml), 40):
        found[outcome(lambda: read((xml[:end], weights)))] += 1  # noqa: B023
    assert min(found["graph"], found["refused"]) > 20


VALUES = (
    "", "0", "-1", "2", "9" * 30, "1,2", "1,2,3,4", "nan", "f16", "i8", "i64", "Const", "Result", "Parameter",
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "FakeQuantize", "GroupConvolution", "BatchNormInference", "AvgPool",
    "Pad", "PRelu", "ReduceMean", "HardSigmoid", "Concat", "Multiply", "same_upper",
)  # fmt: skip


def test_well_formed_lies_give_a_graph_or_one_line() -> None:
    (xml, weights), draw, found = small(), random.Random(0), Counter[str]()
    text = xml.decode()
    values = [match.span(1) for match in re.finditer(r'="([^"]*)"', text)][1:]
    for _ in range(600):
        start, end = draw.choice(values)
        lie = text[:start] + draw.choice(VALUES) + text[end:]
        found[outcome(lambda: read((lie.encode(), weights)))] += 1  # noqa: B023
    assert min(found["graph"], found["refused"]) > 20
