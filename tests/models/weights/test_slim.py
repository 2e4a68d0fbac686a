"""TF-slim's variables: every network is found with its width, read back exactly, and a misfit is named."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import CheckpointMismatch
from mobilenets.models.weights.layout import slots
from mobilenets.models.weights.slim import GATE, read_slim
from mobilenets.specs import Spec, resolve
from mobilenets.specs.rows import Bottleneck

Arrays = dict[str, NDArray[np.float32]]

LEAF = {
    "gamma": "BatchNorm/gamma",
    "beta": "BatchNorm/beta",
    "mean": "BatchNorm/moving_mean",
    "variance": "BatchNorm/moving_variance",
    "bias": "biases",
}
CASES = [
    ("mobilenetv1", 0.25, "MobilenetV1/"),
    ("mobilenetv2", 0.35, "MobilenetV2/"),
    ("mobilenetv2", 1.4, "MobilenetV2/"),
    ("mobilenetv3_large", 0.5, "MobilenetV3/"),
    ("mobilenetv3_small", 0.75, "MobilenetV3/"),
    ("mobilenetv3_small_minimal", 0.5, "MobilenetV3/"),
    ("mobilenetv3_large_minimal", 0.25, "MobilenetV3/"),
    ("mobilenetv3_edgetpu", 0.25, "MobilenetEdgeTPU/"),
]


def v1_scope(module: str) -> str:
    """Howard's V1: Conv2d_0, then Conv2d_1_depthwise, Conv2d_1_pointwise, ..."""
    if module.startswith("backbone.stem"):
        return "Conv2d_0"
    if module == "classifier":
        return "Logits/Conv2d_1c_1x1"
    _, _, i, step, *_ = module.split(".")
    return f"Conv2d_{int(i) + 1}_" + {"dw": "depthwise", "pw": "pointwise"}[step]


def later_scope(module: str, last: int) -> str:
    """V2, V3 and EdgeTPU: Conv, expanded_conv, expanded_conv_1, ..., Conv_1, Conv_2."""
    if module.startswith("backbone.stem"):
        return "Conv"
    if module == "classifier":
        return "Logits/Conv2d_1c_1x1"
    if module.startswith("hidden"):
        return "Conv_2"
    _, _, i, step, *rest = module.split(".")
    if step == "conv" and int(i) == last:
        return "Conv_1"
    block = "expanded_conv" + (f"_{i}" if i != "0" else "")
    if step == "se":
        return f"{block}/squeeze_excite/" + {"reduce": "Conv", "expand": "Conv_1"}[rest[0]]
    return f"{block}/" + {"dw": "depthwise", "conv": "project"}.get(step, step)


def slim_variables(spec: Spec, scope: str, *, seed: int = 0) -> tuple[Arrays, Arrays]:
    """(random arrays of ours, the same as slim's variables)."""
    rng = np.random.default_rng(seed)
    ours: Arrays = {}
    theirs: Arrays = {}
    for slot in slots(spec):
        value = rng.normal(size=slot.shape).astype(np.float32)
        ours[slot.name] = value
        name = v1_scope(slot.module) if spec.generation == "v1" else later_scope(slot.module, len(spec.rows) - 1)
        leaf = LEAF.get(slot.role, "weights")
        if slot.role == "weight":
            value = value.reshape(*value.shape, 1, 1) if value.ndim == 2 else value
            if ".dw." in slot.name:
                leaf, value = "depthwise_weights", value.transpose(2, 3, 0, 1)
            else:
                value = value.transpose(2, 3, 1, 0)
        theirs[f"{scope}{name}/{leaf}"] = value
    return ours, theirs


def variables_of(network: str, alpha: float, scope: str, *, classes: int = 1001) -> tuple[Spec, Arrays, Arrays]:
    spec = resolve(network, alpha=alpha, classes=classes)
    return spec, *slim_variables(spec, scope)


@pytest.mark.parametrize(("network", "alpha", "scope"), CASES, ids=lambda value: str(value))
def test_every_network_is_read_back_exactly(network: str, alpha: float, scope: str) -> None:
    spec, ours, theirs = variables_of(network, alpha, scope)
    read = read_slim(theirs, where="model.ckpt")
    assert (read.spec.name, read.spec.alpha, read.spec.classes) == (network, pytest.approx(alpha), 1001)
    assert (read.spec.padding, read.spec.norm.eps, read.spec.resolution_px) == ("same", 1e-3, (224, 224))
    assert [row.outputs(8) for row in read.spec.rows] == [row.outputs(8) for row in spec.rows]
    assert list(read.arrays) == [slot.name for slot in slots(read.spec)]
    assert all(np.array_equal(read.arrays[name], ours[name]) for name in ours)
    assert read.left_out == ()
    assert {"resolution", "preprocess"} <= set(read.assumed)
    assert (read.preprocess.fit, read.preprocess.mean) == ("central_then_stretch", (0.5, 0.5, 0.5))


def test_details_are_slims() -> None:
    v3 = read_slim(variables_of("mobilenetv3_small", 0.5, "MobilenetV3/")[2], where="x").spec
    gates = {row.se.gate for row in v3.rows if isinstance(row, Bottleneck) and row.se}
    assert gates == {GATE}
    v1 = read_slim(variables_of("mobilenetv1", 0.25, "MobilenetV1/")[2], where="x").spec
    assert v1.stem.act == "relu6"


