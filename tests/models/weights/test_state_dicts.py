"""Whose state dict it is, which network, and what had to be assumed; and what is refused, naming the tensor."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilenets.errors import BadData, CheckpointMismatch, UnknownName, UsageError
from mobilenets.models import build, load_exact, state_arrays
from mobilenets.models.weights.checkpoint import open_checkpoint
from mobilenets.models.weights.huggingface import huggingface_names
from mobilenets.models.weights.layout import slots
from mobilenets.models.weights.own_rows import mobile_face_net
from mobilenets.models.weights.state_dict import read_state_dict
from mobilenets.models.weights.timm import timm_architecture, write_timm
from mobilenets.models.weights.torchvision import torchvision_architecture, write_torchvision
from mobilenets.specs import PRelu, Spec, folded, resolve, with_in_channels

Arrays = dict[str, np.ndarray]
SMALL = (
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenet_edgetpu_100",
    "mobilenetv4_conv_small",
)


def random_arrays(spec: Spec, seed: int = 0) -> Arrays:
    """Numbers for every array of `spec`; variances positive."""
    rng = np.random.default_rng(seed)
    return {
        slot.name: (rng.uniform(0.5, 1.5, slot.shape) if slot.role == "variance" else rng.normal(0, 0.1, slot.shape))
        .astype(np.float32)
        for slot in slots(spec)
    }  # fmt: skip


def shuffled(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """In the order of names, as safetensors files are."""
    return dict(sorted(arrays.items()))


def equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[k].shape == b[k].shape and np.array_equal(a[k], b[k]) for k in a)


def computes(spec: Spec) -> tuple[object, ...]:
    return spec.stem, spec.rows, spec.head.c_hidden, spec.classes, spec.in_channels, spec.padding, spec.norm.eps


@pytest.fixture(scope="module")
def small() -> Arrays:
    """timm's V3-Small 0.5 with five classes."""
    spec = resolve("mobilenetv3_small_050", classes=5)
    return dict(write_timm(spec, random_arrays(spec)))


# --- known names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMALL, "mobilenetv4_hybrid_medium", "mobilenetv3_rw", "mobilenet_edgetpu_v2_xs"])
def test_timm_there_and_back(name: str) -> None:
    spec = with_in_channels(resolve(name, alpha=0.25, classes=7), 1)
    arrays = random_arrays(spec)
    written = write_timm(spec, arrays)
    assert sum(key.endswith("num_batches_tracked") for key in written) == sum(
        k.endswith("running_var") for k in written
    )
    found = read_state_dict(shuffled(written), where="file")
    assert computes(found.spec) == computes(spec)
    assert equal(found.arrays, arrays)
    assert equal(write_timm(found.spec, found.arrays), written)
    swapped = {key: written[key] for key in written} | {"conv_stem.weight": written["conv_stem.weight"][::-1]}
    assert not equal(read_state_dict(swapped, where="file").arrays, arrays), "swapped channels must show"


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0"])
def test_torchvision_there_and_back(name: str) -> None:
    spec = resolve(name, alpha=0.35, classes=7)
    arrays = random_arrays(spec)
    written = write_torchvision(spec, arrays)
    found = read_state_dict(shuffled(written), where="file")
    assert computes(found.spec) == computes(spec)
    assert found.spec.alpha == 0.35
    assert equal(found.arrays, arrays)
    assert equal(write_torchvision(found.spec, found.arrays), written)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128", "mobilenet_v2_0.35_96"])
@pytest.mark.parametrize("is_bare", [False, True])
def test_hugging_face(name: str, is_bare: bool) -> None:
    spec = resolve(name, classes=0 if is_bare else 4)
    arrays, names = random_arrays(spec), huggingface_names(spec)
    theirs = {re.sub(r"^mobilenet_v[12]\.", "", names[k]) if is_bare else names[k]: v for k, v in arrays.items()}
    config = {"image_size": spec.resolution_px[0], "tf_padding": True, "layer_norm_eps": 0.001, "hidden_act": "relu6"}
    config |= {"id2label": {"0": "background", "1": "crane", "2": "crane", "3": "fish"}}
    found = read_state_dict(shuffled(theirs), where="file", config=config)
    assert found.spec == spec
    assert equal(found.arrays, arrays)
    assert found.preprocess.mean == (0.5, 0.5, 0.5)
    if not is_bare:
        assert found.labels is not None
        assert found.labels.names == ("background", "crane", "crane", "fish")


