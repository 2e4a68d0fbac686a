"""ONNX operators one by one, constants that a file computes, layouts, order and labels."""

import numpy as np
import onnx
import pytest
from made_onnx import W, read, tiny
from onnx import TensorProto

from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    MeanOp,
    Op,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
)
from mobilenets.specs.activation import HardSigmoid, LeakyRelu


def one(kind: str, attributes: dict, constants: dict[str, np.ndarray] | None = None, **how) -> Op:  # type: ignore[no-untyped-def, type-arg]
    """The operator that `kind` of "x" and `constants` is read as."""
    given = constants or {}
    return read(tiny([(kind, ["x", *given], ["y"], attributes)], given, **how)).nodes[-1].op


@pytest.mark.parametrize(
    ("attributes", "pads"),
    [
        ({"auto_pad": "SAME_UPPER"}, "same"),
        ({"auto_pad": "SAME_LOWER"}, "same"),
        ({"auto_pad": "VALID"}, "valid"),
        ({"pads": [0, 1, 2, 3]}, (0, 1, 2, 3)),
        ({}, (0, 0, 0, 0)),
    ],
)
def test_pads_of_a_convolution(attributes: dict[str, object], pads: object) -> None:
    op = one("Conv", attributes, {"w": W})
    assert isinstance(op, ConvOp)
    assert op.pads == pads


def test_same_lower_with_a_stride_is_no_word_of_ours() -> None:
    assert one("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"w": W}) == OtherOp("Conv")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, "bfloat16"])
def test_weights_of_other_floats(dtype: str | type) -> None:
    if dtype == "bfloat16":
        model = tiny([("Conv", ["x", "w"], ["y"], {})], {"w": W})
        proto = model.graph.initializer[0]
        proto.data_type = TensorProto.BFLOAT16
        proto.raw_data = (W.view(np.uint32) >> 16).astype("<u2").tobytes()
        op = read(model).nodes[0].op
    else:
        op = one("Conv", {}, {"w": W.astype(dtype)})
    assert isinstance(op, ConvOp)
    assert op.weight.dtype == np.float32
    assert np.array_equal(op.weight, W)  # whole numbers up to 107 are exact in all of them


@pytest.mark.parametrize(
    ("kind", "attributes", "constants", "wanted"),
    [
        ("Clip", {"min": 0.0, "max": 6.0}, {}, ClipOp(0.0, 6.0)),
        ("Max", {}, {"a": np.zeros(1, np.float32)}, ClipOp(0.0, np.inf)),
        ("Min", {}, {"a": np.array(6.0, np.float32)}, ClipOp(-np.inf, 6.0)),
        ("LeakyRelu", {"alpha": 0.1}, {}, ActOp(LeakyRelu(0.1))),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, {}, ActOp("hard_sigmoid")),
        ("HardSigmoid", {}, {}, ActOp(HardSigmoid(0.2, 0.5))),
        ("HardSwish", {}, {}, ActOp("hard_swish")),
        ("Gelu", {}, {}, ActOp("gelu")),
        ("GlobalAveragePool", {}, {}, MeanOp()),
        ("ReduceMean", {"axes": [-1, 2], "keepdims": 0}, {}, MeanOp()),
        ("ReduceMean", {}, {"axes": np.array([2, 3])}, MeanOp()),
        ("ReduceMean", {"axes": [1, 2]}, {}, OtherOp("ReduceMean")),
        ("AveragePool", {"kernel_shape": [8, 8]}, {}, MeanOp()),
        ("AveragePool", {"kernel_shape": [4, 4]}, {}, PoolOp("avg", (4, 4), (1, 1))),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, {}, OtherOp("AveragePool")),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, {}, PoolOp("max", (2, 2), (2, 2))),
        ("Pad", {"pads": [0, 0, 0, 1, 0, 0, 2, 3]}, {}, PadOp((0, 1, 2, 3))),
        ("Pad", {"mode": "reflect", "pads": [0, 0, 1, 1, 0, 0, 1, 1]}, {}, OtherOp("Pad")),
        ("Pad", {}, {"p": np.array([0, 0, 0, 0, 0, 0, 1, 1])}, PadOp((0, 0, 1, 1))),
        ("LSTM", {}, {}, OtherOp("LSTM")),
        ("com.example.Conv", {}, {"w": W}, OtherOp("com.example.Conv")),
    ],
)
def test_operators_without_arrays(
    kind: str, attributes: dict[str, object], constants: dict[str, np.ndarray], wanted: Op
) -> None:
    assert one(kind, attributes, constants) == wanted


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((), ()), ((1, 1), ()), ((3, 1, 1), (3,)), ((1, 3, 1, 1), (3,)), ((8,), (1, 1, 1, 8)), ((3, 8, 8), (1, 3, 8, 8))],
)
def test_constants_beside_a_map(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    op = one("Sub", {}, {"c": np.ones(shape, np.float32)})
    assert isinstance(op, BinaryOp)
    assert op.constant is not None
    assert (op.constant.shape, op.reverse) == (wanted, False)
    left = read(tiny([("Sub", ["c", "x"], ["y"], {})], {"c": np.ones(shape, np.float32)})).nodes[0]
    assert left.op.reverse
    assert left.inputs == ("x",)


def test_slopes_and_dense_layers() -> None:
    slopes = one("PRelu", {}, {"s": np.array([1.0, 2.0, 3.0], np.float32).reshape(3, 1, 1)})
    assert isinstance(slopes, PReluOp)
    assert slopes.slopes.tolist() == [1, 2, 3]
    kernel, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([1.0, 2.0], np.float32)
    matmul = one("MatMul", {}, {"w": kernel}, shape=("n", 3))
    gemm = one("Gemm", {"alpha": 2.0, "beta": 0.5}, {"w": kernel, "b": bias}, shape=("n", 3))
    other = one("Gemm", {"transB": 1}, {"w": kernel.T.copy(), "b": np.array(1.0, np.float32)}, shape=("n", 3))
    assert isinstance(matmul, DenseOp)
    assert isinstance(gemm, DenseOp)
    assert isinstance(other, DenseOp)
    assert np.array_equal(matmul.weight, kernel.T)
    assert np.array_equal(gemm.weight, 2 * kernel.T)
    assert gemm.bias is not None
    assert gemm.bias.tolist() == [0.5, 1.0]
    assert np.array_equal(other.weight, kernel.T)
    assert other.bias is not None
    assert other.bias.tolist() == [1.0, 1.0]


def test_channels_last_is_followed_through_transposes() -> None:
    scale = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 1, 4)
    steps = [
        ("Transpose", ["x"], ["a"], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["a", "w"], ["b"], {}),
        ("Transpose", ["b"], ["c"], {"perm": [0, 2, 3, 1]}),
        ("Mul", ["c", "k"], ["d"], {}),
        ("ReduceMean", ["d"], ["e"], {"axes": [1, 2], "keepdims": 0}),
        ("Add", ["e", "k1"], ["y"], {}),
    ]
    graph = read(tiny(steps, {"w": W, "k": scale, "k1": scale.reshape(-1)}, shape=("n", 8, 8, 3), opset=13))
    assert graph.inputs[0].layout == "nhwc"
    assert graph.inputs[0].size_px == (8, 8)
    mul, mean, add = (node.op for node in graph.nodes[-3:])
    assert isinstance(mul, BinaryOp)
    assert isinstance(add, BinaryOp)
    assert mul.constant is not None
    assert mul.constant.shape == (4,)
    assert mean == MeanOp()
    assert add.constant is not None
    assert add.constant.shape == (4,)
    open_sides = read(tiny(steps, {"w": W, "k": scale, "k1": scale.reshape(-1)}, shape=("n", "h", "w", "c"), opset=13))
    assert open_sides.inputs[0].layout == "nhwc"


