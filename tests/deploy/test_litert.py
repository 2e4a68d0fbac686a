"""The LiteRT writer operator by operator against ONNX Runtime, its files whole, and what is made of damaged ones."""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from deploy.conftest import LABELS, record_of, small_network, tiny_spec
from onnx import TensorProto, helper, numpy_helper

from mobilenets.deploy import TARGETS, facts_of
from mobilenets.deploy.checks import relative_errors
from mobilenets.deploy.embedded import Embedded
from mobilenets.deploy.targets import has_module
from mobilenets.deploy.tracing import BATCH, Form, Source
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.errors import BadData, BadModelFile, UsageError
from mobilenets.records import Preprocess, Structure
from mobilenets.specs import Spec, resolve

if not has_module("ai_edge_litert"):
    pytest.skip("ai_edge_litert is not installed here", allow_module_level=True)

from mobilenets.deploy.litert.file import check_file, hushed, read_subgraphs
from mobilenets.deploy.litert.graph import MAP, Value
from mobilenets.deploy.litert.inspection import inspect_litert
from mobilenets.deploy.litert.operators import OPERATORS, translate
from mobilenets.deploy.litert.target import layers_litert, open_litert
from mobilenets.deploy.litert.writer import ALIGNMENT, Writer

LITERT = TARGETS["litert"]
SAME = 1e-5
"""Two float32 runtimes on one to five operators: sums of up to 100 numbers in another order."""