def test_hugging_face_names_are_theirs() -> None:
    v1, v2 = (
        set(huggingface_names(resolve(name)).values()) for name in ("mobilenet_v1_1.0_224", "mobilenet_v2_1.0_224")
    )
    assert {"mobilenet_v1.conv_stem.convolution.weight", "mobilenet_v1.layer.25.normalization.bias"} <= v1
    assert {
        "mobilenet_v2.conv_stem.first_conv.convolution.weight",
        "mobilenet_v2.conv_stem.conv_3x3.convolution.weight",
    } <= v2
    assert {"mobilenet_v2.layer.0.expand_1x1.convolution.weight", "mobilenet_v2.conv_1x1.normalization.bias"} <= v2
    assert "mobilenet_v2.layer.15.reduce_1x1.normalization.running_mean" in v2


def test_hugging_face_config_is_obeyed() -> None:
    spec = resolve("mobilenet_v1_0.25_128")
    theirs = {huggingface_names(spec)[k]: v for k, v in random_arrays(spec).items()}
    config = {"tf_padding": False, "hidden_act": "relu", "layer_norm_eps": 1e-5, "crop_size": {"height": 160}}
    found = read_state_dict(theirs, where="file", config=config | {"size": {"shortest_edge": 200}, "resample": 3})
    assert (found.spec.padding, found.spec.stem.act, found.spec.norm.eps) == ("symmetric", "relu", 1e-5)
    assert (found.preprocess.size_px, found.preprocess.crop_ratio) == ((160, 160), 0.8)
    assert found.preprocess.interpolation == "bicubic"


def test_our_own_names() -> None:
    network = build("mobilenetv3_small", alpha=0.5, classes=3)
    arrays = {k: np.asarray(v, np.float32) for k, v in state_arrays(network).items()}
    found = read_state_dict(shuffled(arrays), where="file")
    assert found.spec == replace(network.spec, classes=3)
    assert equal(found.arrays, arrays)
    bare = {k: v for k, v in arrays.items() if k.startswith("backbone.")}
    assert read_state_dict(bare, where="file").spec.classes == 0


# --- wrappers and parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "backbone.", "encoder."])
def test_prefixes_that_all_share(small: Arrays, prefix: str) -> None:
    plain = read_state_dict(small, where="file")
    found = read_state_dict({prefix + key: array for key, array in small.items()}, where="file")
    assert found.spec == plain.spec
    assert equal(found.arrays, plain.arrays)


def test_a_backbone_in_a_larger_network(small: Arrays) -> None:
    whole = {f"encoder.{k}": v for k, v in small.items() if not k.startswith(("classifier", "conv_head"))}
    whole["decoder.conv.weight"] = np.zeros((2, 2, 3, 3), np.float32)
    found = read_state_dict(whole, where="file")
    assert (found.spec.classes, found.spec.head.c_hidden) == (0, 0)
    assert found.left_out == ("decoder.conv.weight",)
    assert equal({f"encoder.{k}": v for k, v in small.items() if "blocks.0.0.conv_pw" in k},
                 {k: v for k, v in whole.items() if "blocks.0.0.conv_pw" in k})  # fmt: skip


def test_missing_counters_and_headless(small: Arrays) -> None:
    bare = {k: v for k, v in small.items() if not k.endswith("num_batches_tracked")}
    assert equal(read_state_dict(bare, where="file").arrays, read_state_dict(small, where="file").arrays)
    headless = {k: v for k, v in small.items() if not k.startswith("classifier")}
    found = read_state_dict(headless, where="file")
    assert (found.spec.classes, found.spec.embedding) == (0, 1024)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "mobilenetv3_small_050"])
