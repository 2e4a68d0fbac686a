"""ONNX files: networks of ours and published ones read as what they are, quantised ones within a step, damaged refused.

Held against the networks' own arrays, and against ONNX Runtime: a graph that is read must answer as its file does.
"""

import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_graph import answer, gap, with_op
from made_onnx import HYBRID, SIDE_PX, W, network, ops, pictures, read, run_onnx, tiny, unfolded
from onnx import TensorProto

from mobilenets.errors import BadData, MissingRuntime
from mobilenets.models import Network, fold, state_arrays
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Graph,
    NormOp,
    OtherOp,
    PadOp,
    SoftmaxOp,
)
from mobilenets.models.weights.onnx import read_graph
from mobilenets.specs import Spec
from mobilenets.specs.activation import HardSigmoid

OTHER_RUNTIME = 1e-4
"""Float32 sums in another order; a wrong eps, stride or pad moves the logits by 1e-3 and more (the broken twins)."""
STM32 = "weights/stm32-onnx/mobilenet_v2_0.35_128_tfs_channel_first.onnx"
PADDLE = "weights/paddleocr-cls/ch_ppocr_mobile_v2.0_cls_infer.onnx"
NETWORKS = {
    "v1": ("mobilenetv1", 0.25),
    "v2": ("mobilenetv2", 0.25),
    "v3": ("mobilenetv3_small", 0.25),
    "v4": ("mobilenetv4_conv_small", 0.25),
    "hybrid": (HYBRID, None),
}


def file_of(shared: Path, name: str) -> bytes:
    path = shared / name
    if not path.is_file():
        pytest.skip(f"needs ../shared/{name}")
    return path.read_bytes()


def constants(graph: Graph) -> Counter[bytes]:
    """Every array of the graph, whatever its shape; single numbers belong to formulas."""
    found: list[np.ndarray | None] = []
    for node in graph.nodes:
        match node.op:
            case ConvOp(weight, bias) | DenseOp(weight, bias):
                found += [weight, bias]
            case NormOp():
                found += [node.op.gamma, node.op.beta, node.op.mean, node.op.variance]
            case BinaryOp(constant=value) if value is not None and value.size > 1:
                found.append(value)
    return Counter(array.tobytes() for array in found if array is not None)


def arrays_of(net: Network) -> Counter[bytes]:
    return Counter(np.ascontiguousarray(array).tobytes() for array in state_arrays(net).values())


# --- networks of ours -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks() -> dict[str, tuple[Network, bytes]]:
    """Each network with its file, norms not folded."""
    found = {}
    for name, (spec, alpha) in NETWORKS.items():
        net = network(spec, alpha)
        found[name] = (net, unfolded(net))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_every_array_of_a_network_is_read_bit_for_bit(networks: dict[str, tuple[Network, bytes]], name: str) -> None:
    net, data = networks[name]
    graph = read(data)
    assert constants(graph) == arrays_of(net)
    assert {op.eps for op in ops(graph, NormOp)} == {net.spec.norm.eps}
    assert graph.inputs[0].layout == "nchw"
    assert graph.inputs[0].size_px == (SIDE_PX, SIDE_PX)
    assert [fed.name for fed in graph.outputs] == ["logits"]
    nudged = with_op(graph, ConvOp, weight=graph.nodes[0].op.weight + np.float32(1e-6))
    assert constants(nudged) != arrays_of(net)


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "v4"])
def test_a_graph_answers_as_its_file(networks: dict[str, tuple[Network, bytes]], name: str) -> None:
    _, data = networks[name]
    graph, x = read(data), pictures()
    wanted = run_onnx(data, x)
    assert gap(answer(graph, x), wanted) <= OTHER_RUNTIME
    eps = ops(graph, NormOp)[0].eps
    assert gap(answer(with_op(graph, NormOp, eps=eps + 0.1), x), wanted) > 10 * OTHER_RUNTIME
    assert gap(answer(with_op(graph, ConvOp, pads="same"), x), wanted) > 10 * OTHER_RUNTIME