Ops = tuple[onnx.NodeProto, ...]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def graph_of(*nodes: onnx.NodeProto, size: tuple[int, int], channels: int, **constants: np.ndarray) -> onnx.ModelProto:
    """A graph from `image` (batch, channels, h, w) to what the last node makes, shapes inferred."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (BATCH, channels, *size))
    answer = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "made", [image], [answer], held)
    for number, node in enumerate(graph.node):
        node.name = f"layer{number}"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def written(proto: onnx.ModelProto, path: Path, *, half: bool = False) -> Path:
    """The graph as a file of ours, without facts."""
    writer = Writer("made")
    subgraph = writer.subgraph("main")
    _, c, h, w = (dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim)
    fed = subgraph.tensor("image", (1, h, w, c), free=0)
    outputs = translate(proto.graph, subgraph, Value(fed, (1, c, h, w), MAP), network="made", half=half)
    subgraph.ends((fed,), tuple(output.index for output in outputs))
    path.write_bytes(writer.pack())
    return path


def errors(proto: onnx.ModelProto, path: Path, *, reference: onnx.ModelProto | None = None) -> float:
    """The largest relative error of the file at `path` for batches of 2, 1 and 3."""
    import onnxruntime

    reference = proto if reference is None else reference
    theirs = onnxruntime.InferenceSession(reference.SerializeToString(), providers=["CPUExecutionProvider"])
    ours = open_litert(path, threads=1)
    worst = 0.0
    for count in (2, 1, 3):
        batch = numbers(count, *(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim[1:]))
        found = as_arrays(ours.run(np.ascontiguousarray(batch.transpose(0, 2, 3, 1))))
        worst = max(worst, relative_errors(tuple(theirs.run(None, {"image": batch})), found)[0])
    return worst


def node(kind: str, inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def conv(kernel: int, *, pads: tuple[int, ...], stride: int = 1, group: int = 1, dilation: int = 1) -> onnx.NodeProto:
    return node(
        "Conv", "image w b", kernel_shape=(kernel, kernel), pads=pads, strides=(stride, stride), group=group,
        dilations=(dilation, dilation),
    )  # fmt: skip


def conv_case(
    c_out: int, kernel: int, *, size: int = 8, channels: int = 6, group: int = 1, **more: object
) -> onnx.ModelProto:
    weights = {"w": numbers(c_out, channels // group, kernel, kernel, seed=1), "b": numbers(c_out, seed=2)}
    return graph_of(conv(kernel, group=group, **more), size=(size, size), channels=channels, **weights)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


POOL = {"kernel_shape": (3, 3), "strides": (2, 2)}
CASES: dict[str, tuple[onnx.ModelProto, dict[str, int]]] = {
    "symmetric pads": (conv_case(4, 3, pads=(1, 1, 1, 1)), {"CONV_2D": 1}),
    "strided, even": (conv_case(4, 3, pads=(1, 1, 1, 1), stride=2), {"PAD": 1, "CONV_2D": 1}),
    "strided, odd": (conv_case(4, 3, pads=(1, 1, 1, 1), stride=2, size=9), {"CONV_2D": 1}),
    "tensorflow's pads": (conv_case(4, 3, pads=(0, 0, 1, 1), stride=2), {"CONV_2D": 1}),
    "no pads": (conv_case(4, 3, pads=(0, 0, 0, 0), stride=2), {"CONV_2D": 1}),
    "uneven pads": (conv_case(4, 5, pads=(0, 3, 1, 2), stride=2), {"PAD": 1, "CONV_2D": 1}),
    "dilated": (conv_case(4, 3, pads=(2, 2, 2, 2), dilation=2), {"CONV_2D": 1}),
    "depthwise": (conv_case(6, 5, pads=(2, 2, 2, 2), group=6), {"DEPTHWISE_CONV_2D": 1}),
    "depthwise, 2 each": (conv_case(12, 3, pads=(1, 1, 1, 1), group=6), {"DEPTHWISE_CONV_2D": 1}),
    "grouped": (conv_case(8, 3, pads=(1, 1, 1, 1), group=2), {"CONV_2D": 1}),
    "of one channel": (conv_case(4, 3, pads=(1, 1, 1, 1), channels=1), {"CONV_2D": 1}),
    "padded before": (
        graph_of(
            node("Pad", "image pads", "padded"),
            helper.make_node("Conv", ["padded", "w"], ["y"], kernel_shape=(3, 3), strides=(2, 2)),
            size=(8, 8), channels=3, pads=ints(0, 0, 0, 0, 0, 0, 1, 1), w=numbers(4, 3, 3, 3),
        ),
        {"CONV_2D": 1},
    ),
    "padded and read twice": (
        graph_of(
            node("Pad", "image pads", "padded"),
            helper.make_node("Conv", ["padded", "w"], ["a"], kernel_shape=(3, 3), strides=(1, 1)),
            node("AveragePool", "padded", "b", kernel_shape=(3, 3)), node("Add", "a b"),
            size=(7, 8), channels=3, pads=ints(0, 0, 0, 1, 0, 0, 2, 0), w=numbers(3, 3, 3, 3),
        ),
        {"PAD": 2, "CONV_2D": 1, "AVERAGE_POOL_2D": 1, "ADD": 1},
    ),
    "relu joined": (
        graph_of(node("Conv", "image w", "a"), node("Relu", "a"), size=(4, 5), channels=3, w=numbers(4, 3, 1, 1)),
        {"CONV_2D": 1},
    ),
    "relu6 joined": (
        graph_of(
            node("Add", "image image", "a"), node("Clip", "a low high"),
            size=(4, 5), channels=3, low=np.float32(0), high=np.float32(6),
        ),
        {"ADD": 1},
    ),
    "relu of what others read": (
        graph_of(node("Add", "image image", "a"), node("Relu", "a", "b"), node("Sub", "a b"), size=(4, 5), channels=3),
        {"ADD": 1, "RELU": 1, "SUB": 1},
    ),
    "clipped at 0.5": (
        graph_of(node("Clip", "image low high"), size=(4, 5), channels=3, low=np.float32(-0.25), high=np.float32(0.5)),
        {"MAXIMUM": 1, "MINIMUM": 1},
    ),
    "hard swish": (graph_of(node("HardSwish", "image"), size=(4, 5), channels=3), {"HARD_SWISH": 1}),
    "hard sigmoid": (
        graph_of(node("HardSigmoid", "image", alpha=1 / 6, beta=0.5), size=(4, 5), channels=3),
        {"ADD": 1, "MUL": 1},
    ),
    "paddle's hard sigmoid": (
        graph_of(node("HardSigmoid", "image", alpha=0.2, beta=0.5), size=(4, 5), channels=3),
        {"ADD": 1, "MUL": 2},
    ),
    "leaky relu": (graph_of(node("LeakyRelu", "image", alpha=0.1), size=(4, 5), channels=3), {"LEAKY_RELU": 1}),
    "slopes": (graph_of(node("PRelu", "image s"), size=(4, 5), channels=3, s=numbers(3, 1, 1)), {"PRELU": 1}),
    "one slope": (graph_of(node("PRelu", "image s"), size=(4, 5), channels=3, s=numbers(1)), {"PRELU": 1}),
    "gelu": (graph_of(node("Gelu", "image"), size=(4, 5), channels=3), {"GELU": 1}),
    "swish": (
        graph_of(node("Sigmoid", "image", "a"), node("Mul", "image a"), size=(4, 5), channels=3),
        {"LOGISTIC": 1, "MUL": 1},
    ),
    "tanh": (graph_of(node("Tanh", "image"), size=(4, 5), channels=3), {"TANH": 1}),
    "a gate": (
        graph_of(
            node("ReduceMean", "image axes", "m", keepdims=1), node("Sigmoid", "m", "g"), node("Mul", "image g"),
            size=(4, 5), channels=3, axes=ints(-1, -2),
        ),
        {"MEAN": 1, "LOGISTIC": 1, "MUL": 1},
    ),
    "other names for the same": (
        graph_of(
            node("Identity", "image", "same"), node("GlobalAveragePool", "same", "m"), node("Squeeze", "m axes", "s"),
            node("Unsqueeze", "s axes", "u"), node("Dropout", "u", "d"), node("Mul", "image d"),
            size=(4, 5), channels=3, axes=ints(2, 3),
        ),
        {"MEAN": 1, "RESHAPE": 2, "MUL": 1},
    ),
    "a scale per channel": (
        graph_of(node("Mul", "image s"), size=(4, 5), channels=3, s=numbers(3, 1, 1)), {"MUL": 1}
    ),
    "a divisor per cell": (
        graph_of(node("Div", "image s"), size=(4, 5), channels=3, s=2 + np.abs(numbers(1, 1, 4, 5))), {"DIV": 1}
    ),
    "a norm": (
        graph_of(
            node("BatchNormalization", "image g b m v", epsilon=1e-3), size=(4, 5), channels=3,
            g=numbers(3), b=numbers(3, seed=1), m=numbers(3, seed=2), v=np.abs(numbers(3, seed=3)),
        ),
        {"MUL": 1, "ADD": 1},
    ),
    "pooled and classified": (
        graph_of(
            node("GlobalAveragePool", "image", "m"), node("Flatten", "m", "f"), node("Gemm", "f w b", transB=1),
            size=(4, 5), channels=6, w=numbers(3, 6), b=numbers(3),
        ),
        {"MEAN": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1},
    ),
    "mean without its axes": (
        graph_of(
            node("ReduceMean", "image axes", "m", keepdims=0), node("MatMul", "m w"),
            size=(4, 5), channels=6, axes=ints(2, 3), w=numbers(6, 2),
        ),
        {"MEAN": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1},
    ),
    "a flattened map": (  # the one place where numbers have to move
        graph_of(node("Flatten", "image", "f"), node("Gemm", "f w", transB=1), size=(4, 5), channels=3,
                 w=numbers(3, 60)),
        {"TRANSPOSE": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1},
    ),
    "a mean of real cells": (
        graph_of(node("AveragePool", "image", pads=(1, 1, 1, 1), **POOL), size=(7, 7), channels=3),
        {"AVERAGE_POOL_2D": 1},
    ),
    "a mean of all cells": (
        graph_of(node("AveragePool", "image", pads=(1, 1, 1, 1), count_include_pad=1, **POOL), size=(7, 7), channels=3),
        {"PAD": 1, "AVERAGE_POOL_2D": 1},
    ),
    "a maximum": (
        graph_of(node("MaxPool", "image", pads=(1, 1, 1, 1), **POOL), size=(7, 7), channels=3), {"MAX_POOL_2D": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_answer_as_in_onnx(case: str, tmp_path: Path) -> None:
    proto, operators = CASES[case]
    path = written(proto, tmp_path / "made.tflite")
    assert errors(proto, path) <= SAME
    structure = inspect_litert(path, precision="float32")
    moved = len(proto.graph.output[0].type.tensor_type.shape.dim) == 4  # a map is answered in ONNX's order
    assert structure.operators == operators | ({"TRANSPOSE": 1} if moved else {})
    assert (structure.partitions, structure.outside) == (1, 0), "XNNPACK takes it whole"


def test_another_slope_or_another_pad_is_seen(tmp_path: Path) -> None:
    """The broken twins: what the comparison above has to refuse."""
    for ours, theirs in (
        ("hard sigmoid", "paddle's hard sigmoid"),
        ("a mean of real cells", "a mean of all cells"),
        ("tensorflow's pads", "strided, even"),
    ):
        path = written(CASES[ours][0], tmp_path / "made.tflite")
        assert errors(CASES[ours][0], path, reference=CASES[theirs][0]) > 1000 * SAME


def test_a_maximum_may_need_numbers_around_the_map(tmp_path: Path) -> None:
    """Even sides: PyTorch's pads are not TensorFlow's; XNNPACK does not take a padding with minus infinity."""
    proto = graph_of(node("MaxPool", "image", pads=(1, 1, 1, 1), **POOL), size=(8, 8), channels=3)
    path = written(proto, tmp_path / "made.tflite")
    assert errors(proto, path) <= SAME
    assert inspect_litert(path, precision="float32").operators["PADV2"] == 1


def attention(side: int, *, heads: int = 2, d: int = 4) -> onnx.ModelProto:
    """Attention of many queries over one key and one value, as the graph of V4 has it."""
    cells = side * side
    return graph_of(
        node("Conv", "image wq", "q"), node("Transpose", "q", "qt", perm=(0, 2, 3, 1)),
        node("Reshape", "qt q_shape", "query"),
        node("Conv", "image wk", "k"), node("Reshape", "k kv_shape", "key"),
        node("Conv", "image wv", "v"), node("Reshape", "v kv_shape", "vr"),
        node("Transpose", "vr", "value", perm=(0, 2, 1)),
        node("Mul", "query scale", "scaled"), node("MatMul", "scaled key", "dots"),
        node("Softmax", "dots", "shares", axis=-1), node("MatMul", "shares value", "mixed"),
        node("Reshape", "mixed map_shape", "maps"), node("Transpose", "maps", "back", perm=(0, 3, 1, 2)),
        node("Conv", "back wp", "p"), node("Add", "p image", "sum"), node("GlobalAveragePool", "sum", "m"),
        node("Flatten", "m"),
        size=(side, side), channels=6, scale=np.float32(d**-0.5),
        wq=numbers(heads * d, 6, 1, 1), wk=numbers(d, 6, 1, 1, seed=1), wv=numbers(d, 6, 1, 1, seed=2),
        wp=numbers(6, heads * d, 1, 1, seed=3), q_shape=ints(-1, cells * heads, d), kv_shape=ints(-1, d, cells),
        map_shape=ints(-1, side, side, heads * d),
    )  # fmt: skip


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_attention_moves_no_number(side: int, tmp_path: Path) -> None:
    proto = attention(side)
    path = written(proto, tmp_path / "made.tflite")
    assert errors(proto, path) <= SAME
    structure = inspect_litert(path, precision="float32")
    assert (structure.transposes, structure.partitions, structure.outside) == (0, 1, 0)
    assert structure.complaints == ()
    assert structure.operators["BATCH_MATMUL"] == 2


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((node("Erf", "image"),), "layer0 is a Erf, which the LiteRT writer does not know"),
        ((node("MatMul", "image w"),), "layer0 is a MatMul .* w is a constant"),
        ((node("AveragePool", "image", pads=(1, 1, 1, 1), **POOL),), "layer0 is a AveragePool .* do not count"),
    ],
)
def test_what_can_not_be_said_names_the_layer(nodes: Ops, words: str, tmp_path: Path) -> None:
    proto = graph_of(*nodes, size=(8, 8), channels=8, w=numbers(8, 8, 8))
    with pytest.raises(UsageError, match=words) as caught:
        written(proto, tmp_path / "made.tflite")
    assert "\n" not in caught.value.message


def test_every_operator_of_the_table_is_tried() -> None:
    protos = [*(proto for proto, _ in CASES.values()), attention(2)]
    assert set(OPERATORS) <= {made.op_type for proto in protos for made in proto.graph.node}


def test_float16_rounds_the_weights_alone(tmp_path: Path) -> None:
    proto = CASES["relu joined"][0]
    rounded = onnx.ModelProto()
    rounded.CopyFrom(proto)
    weight = numpy_helper.to_array(proto.graph.initializer[0])
    whole = weight.astype(np.float16).astype(np.float32)
    rounded.graph.initializer[0].CopyFrom(numpy_helper.from_array(whole, "w"))
    path = written(proto, tmp_path / "made.tflite", half=True)
    assert errors(proto, path, reference=rounded) <= SAME
    assert errors(proto, path) > 10 * SAME
    wrong = "1 layers hold their weights in float16, not float32"
    assert wrong not in inspect_litert(path, precision="float16").complaints
    assert wrong in inspect_litert(path, precision="float32").complaints
    huge = graph_of(node("Conv", "image w"), size=(2, 2), channels=1, w=np.full((1, 1, 1, 1), 7e4, np.float32))
    with pytest.raises(UsageError, match="w holds numbers that float16 can't"):
        written(huge, tmp_path / "huge.tflite", half=True)


def test_constants_are_stored_once_and_aligned(tmp_path: Path) -> None:
    w = numbers(6, 6, 1, 1)
    once, twice = (
        graph_of(
            node("Conv", "image v", "a"), node("Conv", "a w"), size=(3, 3), channels=6, v=v, w=w
        )
        for v in (w, numbers(6, 6, 1, 1, seed=1))
    )  # fmt: skip
    small, large = (written(proto, tmp_path / "made.tflite").read_bytes() for proto in (once, twice))
    assert len(large) - len(small) >= w.nbytes
    for tensor in read_subgraphs(small, where="made")[0].tensors:
        if tensor.data is not None:
            place = small.index(bytes(tensor.data)) if tensor.name == "w" else 0
            assert place % ALIGNMENT == 0


def test_complaints_name_what_is_wrong(tmp_path: Path) -> None:
    pooled = node("GlobalAveragePool", "y", "m"), node("Flatten", "m", "answer")

    def complaints(*nodes: onnx.NodeProto, **constants: np.ndarray) -> tuple[str, ...]:
        proto = graph_of(*nodes, size=(8, 8), channels=3, **constants)
        return inspect_litert(written(proto, tmp_path / "made.tflite"), precision="float32").complaints

    gate = node("HardSigmoid", "image", "gate", alpha=1 / 6, beta=0.5)
    assert complaints(node("HardSwish", "image"), *pooled) == ()
    (complaint,) = complaints(gate, node("Mul", "image gate"), *pooled)
    assert complaint.startswith("hard-swish is spelled out 1 times")
    (complaint,) = complaints(node("Flatten", "image"), node("Gemm", "y w", "answer"), w=numbers(192, 2))
    assert complaint.startswith("1 TRANSPOSE")
    outside = complaints(node("MaxPool", "image", pads=(1, 1, 1, 1), **POOL), *pooled)
    assert outside == ("XNNPACK leaves out PADV2",)


# --- whole files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec() -> Spec:
    return tiny_spec()


@pytest.fixture(scope="module")
def source(spec: Spec) -> Source:
    """Two sizes and pixels as they are; its graphs are traced once."""
    form = Form(sizes_px=((48, 33),), with_preprocess=True)
    return Source(small_network(spec, seed=4), "tiny", ("logits",), 3, (32, 32), form)


@pytest.fixture(scope="module")
def facts(spec: Spec) -> Embedded:
    made = facts_of(record_of(spec), precision="float32", weights_sha256="ab")
    return replace(made, labels=replace(LABELS, ids=("cat", "großer hund", "wren")))


@pytest.fixture(scope="module")
def plain(source: Source, facts: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "model.tflite"
    LITERT.export(replace(source, form=Form()), path, facts=facts)
    return path


def test_one_file_takes_several_sizes_and_pixels(source: Source, facts: Embedded, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    LITERT.export(source, path, facts=facts)
    assert path.stat().st_size < 1.1 * plain.stat().st_size
    weights = [LITERT.inspect(file, precision="float32").weights["float32"] for file in (path, plain)]
    assert weights[0] == weights[1], "what the sizes share counts once"
    assert LITERT.inspect(path, precision="float32").complaints == ()
    session = LITERT.open(path)
    assert session.facts == LITERT.fed(facts, with_preprocess=True)
    assert (session.input_shape, session.input_dtype) == ((None, None, None, 3), np.uint8)
    mean, std = (np.array(side, np.float32) for side in (facts.preprocess.mean, facts.preprocess.std))
    for size in ((32, 32), (48, 33), (32, 32)):
        pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
        tensors = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
        reference = runner(source.network)(np.ascontiguousarray(tensors))
        assert relative_errors(reference, as_arrays(session.run(pixels)))[0] <= 1e-4
        swapped = as_arrays(session.run(np.ascontiguousarray(pixels[..., ::-1])))
        assert relative_errors(reference, swapped)[0] > 1e-2
    with pytest.raises(BadData, match="takes pictures of 32x32, 48x33"):
        session.run(np.zeros((1, 48, 32, 3), np.uint8))


def test_threads_with_other_batches_take_turns(source: Source, plain: Path) -> None:
    session = open_litert(plain, threads=1)
    batches = [numbers(1 + k % 4, 3, 32, 32, seed=k) for k in range(24)]
    wanted = [runner(source.network)(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda b: session.run(np.ascontiguousarray(b.transpose(0, 2, 3, 1))), batches))
    for want, have in zip(wanted, found, strict=True):
        assert relative_errors(want, as_arrays(have))[0] <= 1e-4


def test_layers_are_those_of_the_graph(source: Source, plain: Path, tmp_path: Path) -> None:
    from mobilenets.deploy.onnx import layers_onnx

    batch = numbers(2, 3, 32, 32)
    onnx.save(source.graph(), tmp_path / "model.onnx")
    theirs = dict(layers_onnx(tmp_path / "model.onnx", batch))
    ours = dict(layers_litert(plain, np.ascontiguousarray(batch.transpose(0, 2, 3, 1))))
    assert set(ours) <= set(theirs)
    assert {"backbone.stem.conv.conv", "backbone.stem.conv.act", "backbone.blocks.0.se.gate", "logits"} <= set(ours)
    assert "backbone.blocks.0.dw.conv" not in ours, "its ReLU is joined to it"
    for name, values in ours.items():
        assert relative_errors((theirs[name],), (values,))[0] <= 1e-4


def test_labels_and_metadata_are_where_other_programs_look(plain: Path, facts: Embedded) -> None:
    from mobilenets.models.weights.tflite import read_graph

    data = plain.read_bytes()
    assert read_graph(data, where="plain").labels == facts.labels.ids
    (file,) = read_subgraphs(data, where="plain")
    assert file.metadata == {"description": "tiny for classification, by mobilenets", "min_runtime": "2.9.0"}
    assert data.count(b"TFLITE_METADATA") == 1
    start = data.index(b"M001") - 4
    root = start + int.from_bytes(data[start : start + 4], "little")
    assert data[root:].index(b"labels.txt") > 0


def test_damaged_files_are_one_line(plain: Path, tmp_path: Path) -> None:
    """The runtime's C++ must not meet them: it would take the process with it."""
    data, path = plain.read_bytes(), tmp_path / "damaged.tflite"
    draw = random.Random(0)
    refusals = []
    for trial in range(60):
        damaged = bytearray(data)
        if trial % 3 == 0:
            damaged = damaged[: draw.randrange(len(data) - 400)]
        else:
            for _ in range(20):
                damaged[draw.choice((draw.randrange(20_000), draw.randrange(len(data) - 40_000, len(data))))] = 255
        path.write_bytes(damaged)
        try:
            check_file(path)
            open_litert(path, threads=1)
        except BadModelFile as error:
            refusals.append(error.message)
    assert len(refusals) > 40
    assert not [message for message in refusals if "\n" in message or str(path) not in message]