def test_one_tensor_of_another_shape(small: Arrays, name: str | None) -> None:
    key = "blocks.3.1.conv_dw.weight"
    wrong = small | {key: small[key][:-1]}
    said = rf"file: {re.escape(key)} has shape \(71, 1, 5, 5\), .* needs \(72, 1, 5, 5\)"
    with pytest.raises(CheckpointMismatch, match=said):
        read_state_dict(wrong, where="file", name=name)


def test_a_missing_and_a_foreign_tensor(small: Arrays) -> None:
    with pytest.raises(CheckpointMismatch, match=r"no tensor 'blocks\.2\.0\.bn2\.weight'"):
        read_state_dict({k: v for k, v in small.items() if k != "blocks.2.0.bn2.weight"}, where="file")
    with pytest.raises(CheckpointMismatch, match=r"blocks\.2\.0\.extra\.weight \(3,\)"):
        read_state_dict(small | {"blocks.2.0.extra.weight": np.zeros(3, np.float32)}, where="file")
    other_head = small | {"aux.weight": np.zeros((3, 3), np.float32)}
    assert read_state_dict(other_head, where="file").left_out == ("aux.weight",)


def test_names_that_are_wrong(small: Arrays) -> None:
    with pytest.raises(UnknownName, match="did you mean mobilenetv3_small_050"):
        read_state_dict(small, where="file", name="mobilenetv3_smal_050")
    with pytest.raises(CheckpointMismatch, match=r"conv_stem\.weight has shape .* mobilenetv2_100 needs"):
        read_state_dict(small, where="file", name="mobilenetv2_100")
    spec = resolve("mobilenet_v2", alpha=0.25)
    theirs = write_torchvision(spec, random_arrays(spec))
    with pytest.raises(CheckpointMismatch, match="torchvision"):
        read_state_dict(theirs, where="file", name="mobilenetv1")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"a.weight": np.zeros((1, 1, 1, 1), np.float32)},
        {f"l{i}.weight": np.zeros((4, 4, 3, 3), np.float32) for i in range(5)},
        {f"l{i}.weight": np.zeros((4, 4), np.float32) for i in range(5)},
        {f"l{i}.odd": np.zeros(2, np.float32) for i in range(5)},
    ],
)  # fmt: skip
def test_what_is_no_mobilenet(arrays: Arrays) -> None:
    with pytest.raises(CheckpointMismatch):
        read_state_dict(arrays, where="file")


@pytest.mark.peer
@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_other_networks_are_refused(name: str) -> None:
    import torchvision

    with pytest.raises(CheckpointMismatch):
        read_state_dict({k: v.numpy() for k, v in getattr(torchvision.models, name)().state_dict().items()}, where="f")


# --- what the file does not say ------------------------------------------------------------------------------------


def test_google_weights_have_the_same_shapes() -> None:
    spec = resolve("tf_mobilenetv3_small_075", classes=3)
    arrays = write_timm(spec, random_arrays(spec))
    plain = read_state_dict(arrays, where="file")
    assert (plain.spec.name, plain.spec.padding) == ("mobilenetv3_small_075", "symmetric")
    assert {"padding", "eps", "preprocess"} <= set(plain.assumed)
    told = read_state_dict(arrays, where="file", config={"architecture": "tf_mobilenetv3_small_075"})
    assert told.spec == spec
    assert "padding" not in told.assumed
    named = read_state_dict(arrays, where="file", name="tf_mobilenetv3_small_075.in1k")
    assert (named.spec, named.assumed) == (spec, ())
    assert named.preprocess.mean == (0.5, 0.5, 0.5)


def test_pooled_variants_have_the_same_shapes() -> None:
    spec = resolve("mobilenetv4_conv_blur_medium", alpha=0.25, classes=2)
    arrays = write_timm(spec, random_arrays(spec))
    assert "downsample" in read_state_dict(arrays, where="file").assumed
    told = read_state_dict(arrays, where="file", config={"architecture": "mobilenetv4_conv_blur_medium"})
    assert told.spec.rows == spec.rows
    assert "downsample" not in told.assumed