def test_attention_is_left_as_matmuls_around_a_softmax(networks: dict[str, tuple[Network, bytes]]) -> None:
    graph = read(networks["hybrid"][1])
    assert [op.kind for op in ops(graph, OtherOp)] == ["MatMul", "MatMul"]
    assert len(ops(graph, SoftmaxOp)) == 1
    assert not {"Shape", "Gather", "Concat", "Slice"} & {
        node.op.kind for node in graph.nodes if hasattr(node.op, "kind")
    }


def exported(spec: Spec | str, alpha: float | None, folder: Path) -> tuple[Network, bytes]:
    """A file of `mobilenets export`, whose norms are folded."""
    from mobilenets.deploy.embedded import Embedded
    from mobilenets.deploy.onnx import export_onnx
    from mobilenets.deploy.tracing import Source
    from mobilenets.records import Calibration, Labels, Preprocess

    net = network(spec, alpha)
    facts = Embedded(
        name="tiny", network="tiny", task="classification", output_names=("logits",), labels=Labels(tuple("abcde")),
        preprocess=Preprocess((SIDE_PX, SIDE_PX)), calibration=Calibration(), precision="float32", weights_sha256="0",
    )  # fmt: skip
    source = Source(net, "tiny", ("logits",), 3, (SIDE_PX, SIDE_PX))
    export_onnx(source, folder / "a.onnx", facts=facts, precision="float32")
    return net, (folder / "a.onnx").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_files_of_ours_hold_the_folded_network(tmp_path: Path, name: str) -> None:
    net, data = exported(*NETWORKS[name], tmp_path)
    graph = read(data)
    assert constants(graph) == arrays_of(fold(net))
    assert constants(graph) != arrays_of(net)
    assert graph.labels == tuple("abcde")
    assert graph.metadata["producer"].startswith("pytorch")
    assert not graph.quantised


# --- published files ------------------------------------------------------------------------------------------------


def test_a_tensorflow_network_with_some_norms_left(shared: Path) -> None:
    data = file_of(shared, STM32)
    graph, x = read(data), pictures(h=128, w=128)
    convs = [op for _, op in graph.convolutions()]
    assert len(convs) == 52
    assert len(ops(graph, NormOp)) == 7
    assert ops(graph, ClipOp) == [ClipOp(0.0, 6.0)] * 35
    assert ops(graph, PadOp) == [PadOp((0, 0, 1, 1))] * 4
    assert convs[0].pads == (0, 0, 1, 1)
    assert graph.inputs[0].shape == (0, 3, 128, 128)
    assert isinstance(graph.nodes[-1].op, SoftmaxOp)
    wanted = run_onnx(data, x)
    assert gap(answer(graph, x), wanted) <= OTHER_RUNTIME
    assert gap(answer(with_op(graph, PadOp, pads=(1, 1, 0, 0)), x), wanted) > 10 * OTHER_RUNTIME
    assert gap(answer(with_op(graph, NormOp, eps=0.1), x), wanted) > 10 * OTHER_RUNTIME


def test_a_paddle_network_with_its_constants_in_nodes(shared: Path) -> None:
    data = file_of(shared, PADDLE)
    graph, x = read(data), pictures(h=48, w=192)
    convs = [op for _, op in graph.convolutions()]
    assert {op.eps for op in ops(graph, NormOp)} == {1e-5}
    assert len(ops(graph, NormOp)) == 35
    assert Counter(op.act for op in ops(graph, ActOp))[HardSigmoid(0.2, 0.5)] == 9
    assert ops(graph, ClipOp) == [ClipOp(0.0, 6.0)] * 18
    assert (2, 1) in {op.stride for op in convs}
    reduces = [op.weight.shape[0] for op in convs if op.weight.shape[2:] == (1, 1) and op.weight.shape[0] < 60]
    assert {2, 22, 10, 12, 26, 50} <= set(reduces)
    assert not ops(graph, OtherOp)
    wanted = run_onnx(data, x)
    assert gap(answer(graph, x), wanted) <= OTHER_RUNTIME
    assert gap(answer(with_op(graph, ClipOp, high=5.0), x), wanted) > OTHER_RUNTIME


# --- what is refused ------------------------------------------------------------------------------------------------