def test_stderr_is_silent_inside_and_whole_behind(capfd: pytest.CaptureFixture[str]) -> None:
    def speak() -> None:
        for _ in range(50):
            with hushed():
                print("inside", file=sys.__stderr__, flush=True)

    speakers = [threading.Thread(target=speak) for _ in range(4)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    import os

    os.write(2, b"behind\n")
    assert capfd.readouterr().err == "behind\n"


# --- whole networks -----------------------------------------------------------------------------------------------


def exported(name: str, size: tuple[int, int], path: Path) -> tuple[Structure, float]:
    """The structure of a network's file, and its largest relative error against torch."""
    whole = resolve(name, resolution_px=size, classes=3)
    network = small_network(whole, seed=1)
    made = replace(record_of(whole), preprocess=Preprocess(size))
    LITERT.export(
        Source(network, name, ("logits",), 3, size), path, facts=facts_of(made, precision="float32", weights_sha256="")
    )
    batch = numbers(2, 3, *size)
    found = LITERT.open(path).run(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))
    return LITERT.inspect(path, precision="float32"), relative_errors(runner(network)(batch), as_arrays(found))[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv1", "mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "mobilenetv4_conv_small",
        "mobilenetv4_conv_medium", "mobilenetv4_hybrid_medium", "mobilenetv4_conv_aa_medium",
        "mobilenetv4_conv_blur_medium", "mobilenet_edgetpu_v2_xs", "tf_mobilenetv3_small_100",
    ],
)  # fmt: skip
def test_networks_are_one_part_without_a_transpose(name: str, tmp_path: Path) -> None:
    structure, error = exported(name, (64, 96), tmp_path / "model.tflite")
    assert error <= 2e-4
    assert (structure.partitions, structure.outside, structure.transposes, structure.complaints) == (1, 0, 0, ())