def test_chains_of_constants_are_computed() -> None:
    """Weights that are cast, turned and scaled, and pads as PyTorch's exporter spells them."""
    steps = [
        ("Cast", ["half"], ["single"], {"to": TensorProto.FLOAT}),
        ("Transpose", ["single"], ["turned"], {"perm": [3, 2, 0, 1]}),
        ("Mul", ["turned", "two"], ["w"], {}),
        ("ConstantOfShape", ["four"], ["zeros"], {"value": onnx.numpy_helper.from_array(np.zeros(1, np.int64))}),
        ("Concat", ["ends", "zeros"], ["pairs"], {"axis": 0}),
        ("Reshape", ["pairs", "by_two"], ["table"], {}),
        ("Slice", ["table", "minus_one", "lowest", "first_axis", "minus_one"], ["upside"], {}),
        ("Transpose", ["upside"], ["columns"], {"perm": [1, 0]}),
        ("Reshape", ["columns", "flat"], ["pads"], {}),
        ("Pad", ["x", "pads"], ["padded"], {}),
        ("Conv", ["padded", "w"], ["y"], {}),
    ]
    constants = {
        "half": W.transpose(2, 3, 1, 0).astype(np.float16), "two": np.array(2.0, np.float32), "four": np.array([4]),
        "ends": np.array([1, 2, 3, 4]), "by_two": np.array([-1, 2]), "minus_one": np.array([-1]),
        "lowest": np.array([-(2**63) + 1]), "first_axis": np.array([0]), "flat": np.array([-1]),
    }  # fmt: skip
    graph = read(tiny(steps, constants))
    pad, conv = (node.op for node in graph.nodes)
    assert pad == PadOp((3, 1, 4, 2))
    assert isinstance(conv, ConvOp)
    assert np.array_equal(conv.weight, 2 * W)


def test_order_and_dead_ends() -> None:
    steps = [("Relu", ["b"], ["y"], {}), ("Sigmoid", ["x"], ["unused"], {}), ("Conv", ["x", "w"], ["b"], {})]
    graph = read(tiny(steps, {"w": W}))
    assert [node.output for node in graph.nodes] == ["b", "y"]


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({"names": "{0: 'tench', 1: 'gold fish'}"}, ("tench", "gold fish")),
        ({"labels": '["a", "b"]'}, ("a", "b")),
        ({"classes": '{"1": "b", "0": "a"}'}, ("a", "b")),
        ({"names": "__import__('os').getcwd()"}, ()),
        ({"names": "[" * 100_000}, ()),
        ({"names": "{0: 'a', 2: 'b'}"}, ()),
    ],
)
def test_labels_in_metadata(metadata: dict[str, str], labels: tuple[str, ...]) -> None:
    graph = read(tiny([("Relu", ["x"], ["y"], {})], {}, metadata=metadata))
    assert graph.labels == labels
    assert graph.metadata["producer"] == "tests"