def _external(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"


def _missing(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def _twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "b"


def _short(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"1234"


def _huge(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 60


def _blocks(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="DequantizeLinear", input=["w", "w"], output=["real"])
    model.graph.node[-1].attribute.add(name="block_size", i=2, type=2)
    model.graph.node[0].input[1] = "real"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_external, "lie in another file; save the model with its weights inside"),
        (_circle, "waits for its own result"),
        (_missing, "'nowhere', which nothing makes"),
        (_twice, "made twice"),
        (_short, "holds 4 bytes"),
        (_huge, "which can't be"),
        (_blocks, "quantised in blocks"),
    ],
)
def test_contradictions_are_refused_in_one_line(damage: Callable[[onnx.ModelProto], None], says: str) -> None:
    model = tiny([("Conv", ["x", "w"], ["b"], {}), ("Relu", ["b"], ["y"], {})], {"w": W})
    damage(model)
    with pytest.raises(BadData) as caught:
        read(model)
    assert caught.value.message.startswith("a.onnx: ")
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_growing_constants_are_refused() -> None:
    """A file of 1 MB whose constants would fill the memory."""
    big = np.zeros((256, 1024), np.int8)
    steps = [("Cast", ["c"], [f"c{i}"], {"to": TensorProto.DOUBLE}) for i in range(200)]
    with pytest.raises(BadData, match="grow to many times the file"):
        read(tiny([*steps, ("Relu", ["x"], ["y"], {})], {"c": big}))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingRuntime) as caught:
        read_graph(b"", where="a.onnx")
    assert caught.value.hint == "pip install 'mobilenets[weights]'"


def outcome(call: Callable[[], Graph]) -> str:
    """ "graph" or "refused", within seconds of work (a blow-up takes minutes); anything else raises."""
    start = time.process_time()
    with contextlib.suppress(BadData):
        call()
        assert time.process_time() - start < 5
        return "graph"
    assert time.process_time() - start < 5
    return "refused"


def test_damaged_bytes_give_a_graph_or_one_line(networks: dict[str, tuple[Network, bytes]]) -> None:
    data, draw = networks["hybrid"][1], random.Random(0)
    found = Counter[str]()
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 2, 8))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        found[outcome(lambda: read(bytes(damaged)))] += 1  # noqa: B023  # called at once
    for end in range(0, len(data), max(len(data) // 60, 1)):
        found[outcome(lambda: read(data[:end]))] += 1  # noqa: B023
    assert min(found["graph"], found["refused"]) > 20


NUMBERS = (0, 1, -1, 2, 3, 7, 1000, -(1 << 31), (1 << 62), -(1 << 63))


def _damage(model: onnx.ModelProto, draw: random.Random) -> None:
    """One well-formed lie: another operator, input, attribute, type or shape."""
    graph = model.graph
    node, tensor = draw.choice(graph.node), draw.choice(graph.initializer)
    match draw.randrange(6):
        case 0:
            node.op_type = draw.choice(
                [other.op_type for other in graph.node] + ["Slice", "Squeeze", "Pad", "ConvInteger"]
            )
        case 1 if node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(
                [draw.choice(graph.initializer).name, "", "picture"]
            )
        case 2 if node.input:
            del node.input[draw.randrange(len(node.input))]
        case 3:
            for attribute in node.attribute:
                attribute.i = draw.choice(NUMBERS)
                attribute.f = draw.choice((0.0, float("nan"), float("inf"), -1e38))
                attribute.ints.append(draw.choice(NUMBERS))
        case 4 if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(NUMBERS)
        case _:
            tensor.data_type = draw.randrange(20)


def test_well_formed_lies_give_a_graph_or_one_line(networks: dict[str, tuple[Network, bytes]]) -> None:
    draw, found = random.Random(0), Counter[str]()
    original = onnx.ModelProto.FromString(networks["hybrid"][1])
    for _ in range(300):
        model = onnx.ModelProto()
        model.CopyFrom(original)
        _damage(model, draw)
        found[outcome(lambda: read(model))] += 1  # noqa: B023
    assert min(found["graph"], found["refused"]) > 20