def test_what_a_file_calls_itself_is_not_believed(small: Arrays) -> None:
    found = read_state_dict(small, where="file", config={"arch": "resnet18"})
    assert found.spec.name == "mobilenetv3_small_050"
    assert "the file calls itself 'resnet18'; its tensors say mobilenetv3_small_050" in found.evidence


def test_timm_config(small: Arrays) -> None:
    cfg = {"input_size": [3, 192, 160], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 0.9}
    config = {"architecture": "mobilenetv3_small_050", "label_names": list("abcde")}
    found = read_state_dict(small, where="f", config=config | {"pretrained_cfg": cfg | {"interpolation": "bilinear"}})
    record = found.preprocess
    assert (record.size_px, record.crop_ratio, record.interpolation) == ((192, 160), 0.9, "bilinear")
    assert (record.mean, record.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert found.labels is not None
    assert found.labels.ids == tuple("abcde")
    assert found.assumed == ()
    tagged = read_state_dict(small, where="f", config={"architecture": "mobilenetv3_small_050", "tag": "lamb_in1k"})
    assert (tagged.preprocess.interpolation, tagged.assumed) == ("bicubic", ())


@pytest.mark.parametrize(
    "cfg",
    [
        {"input_size": "big"}, {"input_size": [3, 224]}, {"input_size": [3, 0, 2]}, {"input_size": [3, 1e300, 2]},
        {"input_size": [3, 8, 8], "mean": "x"}, {"input_size": [3, 8, 8], "crop_pct": []},
        {"input_size": [3, 8, 8], "interpolation": 3}, {"input_size": [3, 8, 8], "interpolation": "lanczos"},
        {"input_size": [3, 8, 8], "crop_pct": float("nan")}, {"input_size": [3, 8, 8], "mean": [0.5] * 99},
    ],
)  # fmt: skip
def test_configs_of_nonsense(small: Arrays, cfg: dict[str, object]) -> None:
    with pytest.raises(BadData, match="config"):
        read_state_dict(small, where="file", config={"pretrained_cfg": cfg})
    with pytest.raises(BadData, match="config"):
        read_state_dict(small, where="file", config={"pretrained_cfg": [1]})


def test_torchvision_preprocess_by_file_name() -> None:
    spec = resolve("mobilenet_v2", alpha=0.25)
    arrays = write_torchvision(spec, random_arrays(spec))
    second = read_state_dict(arrays, where="mobilenet_v2-7ebf99e0.pth")
    assert (second.preprocess.crop_ratio, second.assumed) == (224 / 232, ())
    unknown = read_state_dict(arrays, where="mine.pth")
    assert (unknown.preprocess.crop_ratio, unknown.assumed) == (0.875, ("preprocess",))


# --- repositories --------------------------------------------------------------------------------------------------


def v1_sequential(alpha: float) -> nn.Module:
    """model.0.0, model.1.3, ..., fc: V1 as most scripts on it are written."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(c_in, c_in, 3, stride, 1, groups=c_in, bias=False), nn.BatchNorm2d(c_in), nn.ReLU(),
            nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(),
        )  # fmt: skip

    widths = [int(c * alpha) for c in (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)]
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    blocks = [block(a, b, s) for a, b, s in zip(widths, widths[1:], strides, strict=False)]
    return nn.ModuleDict({"model": nn.Sequential(stem, *blocks), "fc": nn.Linear(widths[-1], 5)})


def arrays_of(model: nn.Module, prefix: str = "") -> Arrays:
    return {prefix + name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("order", [dict, shuffled])
def test_v1_in_a_sequential(order: object) -> None:
    torch.manual_seed(0)
    model = v1_sequential(0.5).eval()
    arrays = arrays_of(model, "module.")
    found = read_state_dict(shuffled(arrays) if order is shuffled else arrays, where="file")
    assert (found.spec.name, found.spec.alpha, found.spec.classes) == ("mobilenetv1", 0.5, 5)
    assert found.assumed == ("activation", "preprocess")
    ours = build(found.spec).eval()
    load_exact(ours, found.arrays)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        theirs = model["fc"](model["model"](x).mean((2, 3)))  # type: ignore[index]  # a ModuleDict
        assert torch.allclose(ours(x), theirs, atol=1e-5 * float(theirs.abs().max()))


def flat_v2(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """torchvision's V2 as features.N.conv.M with one flat Sequential per block."""
    found: Arrays = {}
    for key, array in arrays.items():
        part = re.fullmatch(r"features\.(\d+)\.conv\.(\d+)(?:\.(\d+))?\.(\w+)", key)
        if part is None:
            found[key] = array
            continue
        block, i, j, leaf = part.groups()
        before = 1 if block == "1" else 2
        place = 3 * int(i) + int(j) if j else 3 * before + int(i) - before
        found[f"features.{block}.conv.{place}.{leaf}"] = array
    return found


@pytest.mark.parametrize("classifier", ["classifier.1", "classifier.3", "classifier"])
def test_v2_in_flat_blocks(classifier: str) -> None:
    spec = resolve("mobilenetv2", alpha=0.35, classes=6)
    theirs = flat_v2(write_torchvision(spec, random_arrays(spec)))
    theirs = {key.replace("classifier.1", classifier): array for key, array in theirs.items()}
    for order in (theirs, shuffled(theirs)):
        found = read_state_dict(order, where="file")
        assert computes(found.spec) == computes(spec)
        assert equal(found.arrays, random_arrays(spec))
    named = read_state_dict(theirs, where="file", name="mobilenetv2")
    assert named.spec == found.spec
    with pytest.raises(CheckpointMismatch, match="not those of mobilenetv1"):
        read_state_dict(theirs, where="file", name="mobilenetv1")


def test_pruned_widths_are_read_off() -> None:
    spec = resolve("mobilenetv2_100", alpha=0.5, classes=3)
    rows = list(spec.rows)
    rows[4] = replace(rows[4], c_hidden=37)
    pruned = replace(spec, rows=tuple(rows), name="pruned", generation="own")
    arrays = random_arrays(pruned)
    written = write_timm(pruned, arrays)
    found = read_state_dict(shuffled(written), where="file")
    assert found.spec.rows == pruned.rows
    assert found.spec.generation == "own"
    assert equal(found.arrays, arrays)
    assert timm_architecture(pruned) == ""


def test_another_depth_has_its_strides_assumed() -> None:
    spec = resolve("mobilenetv2", alpha=0.25, classes=3)
    shorter = replace(spec, rows=(*spec.rows[:2], *spec.rows[3:]))
    arrays = random_arrays(shorter)
    theirs = {key.replace("backbone.", "body.").replace("conv.conv", "c"): array for key, array in arrays.items()}
    found = read_state_dict(theirs, where="file")
    assert "stride" in found.assumed
    assert [row.outputs(1) for row in found.spec.rows] == [row.outputs(1) for row in shorter.rows]
    assert equal(found.arrays, arrays)


def test_folded_norms_and_prelu() -> None:
    lean = folded(resolve("mobilenetv1", alpha=0.25, classes=2))
    theirs = {f"net.{i}.{k.rpartition('.')[2]}": v for i, (k, v) in enumerate(random_arrays(lean).items())}
    pairs = {f"net.{i // 2}.{k.rpartition('.')[2]}": v for i, (k, v) in enumerate(theirs.items())}
    found = read_state_dict(pairs, where="file")
    assert found.spec.rows == lean.rows
    assert equal(found.arrays, random_arrays(lean))
    face = mobile_face_net()
    rows = tuple(replace(row, act=PRelu()) if row.act != "none" else row for row in face.rows)  # type: ignore[union-attr]
    learned = replace(face, stem=replace(face.stem, act=PRelu()), rows=rows)
    arrays = random_arrays(learned)
    found = read_state_dict({k.replace("backbone.", "face."): v for k, v in arrays.items()}, where="file")
    assert found.spec.rows == learned.rows
    assert equal(found.arrays, arrays)


def test_v1_of_a_face_detector(shared: Path) -> None:
    """Says resnet18 of itself and is V1 0.25; its activation is not stored."""
    file = open_checkpoint(shared / "weights" / "retinaface-pretrain" / "model_best.pth.tar")
    assert file.metadata["best_acc1"] == "46.754"
    found = read_state_dict(file.arrays, where="model_best.pth.tar", config=file.metadata)
    assert (found.spec.name, found.spec.alpha, found.spec.classes) == ("mobilenetv1", 0.25, 1000)
    assert "activation" in found.assumed
    assert any("resnet18" in line for line in found.evidence)
    assert not found.left_out


def test_a_face_network_with_rows_of_its_own(shared: Path) -> None:
    """Its script defines the last layers before the blocks; every tensor is used."""
    file = open_checkpoint(shared / "weights" / "mobilefacenet-foamliu" / "mobilefacenet.pt")
    found = read_state_dict(file.arrays, where="mobilefacenet.pt")
    assert (found.spec.name, found.spec.classes, found.spec.embedding) == ("mobilefacenet", 0, 128)
    assert len(found.arrays) == len(file.arrays) == 256
    assert not found.left_out
    network = build(found.spec).eval()
    load_exact(network, found.arrays)
    with torch.inference_mode():
        embedding = network(torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)))
    assert embedding.shape == (2, 128)
    assert torch.isfinite(embedding).all()