def test_averages_win_and_slots_are_listed() -> None:
    _, ours, theirs = variables_of("mobilenetv2", 0.35, "MobilenetV2/")
    average = "/ExponentialMovingAverage"
    raw = {name: array + 1 for name, array in theirs.items()}
    extra = {
        "global_step": np.float32(7).reshape(()),
        "MobilenetV2/Conv/weights/RMSProp": theirs["MobilenetV2/Conv/weights"],
    }
    read = read_slim(raw | extra | {name + average: array for name, array in theirs.items()}, where="x")
    assert all(np.array_equal(read.arrays[name], ours[name]) for name in ours)
    assert any("moving averages" in line for line in read.evidence)
    assert set(read.left_out) == extra.keys()
    plain = read_slim(raw, where="x")  # without averages the raw ones are taken, and nothing is said of them
    assert not np.array_equal(plain.arrays["classifier.bias"], ours["classifier.bias"])
    assert not any("moving averages" in line for line in plain.evidence)


def test_a_backbone_inside_a_detector() -> None:
    _, ours, theirs = variables_of("mobilenetv2", 0.5, "FeatureExtractor/MobilenetV2/", classes=0)
    theirs["BoxPredictor_0/BoxEncodingPredictor/weights"] = np.zeros((1, 1, 8, 12), np.float32)
    read = read_slim(theirs, where="x")
    assert (read.spec.classes, read.spec.name, read.spec.alpha) == (0, "mobilenetv2", 0.5)
    assert read.left_out == ("BoxPredictor_0/BoxEncodingPredictor/weights",)
    assert all(np.array_equal(read.arrays[name], ours[name]) for name in ours)
    without_last = {name: array for name, array in theirs.items() if "/Conv_1/" not in name}
    read = read_slim(without_last, where="x")
    assert read.spec.channels == 160
    assert (read.spec.name, read.spec.alpha) == ("mobilenetv2", 0.5)


def test_own_widths_become_a_spec_of_its_own() -> None:
    spec = resolve("mobilenetv1", alpha=0.5, classes=5)
    rows = list(spec.rows)
    rows[3] = type(rows[3])(3, 100, rows[3].stride, act="relu6")
    own = Spec("own", spec.stem, tuple(rows), spec.head, 5, generation="v1")
    ours, theirs = slim_variables(own, "MobilenetV1/")
    read = read_slim(theirs, where="x")
    assert read.spec.rows[3].outputs(1) == 100
    assert read.spec.name == "mobilenetv1_own"
    assert all(np.array_equal(read.arrays[name], ours[name]) for name in ours)


def test_norms_without_gamma_get_ones() -> None:
    _, _, theirs = variables_of("mobilenetv1", 0.25, "MobilenetV1/")
    bare = {name: array for name, array in theirs.items() if not name.endswith("gamma")}
    read = read_slim(bare, where="x")
    assert np.array_equal(read.arrays["backbone.stem.conv.norm.weight"], np.ones(8))
    assert any("gamma" in line for line in read.evidence)
    bare["MobilenetV1/Conv2d_0/BatchNorm/gamma"] = np.ones(8, np.float32)  # some are there: then all must be
    with pytest.raises(CheckpointMismatch, match="Conv2d_1_depthwise/BatchNorm/gamma"):
        read_slim(bare, where="x")


def drop(name: str) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.pop(name)


def reshape(name: str, *shape: int) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.__setitem__(name, np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (drop("MobilenetV2/expanded_conv_3/expand/weights"), "expanded_conv_3/expand/weights"),
        (drop("MobilenetV2/Logits/Conv2d_1c_1x1/biases"), "Logits/Conv2d_1c_1x1/biases"),
        (drop("MobilenetV2/expanded_conv_16/project/BatchNorm/moving_variance"), "expanded_conv_16/project/BatchNorm"),
        (drop("MobilenetV2/Conv/weights"), "Conv/weights"),
        (drop("MobilenetV2/expanded_conv/project/weights"), "no MobileNet of slim's"),
        (reshape("MobilenetV2/expanded_conv_3/expand/weights", 1, 1, 8, 40), "expanded_conv_3"),
        (reshape("MobilenetV2/expanded_conv_4/project/BatchNorm/beta", 3), "expanded_conv_4/project/BatchNorm/beta"),
        (reshape("MobilenetV2/expanded_conv_4/depthwise/depthwise_weights", 2, 2, 48, 1), "odd"),
        (reshape("MobilenetV2/expanded_conv_4/depthwise/depthwise_weights", 3, 3, 48), "depthwise_weights"),
        (reshape("MobilenetV2/expanded_conv/expand/weights", 1, 1, 16, 96), "expanded_conv/expand/weights"),
        (reshape("MobilenetV2/expanded_conv_5/squeeze_excite/Conv/weights", 1, 1, 48, 8), "squeeze_excite"),
    ],
)
def test_a_misfit_is_named(break_it: Callable[[Arrays], object], named: str) -> None:
    _, _, theirs = variables_of("mobilenetv2", 0.35, "MobilenetV2/")
    break_it(theirs)
    with pytest.raises(CheckpointMismatch, match=named) as caught:
        read_slim(theirs, where="model.ckpt")
    assert caught.value.message.startswith("model.ckpt: ")
    assert "\n" not in caught.value.message
