"""Keras files without Keras: what the shared files hold, what Keras itself answers, and what hostile files end in."""

import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mobilenets.errors import BadData, CheckpointMismatch
from mobilenets.models.layers import same_pads
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ConvOp,
    DenseOp,
    Graph,
    MeanOp,
    Node,
    NormOp,
    Op,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)
from mobilenets.models.weights.keras import is_weights_only, read_graph, read_weights
from mobilenets.models.weights.keras_names import read_keras_weights
from mobilenets.models.weights.layout import slots
from mobilenets.specs.activation import ClippedRelu, HardSigmoid, LeakyRelu

h5py = pytest.importorskip("h5py")

SAME_NUMBERS = 2e-5
"""Probabilities of the same float32 network in two frameworks."""


# --- a graph run in torch ------------------------------------------------------------------------------------------


def run(graph: Graph, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The graph's first output for a batch (N, h, w, C)."""
    tensors = {graph.inputs[0].name: torch.from_numpy(image).permute(0, 3, 1, 2)}
    for node in graph.nodes:
        tensors[node.output] = apply(node.op, [tensors[name] for name in node.inputs])
    result = tensors[graph.outputs[0].name]
    return result.flatten(1).numpy()


def apply(op: Op, inputs: list[torch.Tensor]) -> torch.Tensor:
    x = inputs[0]
    match op:
        case ConvOp():
            weight = torch.from_numpy(op.weight)
            bias = None if op.bias is None else torch.from_numpy(op.bias)
            if op.pads == "same":
                x = F.pad(x, same_pads(tuple(x.shape[2:]), tuple(weight.shape[2:]), op.stride, op.dilation[0]))
            return F.conv2d(x, weight, bias, op.stride, 0, op.dilation, op.groups)
        case DenseOp():
            bias = None if op.bias is None else torch.from_numpy(op.bias)
            return F.linear(x.flatten(1), torch.from_numpy(op.weight), bias)
        case NormOp():
            parts = (torch.from_numpy(a) for a in (op.mean, op.variance, op.gamma, op.beta))
            return F.batch_norm(x, *parts, eps=op.eps)
        case ActOp():
            return ACTIVATIONS[op.act](x)
        case BinaryOp():
            other = inputs[1] if op.constant is None else torch.from_numpy(op.constant).reshape(-1, 1, 1)
            a, b = (other, x) if op.reverse else (x, other)
            return {"add": a.add, "sub": a.sub, "mul": a.mul, "div": a.div}[op.kind](b)
        case MeanOp():
            return x.mean((2, 3), keepdim=True)
        case PadOp(pads=(top, left, bottom, right)):
            return F.pad(x, (left, right, top, bottom), value=op.value)
        case SoftmaxOp():
            return x.flatten(1).softmax(1)
        case ShapeOp():
            return x
        case _:
            raise AssertionError(f"no {op} in these networks")


ACTIVATIONS: dict[object, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hard_swish": F.hardswish,
    "hard_sigmoid": F.hardsigmoid,
}


def counts(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


# --- files of others -----------------------------------------------------------------------------------------------


def test_keras_applications_v1(shared: Path) -> None:
    graph = read_graph(shared / "weights" / "keras-mobilenet-v1" / "mobilenet_v1_0.25_224.h5")
    assert (graph.format, graph.inputs[0].name, graph.inputs[0].shape) == ("keras", "input_2", (0, 224, 224, 3))
    assert (graph.inputs[0].layout, graph.inputs[0].size_px) == ("nhwc", (224, 224))
    assert [(fed.name, fed.shape) for fed in graph.outputs] == [("predictions", (0, 1000))]
    assert counts(graph) == {
        "ConvOp": 28, "NormOp": 27, "ActOp": 27, "PadOp": 4, "ShapeOp": 2, "MeanOp": 1, "SoftmaxOp": 1,
    }  # fmt: skip
    assert {node.op.pads for node in graph.nodes if isinstance(node.op, PadOp)} == {(0, 0, 1, 1)}
    assert {node.op.eps for node in graph.nodes if isinstance(node.op, NormOp)} == {1e-3}
    assert {node.op.act for node in graph.nodes if isinstance(node.op, ActOp)} == {"relu6"}
    convs = [op for _, op in graph.convolutions()]
    assert [op.groups for op in convs[:4]] == [1, 8, 1, 16]
    assert convs[0].weight.shape == (8, 3, 3, 3)
    assert convs[1].weight.shape == (8, 1, 3, 3)
    assert convs[0].pads == "same"
    assert [op.pads for op in convs if op.stride == (2, 2)] == ["same", *["valid"] * 4]
    assert [op.bias is not None for op in convs] == [*[False] * 27, True]
    with h5py.File(shared / "weights" / "keras-mobilenet-v1" / "mobilenet_v1_0.25_224.h5") as file:
        kernel = file["model_weights/conv_dw_5/conv_dw_5/depthwise_kernel:0"][()]
    node = graph.producers()["conv_dw_5"]
    assert isinstance(node.op, ConvOp)
    assert np.array_equal(node.op.weight[:, 0], kernel[..., 0].transpose(2, 0, 1))


def test_visual_wake_words(shared: Path) -> None:
    """Bias and batch norm together, a mean over a window as large as the map, a dense classifier."""
    graph = read_graph(shared / "weights" / "mlperf-tiny" / "vww_96.h5")
    assert graph.inputs[0].shape == (0, 96, 96, 3)
    assert counts(graph) == {
        "ConvOp": 27, "NormOp": 27, "ActOp": 27, "MeanOp": 1, "ShapeOp": 1, "DenseOp": 1, "SoftmaxOp": 1,
    }  # fmt: skip
    assert all(op.bias is not None and op.pads == "same" for _, op in graph.convolutions())
    consumers = graph.consumers()
    assert all(isinstance(consumers[node.output][0].op, NormOp) for node, _ in graph.convolutions())
    assert graph.nodes[-1].output == "dense"
    assert graph.nodes[-2].output != "dense"
    assert graph.outputs[0].shape == (0, 2)


def test_the_same_network_as_tflite_answers_alike(shared: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    folder = shared / "weights" / "mlperf-tiny"
    graph = read_graph(folder / "vww_96.h5")
    images = np.random.default_rng(0).uniform(0, 1, (4, 96, 96, 3)).astype(np.float32)
    theirs = []
    lite = interpreter.Interpreter(str(folder / "vww_96_float.tflite"))
    lite.allocate_tensors()
    for image in images:
        lite.set_tensor(lite.get_input_details()[0]["index"], image[None])
        lite.invoke()
        theirs.append(lite.get_tensor(lite.get_output_details()[0]["index"])[0])
    assert np.abs(run(graph, images) - np.array(theirs)).max() < SAME_NUMBERS
    assert np.abs(run(with_eps(graph, 1e-1), images) - np.array(theirs)).max() > 100 * SAME_NUMBERS


def with_eps(graph: Graph, eps: float) -> Graph:
    """The broken twin: every norm with another epsilon."""
    nodes = [replace(n, op=replace(n.op, eps=eps)) if isinstance(n.op, NormOp) else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


# --- files of this Keras -------------------------------------------------------------------------------------------

MAKE = """
import sys, warnings, logging
warnings.simplefilter("ignore"); logging.disable(logging.WARNING)
import numpy as np, keras
from keras import applications as A, layers as L
folder = sys.argv[1]
keras.utils.set_random_seed(0)
side = dict(input_shape=(64, 64, 3), weights=None)
models = {
    "v1": A.MobileNet(alpha=0.25, classes=7, **side),
    "v2": A.MobileNetV2(alpha=0.35, classes=7, **side),
    "v3": A.MobileNetV3Small(alpha=0.75, classes=7, **side),
    "v3min": A.MobileNetV3Large(alpha=0.75, minimalistic=True, classes=7, **side),
}
inner = A.MobileNetV2(alpha=0.35, include_top=False, **side)
models["nested"] = keras.Sequential([keras.Input((64, 64, 3)), L.Rescaling(1 / 127.5, -1), inner,
                                     L.GlobalAveragePooling2D(), L.Dropout(0.2), L.Dense(5, activation="softmax")])
x = keras.Input((32, 32, 3))
y = L.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(x)
y = L.BatchNormalization(scale=False)(y)
y = L.Conv2D(8, 3, padding="same", groups=2, dilation_rate=2, activation="relu6")(y)
y = L.Multiply()([y, L.Conv2D(8, 1, activation="hard_sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(y))])
models["own"] = keras.Model(x, L.Dense(3)(L.Flatten()(L.AveragePooling2D(16)(y))))
rng = np.random.default_rng(0)
for name, model in models.items():
    for w in model.weights:
        if "variance" in w.path:
            w.assign(rng.uniform(0.5, 1.5, w.shape))
        elif "mean" in w.path or "beta" in w.path or "bias" in w.path:
            w.assign(rng.normal(0, 0.1, w.shape))
    high = 1 if name in ("v1", "v2", "own") else 255
    images = rng.uniform(0, high, (2, *model.input_shape[1:])).astype("float32")
    for form in ("keras", "h5"):
        model.save(f"{folder}/{name}.{form}")
    model.save_weights(f"{folder}/{name}.weights.h5")
    np.savez(f"{folder}/{name}.npz", images=images, answers=np.asarray(model.predict(images, verbose=0)))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that Keras built and saved, with its answers."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("needs keras")
    folder = tmp_path_factory.mktemp("keras")
    env = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder)], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.peer
@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("name", ["v1", "v2", "v3", "v3min", "nested", "own"])
def test_answers_as_keras_does(made: Path, name: str, form: str) -> None:
    graph = read_graph(made / f"{name}.{form}")
    facts = np.load(made / f"{name}.npz")
    assert not [node.op for node in graph.nodes if isinstance(node.op, OtherOp)]
    assert np.abs(run(graph, facts["images"]) - facts["answers"]).max() < SAME_NUMBERS
    assert np.abs(run(with_eps(graph, 0.5), facts["images"]) - facts["answers"]).max() > 10 * SAME_NUMBERS
    assert ("rescaling" in graph.metadata) == (name in ("v3", "v3min", "nested"))
    assert graph.metadata["keras_version"].startswith("3")


@pytest.mark.peer
@pytest.mark.parametrize("form", ["weights.h5", "h5"])
@pytest.mark.parametrize(
    ("name", "network", "alpha"),
    [
        ("v1", "mobilenetv1", 0.25),
        ("v2", "mobilenetv2", 0.35),
        ("v3", "mobilenetv3_small", 0.75),
        ("v3min", "mobilenetv3_large_minimal", 0.75),
    ],
)
def test_weights_alone_become_a_network(made: Path, name: str, network: str, alpha: float, form: str) -> None:
    assert is_weights_only(made / f"{name}.{form}") == (form == "weights.h5")
    read = read_keras_weights(read_weights(made / f"{name}.{form}"), where=name)
    assert (read.spec.name, read.spec.alpha, read.spec.classes) == (network, alpha, 7)
    assert (read.spec.padding, read.spec.norm.eps) == ("same", 1e-3)
    assert read.left_out == ()
    graph, arrays = read_graph(made / f"{name}.h5"), iter(convolutions_of(read.arrays, read.spec))
    for node in graph.nodes:
        if isinstance(node.op, (ConvOp, DenseOp)):
            ours = next(arrays)
            assert np.array_equal(np.squeeze(node.op.weight), np.squeeze(ours)), node.name
    assert next(arrays, None) is None


def convolutions_of(arrays: dict[str, NDArray[np.float32]], spec: Any) -> Iterator[NDArray[np.float32]]:
    return (arrays[slot.name] for slot in slots(spec) if slot.role == "weight")


@pytest.mark.peer
def test_a_misfit_among_weights_is_named(made: Path) -> None:
    arrays = read_weights(made / "v2.weights.h5")
    backbone = {name: array for name, array in arrays.items() if not name.startswith("predictions")}
    assert read_keras_weights(backbone, where="x").spec.classes == 0
    missing = {name: array for name, array in arrays.items() if name != "block_3_expand/kernel"}
    with pytest.raises(CheckpointMismatch, match="block_3_expand/kernel"):
        read_keras_weights(missing, where="x")
    with pytest.raises(CheckpointMismatch, match="block_3_project_bn/beta"):
        read_keras_weights(arrays | {"block_3_project_BN/beta": np.zeros(3, np.float32)}, where="x")
    with pytest.raises(CheckpointMismatch, match="block_17_expand/kernel"):
        read_keras_weights(arrays | {"block_17_expand/kernel": np.zeros((1, 1, 112, 8), np.float32)}, where="x")
    with pytest.raises(CheckpointMismatch, match=r"keras\.applications"):
        read_keras_weights({"layer/kernel": np.zeros((3, 3), np.float32)}, where="x")


def test_slashes_of_keras_2_are_the_same_names(tmp_path: Path) -> None:
    """ "expanded_conv_1/expand/BatchNorm" in a file of Keras 2 is Keras 3's "expanded_conv_1_expand_bn"."""
    from mobilenets.models.weights.keras_names import keras_names
    from mobilenets.specs import resolve

    spec = resolve("mobilenetv3_small", alpha=0.5, classes=3)
    rng = np.random.default_rng(0)
    ours = {slot.name: rng.normal(size=slot.shape).astype(np.float32) for slot in slots(spec)}
    layers: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, plain in keras_names(spec).items():
        layer, _, leaf = plain.rpartition("/")
        layer = layer.replace("_bn", "/BatchNorm").replace("_squeeze_excite_conv", "/squeeze_excite/Conv")
        for part in ("expand", "depthwise", "project"):
            layer = layer.replace(f"_{part}", f"/{part}")
        layer = layer.replace("conv", "Conv", 1) if layer.startswith("conv") else layer.replace("logits", "Logits")
        value = ours[name]
        if leaf == "kernel":
            value = value.reshape(*value.shape, 1, 1) if value.ndim == 2 else value
            depthwise = layer.endswith("depthwise")
            value, leaf = (
                value.transpose(2, 3, 0, 1) if depthwise else value.transpose(2, 3, 1, 0),
                ("depthwise_kernel" if depthwise else leaf),
            )
        layers.setdefault(layer, {})[leaf] = value
    assert "expanded_conv/squeeze_excite/Conv_1" in layers
    assert "Conv/BatchNorm" in layers
    path = tmp_path / "weights_mobilenet_v3_small_224_0.5_float.h5"
    with h5py.File(path, "w") as file:
        write_layers(file, layers)
    assert is_weights_only(path)
    read = read_keras_weights(read_weights(path), where="x")
    assert (read.spec.name, read.spec.alpha, read.spec.classes) == ("mobilenetv3_small", 0.5, 3)
    assert all(np.array_equal(read.arrays[name], ours[name]) for name in ours)
    with pytest.raises(BadData, match="no Keras model"):
        read_graph(path)


# --- files made here -----------------------------------------------------------------------------------------------

Layers = dict[str, dict[str, NDArray[np.float32]]]


def write_layers(group: Any, layers: Layers) -> None:
    """Weights as Keras 2 lays them out."""
    for layer, arrays in layers.items():
        sub = group.require_group(layer)
        sub.attrs["weight_names"] = [f"{layer}/{leaf}:0".encode() for leaf in arrays]
        for leaf, array in arrays.items():
            sub[f"{layer}/{leaf}:0"] = array


def layer(kind: str, name: str, *inputs: Any, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 writes it; its inputs are names, or whole entries."""
    calls = [[[i, 0, 0, {}] if isinstance(i, str) else i for i in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": calls}


def functional(layers: list[dict[str, Any]], output: str, name: str = "model") -> dict[str, Any]:
    config = {"name": name, "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [[output, 0, 0]]}
    return {"class_name": "Functional", "config": config}


def input_layer(shape: tuple[int | None, ...] = (None, 8, 8, 3)) -> dict[str, Any]:
    return layer("InputLayer", "in", batch_input_shape=list(shape))


def write_h5(path: Path, model: Any, weights: Layers, *, version: str = "2.8.0") -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = model if isinstance(model, str) else json.dumps(model)
        file.attrs["keras_version"] = version
        write_layers(file.create_group("model_weights"), weights)
    return path


def ops_of(path: Path, layers: list[dict[str, Any]], weights: Layers | None = None, **how: Any) -> list[Node]:
    model = functional([input_layer(), *layers], layers[-1]["name"])
    return list(read_graph(write_h5(path / "m.h5", model, weights or {}, **how)).nodes)


def test_functions_with_numbers_of_keras_2(tmp_path: Path) -> None:
    """V3's gate as tf.keras wrote it: relu6(x + 3) * (1 / 6), in calls with a constant on either side."""
    nodes = ops_of(
        tmp_path,
        [
            {**layer("TFOpLambda", "plus", function="__operators__.add"), "inbound_nodes": [["in", 0, 0, {"y": 3.0}]]},
            layer("ReLU", "clip", "plus", max_value=6.0, negative_slope=0.0, threshold=0.0),
            {
                **layer("TFOpLambda", "times", function="math.multiply"),
                "inbound_nodes": [["_CONSTANT_VALUE", -1, 0.16666666, {"y": ["clip", 0, 0], "name": None}]],
            },
            {
                **layer("TFOpLambda", "two", function="math.multiply"),
                "inbound_nodes": [["in", 0, 0, {"y": ["times", 0, 0]}]],
            },
        ],
    )
    plus, clip, times, two = (node.op for node in nodes)
    assert isinstance(plus, BinaryOp)
    assert isinstance(times, BinaryOp)
    assert (plus.kind, float(plus.constant), plus.reverse) == ("add", 3.0, False)
    assert clip == ActOp("relu6")
    assert (times.kind, times.reverse) == ("mul", True)
    assert float(times.constant) == pytest.approx(1 / 6)
    assert isinstance(two, BinaryOp)
    assert two.constant is None
    assert nodes[-1].inputs == ("in", "times")


def test_nodes_of_tensorflow_2_2(tmp_path: Path) -> None:
    entry = layer("TensorFlowOpLayer", "tf_op_layer_add", "in", node_def={"op": "AddV2"}, constants={"1": 3.0})
    (node,) = ops_of(tmp_path, [entry])
    assert isinstance(node.op, BinaryOp)
    assert (node.op.kind, float(node.op.constant)) == ("add", 3.0)


@pytest.mark.parametrize(
    ("entry", "op"),
    [
        (layer("ReLU", "a", "in", max_value=4.0), ActOp(ClippedRelu(4.0))),
        (layer("ReLU", "a", "in", negative_slope=0.1), ActOp(LeakyRelu(0.1))),
        (layer("ReLU", "a", "in", threshold=1.0), OtherOp("ReLU")),
        (layer("LeakyReLU", "a", "in", alpha=0.25), ActOp(LeakyRelu(0.25))),
        (layer("LeakyReLU", "a", "in", negative_slope=0.25), ActOp(LeakyRelu(0.25))),
        (layer("Activation", "a", "in", activation="relu6"), ActOp("relu6")),
        (layer("Activation", "a", "in", activation="swish"), ActOp("swish")),
        (layer("Activation", "a", "in", activation="elu"), OtherOp("elu")),
        (layer("Activation", "a", "in", activation="linear"), ShapeOp("identity")),
        (layer("ZeroPadding2D", "a", "in", padding=[[1, 2], [3, 4]]), PadOp((1, 3, 2, 4))),
        (layer("ZeroPadding2D", "a", "in", padding=[1, 2]), PadOp((1, 2, 1, 2))),
        (layer("AveragePooling2D", "a", "in", pool_size=[8, 8]), MeanOp()),
        (layer("AveragePooling2D", "a", "in", pool_size=[2, 2]), PoolOp("avg", (2, 2), (2, 2), "valid")),
        (layer("MaxPooling2D", "a", "in", pool_size=[3, 3], strides=[2, 2], padding="same"),
         PoolOp("max", (3, 3), (2, 2), "same")),
        (layer("Lambda", "a", "in", function=["4wEAAAA=", None, None]), OtherOp("Lambda")),
        (layer("Conv2DTranspose", "a", "in", filters=3), OtherOp("Conv2DTranspose")),
        (layer("Add", "a", "in", "in", "in"), OtherOp("Add")),
    ],
)  # fmt: skip
def test_layers_without_weights(tmp_path: Path, entry: dict[str, Any], op: Op) -> None:
    (node,) = ops_of(tmp_path, [entry])
    assert node.op == op
    assert node.output == "a"


def test_hard_sigmoid_is_that_of_its_version(tmp_path: Path) -> None:
    entry = layer("Activation", "a", "in", activation="hard_sigmoid")
    assert ops_of(tmp_path, [entry])[0].op == ActOp(HardSigmoid(0.2, 0.5, 1.0))
    assert ops_of(tmp_path, [entry], version="3.1.0")[0].op == ActOp("hard_sigmoid")


def test_layers_with_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    weights: Layers = {
        "sep": {"depthwise_kernel": numbers(3, 3, 3, 2), "pointwise_kernel": numbers(1, 1, 6, 4), "bias": numbers(4)},
        "bn": {"moving_mean": numbers(4), "moving_variance": numbers(4) ** 2, "beta": numbers(4)},
        "prelu": {"alpha": numbers(1, 1, 4)},
        "norm": {"mean": numbers(4), "variance": numbers(4) ** 2},
    }
    nodes = ops_of(
        tmp_path,
        [
            layer("SeparableConv2D", "sep", "in", strides=[2, 2], padding="same", activation="relu"),
            layer("BatchNormalization", "bn", "sep", axis=[3], epsilon=0.01, scale=False),
            layer("PReLU", "prelu", "bn", shared_axes=[1, 2]),
            layer("Normalization", "norm", "prelu", axis=[-1], mean=None),
        ],
        weights,
    )
    dw, pw, act, bn, prelu, sub, div = (node.op for node in nodes)
    assert isinstance(dw, ConvOp)
    assert isinstance(pw, ConvOp)
    assert isinstance(bn, NormOp)
    assert (dw.groups, dw.stride, dw.pads, dw.weight.shape) == (3, (2, 2), "same", (6, 1, 3, 3))
    # TensorFlow's outputs are channel by channel: c * multiplier + m.
    assert np.array_equal(dw.weight[3, 0], weights["sep"]["depthwise_kernel"][:, :, 1, 1])
    assert np.array_equal(pw.weight[:, :, 0, 0], weights["sep"]["pointwise_kernel"][0, 0].T)
    assert np.array_equal(pw.bias, weights["sep"]["bias"])
    assert act == ActOp("relu")
    assert nodes[2].output == "sep"
    assert len({node.output for node in nodes}) == 7
    assert (bn.eps, bn.gamma.tolist()) == (0.01, [1.0] * 4)
    assert isinstance(prelu, PReluOp)
    assert prelu.slopes.shape == (4,)
    assert isinstance(sub, BinaryOp)
    assert isinstance(div, BinaryOp)
    assert (sub.kind, div.kind) == ("sub", "div")
    assert np.allclose(div.constant**2, weights["norm"]["variance"])


def test_a_sequential_without_an_input_layer(tmp_path: Path) -> None:
    first = {"class_name": "Conv2D", "config": {"name": "c", "batch_input_shape": [None, 8, 8, 3], "use_bias": False}}
    model = {"class_name": "Sequential", "config": [first]}  # before Keras 2.2.3
    graph = read_graph(write_h5(tmp_path / "s.h5", model, {"c": {"kernel": np.ones((3, 3, 3, 4), np.float32)}}))
    assert graph.inputs[0].size_px == (8, 8)
    assert graph.outputs[0].shape == (0, 6, 6, 4)


KERAS_MODEL = functional(
    [
        input_layer(),
        layer("Conv2D", "a", "in", use_bias=False),
        layer("Conv2D", "b", "a", use_bias=True, activation="relu"),
    ],
    "b",
)


def keras_zip(path: Path, *, marked: bool, container: str = "layers") -> Path:
    """A `.keras` of two convolutions; `marked`: whether the groups bear the layers' names, then in another order."""
    inside = path.with_suffix(".tmp")
    with h5py.File(inside, "w") as file:
        for i, name in enumerate(("b", "a") if marked else ("a", "b")):
            group = file.create_group(f"{container}/conv2d{f'_{i}' if i else ''}/vars")
            if marked:
                group.attrs["name"] = name
            group["0"] = np.full((3, 3, 3, 3), {"a": 1, "b": 2}[name], np.float32)
            if name == "b":
                group["1"] = np.zeros(3, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(KERAS_MODEL))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
        archive.writestr("model.weights.h5", inside.read_bytes())
    return path


@pytest.mark.parametrize(
    ("marked", "container"), [(True, "layers"), (False, "layers"), (False, "_layer_checkpoint_dependencies")]
)
def test_zip_weights_by_mark_and_by_position(tmp_path: Path, marked: bool, container: str) -> None:
    graph = read_graph(keras_zip(tmp_path / "m.keras", marked=marked, container=container))
    values = [float(op.weight.mean()) for _, op in graph.convolutions()]
    assert values == [1.0, 2.0]


# --- hostile files -------------------------------------------------------------------------------------------------


def test_hostile_hdf5(tmp_path: Path) -> None:
    model = functional([input_layer(), layer("Conv2D", "c", "in", use_bias=False)], "c")
    path = write_h5(tmp_path / "m.h5", model, {"c": {"kernel": np.ones((3, 3, 3, 4), np.float32)}})
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:  # a dataset of 4 TB that takes no room
        file["model_weights"].create_dataset("bomb", (10**6, 10**6), "f4", chunks=(1000, 1000))
    with pytest.raises(BadData, match="claims more numbers"):
        read_graph(path)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(400))
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:  # data kept in another file
        del file["model_weights/c/c/kernel:0"]
        file["model_weights/c/c"].create_dataset(
            "kernel:0", (3, 3, 3, 3), "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
        )
    with pytest.raises(BadData, match="another file"):
        read_graph(path)
    other = write_h5(tmp_path / "other.h5", model, {"c": {"kernel": np.ones((3, 3, 3, 4), np.float32)}})
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:  # a link into another file
        del file["model_weights/c"]
        file["model_weights/c"] = h5py.ExternalLink(str(other), "model_weights/c")
    with pytest.raises(BadData, match="no weights called 'kernel'"):
        read_graph(path)


@pytest.mark.parametrize(
    "model",
    [
        "not json",
        "[" * 100_000,
        {"class_name": "Custom", "config": {"layers": []}},
        {"class_name": "Functional", "config": {"layers": [3]}},
        functional([input_layer()], "nowhere"),
        functional([input_layer(), layer("Conv2D", "c", "in")], "c"),
        functional([input_layer(), layer("ReLU", "a", "b"), layer("ReLU", "b", "a")], "b"),
        functional([input_layer(), layer("ReLU", "a", "in"), layer("ReLU", "a", "in")], "a"),
        {"class_name": "Sequential", "config": {"name": "s", "layers": []}},
        functional(
            [
                input_layer(),
                {"class_name": "Sequential", "name": "s", "config": [], "inbound_nodes": [[]]},
                layer("ReLU", "a", "s"),
            ],
            "a",
        ),
        functional([input_layer((None, -1, 8, 3)), layer("ReLU", "a", "in")], "a"),
        functional([input_layer(), layer("ReLU", "a", "in", max_value="6")], "a"),
        functional([input_layer(), layer("ReLU", "a", "in", max_value=math.nan)], "a"),
        functional([input_layer(), layer("ZeroPadding2D", "a", "in", padding=[[0, -1], 0])], "a"),
        functional([input_layer(), layer("AveragePooling2D", "a", "in", pool_size=0)], "a"),
    ],
    ids=lambda model: str(model)[:12],
)
def test_malformed_configurations(tmp_path: Path, model: Any) -> None:
    with pytest.raises(BadData) as caught:
        read_graph(write_h5(tmp_path / "m.h5", model, {}))
    assert "\n" not in caught.value.message


def test_models_that_call_each_other_without_end(tmp_path: Path) -> None:
    """Six levels, each called 900 times by the one above: 900**6 layers from a short text."""
    model = functional([input_layer(), layer("ReLU", "a", "in")], "a", "m0")
    for i in range(1, 7):
        inner = {**model, "name": f"m{i}", "inbound_nodes": [[["in", 0, 0, {}]]] * 900}
        model = functional([input_layer(), inner], f"m{i}", f"m{i}")
    with pytest.raises(BadData, match="layers"):
        read_graph(write_h5(tmp_path / "m.h5", model, {}))


def test_a_zip_that_swells(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 60_000_000)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(BadData, match=r"config.json is larger"):
        read_graph(path)


def sources(tmp_path: Path, shared: Path) -> Iterator[tuple[str, bytes]]:
    model = functional([input_layer(), layer("Conv2D", "c", "in", use_bias=False)], "c")
    weights: Layers = {"c": {"kernel": np.ones((3, 3, 3, 4), np.float32)}}
    yield "s.h5", write_h5(tmp_path / "s.h5", model, weights).read_bytes()
    yield "s.keras", keras_zip(tmp_path / "s.keras", marked=True).read_bytes()
    yield "v.h5", (shared / "weights" / "keras-mobilenet-v1" / "mobilenet_v1_0.25_224.h5").read_bytes()


@pytest.mark.parametrize("count", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_mutations_end_in_one_line(tmp_path: Path, shared: Path, count: int) -> None:
    rng = random.Random(count)
    for name, whole in sources(tmp_path, shared):
        refused = 0
        for i in range(count):
            cut = bytearray(whole)
            reach = min(len(cut), 6000) if i % 2 else len(cut)  # half of them where the structure is
            for _ in range(rng.randint(1, 12)):
                cut[rng.randrange(reach)] = rng.randrange(256)
            (tmp_path / name).write_bytes(cut[: len(cut) if i % 4 else rng.randrange(len(cut))])
            refused += is_refused(lambda path=tmp_path / name: read_graph(path))
        assert refused > count // 8, name


def is_refused(read: Callable[[], object]) -> bool:
    """Whether `read` ends in one line of ours rather than well; any other exception is a failure."""
    try:
        read()
    except (BadData, CheckpointMismatch) as error:
        return "\n" not in error.message or pytest.fail(error.message)
    return False