# --- writers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MobileNetV2", "mobilenetv1", "mobilenetv1_full"])
def test_timm_has_no_such_network(name: str) -> None:
    spec = resolve(name, alpha=0.25)
    with pytest.raises(UsageError, match="timm has no network"):
        write_timm(spec, random_arrays(spec))


def test_torchvision_has_no_such_network() -> None:
    for name in ("mobilenetv3_small", "mobilenetv1_100", "MobileNetV2", "mobilenetv4_conv_small"):
        spec = resolve(name, alpha=0.25)
        with pytest.raises(UsageError, match="torchvision has no network"):
            write_torchvision(spec, random_arrays(spec))


def test_folded_networks_are_not_written() -> None:
    spec = folded(resolve("mobilenetv2_100", alpha=0.25))
    with pytest.raises(UsageError, match="folded"):
        write_timm(spec, random_arrays(spec))


def test_architectures_are_named() -> None:
    for name in (
        "tf_mobilenetv3_small_075",
        "mobilenetv4_conv_small_050",
        "mobilenetv2_110d",
        "mobilenetv4_conv_aa_large",
    ):
        assert timm_architecture(resolve(name, classes=3)) == name
    assert timm_architecture(resolve("mobilenetv2", classes=3)) == "mobilenetv2_100"
    assert torchvision_architecture(resolve("mobilenetv2")) == "mobilenet_v2"


def test_writing_the_wrong_arrays() -> None:
    spec = resolve("mobilenetv2_100", alpha=0.25, classes=2)
    arrays = random_arrays(spec)
    del arrays["classifier.bias"]
    with pytest.raises(CheckpointMismatch, match=r"classifier\.bias is missing"):
        write_timm(spec, arrays)


@pytest.mark.peer
def test_backbone_of_a_segmentation_network() -> None:
    """torchvision's LR-ASPP: backbone.N is features.N of a V3 dilated to output stride 16."""
    import torchvision

    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    found = read_state_dict(arrays_of(theirs), where="file")
    assert (found.spec.name, found.spec.classes) == ("mobilenet_v3_large", 0)
    assert found.left_out
    assert all(name.startswith("classifier.") for name in found.left_out)
    ours = build(found.spec).eval()
    load_exact(ours, found.arrays)
    x = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        want, have = theirs.backbone(x)["high"], ours.backbone(x)
    assert want.shape == have.shape
    assert float((want - have).abs().max()) <= 1e-5 * float(want.abs().max())
