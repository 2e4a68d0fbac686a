"""ONNX files made for tests: whole networks as PyTorch's exporters write them, and small graphs by hand."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from models.warmed import randomise
from onnx import TensorProto, helper, numpy_helper

from mobilenets.models import Network, build
from mobilenets.models.weights.graph import Graph, Op
from mobilenets.models.weights.onnx import read_graph
from mobilenets.specs import Spec
from mobilenets.specs.rows import MQA, SE, UIB, Bottleneck, Conv, FusedBottleneck
from mobilenets.specs.spec import Head, Norm

SIDE_PX = 32
HYBRID = Spec(
    "tiny_hybrid",
    Conv(3, 8, 2),
    (
        FusedBottleneck(3, 16, 8, 2),
        Bottleneck(5, 24, 16, 2, "hard_swish", SE(8)),
        UIB(3, 5, 32, 16, scale=0.5),
        MQA(2, 8, kv_stride=2, scale=0.5),
        UIB(5, 0, 32, 16),
    ),
    Head(24, "hard_swish"),
    classes=5,
    resolution_px=(SIDE_PX, SIDE_PX),
    norm=Norm(eps=1e-3),
)
"""Every kind of block that a hybrid MobileNetV4 or a V3 has, in 10,000 parameters."""
SMALL_V2 = Spec(
    "small_v2",
    Conv(3, 8, 2, "relu6"),
    (
        Bottleneck(3, 16, 8, 1, "relu6"),
        Bottleneck(3, 24, 16, 2, "relu6"),
        Bottleneck(3, 32, 16, 1, "relu6"),
        Conv(1, 32, act="relu6"),
    ),
    classes=5,
    resolution_px=(SIDE_PX, SIDE_PX),
)
SMALL_V3 = replace(
    SMALL_V2,
    name="small_v3",
    stem=Conv(3, 8, 2, "hard_swish"),
    rows=(
        Bottleneck(3, 16, 8, 1, "relu", SE(8)),
        Bottleneck(5, 24, 16, 2, "hard_swish", SE(8)),
        Conv(1, 32, act="relu"),
    ),
)


def network(spec: Spec | str, alpha: float | None = None) -> Network:
    """A network whose norms have seen data, for pictures of SIDE_PX and 5 classes."""
    net = build(spec, alpha=alpha, resolution_px=(SIDE_PX, SIDE_PX), classes=5)
    randomise(net, side_px=SIDE_PX)
    return net.eval()


def unfolded(net: Network) -> bytes:
    """PyTorch's older exporter, told to leave everything as it is: convolutions and norms apart."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(1, 3, SIDE_PX, SIDE_PX),),
            file,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["picture"],
            output_names=["logits"],
            dynamic_axes={"picture": {0: "n"}, "logits": {0: "n"}},
            opset_version=17,
        )
    return file.getvalue()


def pictures(n: int = 2, seed: int = 1, channels: int = 3, h: int = SIDE_PX, w: int = SIDE_PX) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, channels, h, w)).astype(np.float32)


def run_onnx(data: bytes, x: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


Step = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]


def tiny(
    steps: Sequence[Step],
    constants: dict[str, np.ndarray],
    *,
    shape: Sequence[int | str] = ("n", 3, 8, 8),
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """A graph from "x" to "y" of (operator, inputs, outputs, attributes); a dot parts a domain from the operator."""
    nodes = []
    for kind, inputs, outputs, attributes in steps:
        domain, _, word = kind.rpartition(".")
        nodes.append(helper.make_node(word, list(inputs), list(outputs), domain=domain, **attributes))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="tests")
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    return model


W = np.arange(4 * 3 * 9, dtype=np.float32).reshape(4, 3, 3, 3)
"""Filters of a convolution from 3 to 4 channels, every number another."""


def read(data: bytes | onnx.ModelProto) -> Graph:
    return read_graph(data if isinstance(data, bytes) else data.SerializeToString(), where="a.onnx")


def ops(graph: Graph, kind: type) -> list[Op]:
    return [node.op for node in graph.nodes if isinstance(node.op, kind)]
