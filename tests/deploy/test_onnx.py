"""The ONNX file: half the bytes, free sizes, frozen pads, the preprocessing inside, and complaints that can be made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from contracts.target import source
from deploy.conftest import Trained
from onnx import helper, numpy_helper
from torch import nn

from mobilenets.data import preprocess, read_image
from mobilenets.deploy import TARGETS, facts_of
from mobilenets.deploy.checks import relative_errors
from mobilenets.deploy.embedded import Embedded
from mobilenets.deploy.inside import put_inside
from mobilenets.deploy.tracing import Form, Source
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.errors import BadModelFile, MissingRuntime, UsageError
from mobilenets.models.layers import SamePadConv2d
from mobilenets.records import Preprocess

ONNX = TARGETS["onnx"]
KINDS = (
    Preprocess((24, 32)),
    Preprocess((24, 24), interpolation="bicubic", colour="bgr", crop_ratio=0.9),
    Preprocess((24, 32), antialias=False, fit="central_then_stretch", crop_ratio=0.9),
    Preprocess((24, 32), antialias=False, interpolation="bicubic", fit="stretch"),
    Preprocess((24, 32), fit="central_then_stretch"),
    Preprocess((24, 24), mean=(0.4,), std=(0.3,), colour="grey"),
)
"""One of everything: each fit, filter and colour, with and without antialiasing."""


def facts(trained: Trained, precision: str = "float32") -> Embedded:
    return facts_of(trained.model.record, precision=precision, weights_sha256="ab")


@pytest.fixture(scope="module")
def traced(trained: Trained) -> Source:
    """The network as a source, traced once for the whole file."""
    return source(trained.network, facts(trained))


def passing(channels: int, size_px: tuple[int, int]) -> onnx.ModelProto:
    """A network that hands on what it is fed."""
    shape = ["batch", channels, *size_px]
    graph = helper.make_graph(
        [helper.make_node("Add", ["image", "zero"], ["logits"], name="logits")],
        "passing",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32(0), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def levels(found: np.ndarray, wanted: np.ndarray, record: Preprocess) -> np.ndarray:
    """How many of 255 levels two pictures differ, once the network's mean and std are taken out."""
    return np.abs(found - wanted) * 255 * np.array(record.std, np.float32)[:, None, None]


def made_pictures() -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    sizes = ((40, 40), (61, 37), (37, 61), (24, 32), (9, 500))
    return [noise.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_float16_is_half_the_bytes_and_nearly_the_answers(trained: Trained, traced: Source, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    ONNX.export(traced, whole, facts=facts(trained))
    ONNX.export(traced, half, facts=facts(trained, "float16"))
    structure = ONNX.inspect(half, precision="float16")
    assert structure.complaints == ()
    kernels = structure.weights["float16"]
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * kernels, rel=0.05)
    assert kernels > 10 * structure.weights["float32"], "only biases stay whole"
    assert ONNX.inspect(whole, precision="float16").complaints == (f"{kernels} weights are float32, not float16",)
    assert ONNX.inspect(half, precision="float32").complaints == (f"{kernels} weights are float16, not float32",)
    batch = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    error, _ = relative_errors(runner(trained.network)(batch), as_arrays(ONNX.open(half).run(batch)))
    assert 1e-6 < error < 1e-2
    names = [name for name, _ in ONNX.layers_of(half, batch)]
    assert names == [name for name, _ in ONNX.layers_of(whole, batch)], "a stored weight is no layer"


@pytest.mark.parametrize("scale", [7e4, 1e-7], ids=["beyond", "fading"])
def test_a_weight_that_float16_cannot_hold_stays_whole(scale: float, trained: Trained, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU(), nn.Linear(8, 3))
    network[1].weight.data.uniform_(-scale, scale)
    ONNX.export(source(network, facts(trained)), tmp_path / "x.onnx", facts=facts(trained, "float16"))
    structure = ONNX.inspect(tmp_path / "x.onnx", precision="float16")
    assert structure.complaints == ()
    assert (structure.weights["float16"], structure.weights["float32"]) == (24, 8 * 3 * 32 * 32 + 8 + 3)


def test_one_file_takes_every_size(trained: Trained, tmp_path: Path) -> None:
    sizes = ((45, 32), (64, 71))
    form = Form(sizes_px=sizes)
    whole = replace(source(trained.network, facts(trained)), form=form)
    ONNX.export(whole, tmp_path / "any.onnx", facts=facts(trained))
    assert ONNX.inspect(tmp_path / "any.onnx", precision="float32").complaints == ()
    session = ONNX.open(tmp_path / "any.onnx")
    assert session.input_shape == (None, 3, None, None)
    for size in ((32, 32), *sizes):
        for count in (1, 3):
            batch = np.random.default_rng(0).standard_normal((count, 3, *size)).astype(np.float32)
            assert relative_errors(runner(trained.network)(batch), as_arrays(session.run(batch)))[0] < 1e-4


@pytest.mark.parametrize("size_px", [(32, 32), (33, 37)], ids=["even", "odd"])
def test_tensorflow_pads_are_constants(size_px: tuple[int, int], trained: Trained, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(SamePadConv2d(3, 8, 5, 2), nn.ReLU(), SamePadConv2d(8, 3, 3, 2), nn.Flatten(2)).eval()
    made = facts(trained)
    made = replace(made, preprocess=replace(made.preprocess, size_px=size_px))
    ONNX.export(source(network, made), tmp_path / "same.onnx", facts=made)
    structure = ONNX.inspect(tmp_path / "same.onnx", precision="float32")
    assert structure.complaints == ()
    assert not {"Shape", "If", "Where", "Cast"} & set(structure.operators)
    batch = np.random.default_rng(0).standard_normal((3, 3, *size_px)).astype(np.float32)
    session = ONNX.open(tmp_path / "same.onnx")
    assert relative_errors(runner(network)(batch), as_arrays(session.run(batch)))[0] < 1e-4
    several = replace(source(network, made), form=Form(sizes_px=((48, 48),)))
    with pytest.raises(UsageError, match="0 pads as TensorFlow does"):
        ONNX.export(several, tmp_path / "several.onnx", facts=made)


@pytest.mark.parametrize("record", KINDS, ids=lambda r: f"{r.fit}-{r.interpolation}-{r.antialias}-{r.colour}")
def test_preprocessing_inside_is_ours(record: Preprocess, tmp_path: Path) -> None:
    proto = passing(record.channels, record.size_px)
    put_inside(proto, record, resizing="operator")
    onnx.checker.check_model(proto, full_check=True)
    (tmp_path / "inside.onnx").write_bytes(proto.SerializeToString())
    session = ONNX.open(tmp_path / "inside.onnx")
    assert (session.input_shape, session.input_dtype) == ((None, None, None, 3), np.uint8)
    other = replace(record, antialias=not record.antialias)
    for picture in made_pictures():
        pair = np.stack([picture, picture[::-1]])
        wanted = [preprocess(part, record) for part in pair]
        for found, want in zip(session.run(pair), wanted, strict=True):
            # Noise that is stretched: Pillow rounds between the passes and takes the cheaper one first.
            assert levels(found, want, record).max() <= 2.1
    picture = made_pictures()[0]
    assert levels(session.run(picture[None])[0], preprocess(picture, other), record).max() > 10


def test_photos_inside(shared: Path, tmp_path: Path) -> None:
    record = Preprocess((224, 224))
    proto = passing(3, (224, 224))
    put_inside(proto, record, resizing="operator")
    (tmp_path / "inside.onnx").write_bytes(proto.SerializeToString())
    session = ONNX.open(tmp_path / "inside.onnx")
    for file in sorted((shared / "data" / "imagenet200").glob("*.JPEG"))[::40]:
        picture = read_image(file)
        difference = levels(session.run(picture[None])[0], preprocess(picture, record), record)
        assert difference.max() <= 2.1
        assert (difference > 0.5).mean() < 0.01


def test_nearest_inside(tmp_path: Path) -> None:
    """On odd sides, where no centre falls on the border of two pixels; there Pillow's running sum picks either."""
    record = Preprocess((24, 32), interpolation="nearest")
    proto = passing(3, record.size_px)
    put_inside(proto, record, resizing="operator")
    (tmp_path / "inside.onnx").write_bytes(proto.SerializeToString())
    session = ONNX.open(tmp_path / "inside.onnx")
    for picture in made_pictures()[1:3]:
        assert levels(session.run(picture[None])[0], preprocess(picture, record), record).max() < 0.1


def test_a_whole_file_with_its_preprocessing(trained: Trained, traced: Source, tmp_path: Path) -> None:
    form = replace(traced, form=Form(with_preprocess=True))
    ONNX.export(form, tmp_path / "pictures.onnx", facts=facts(trained))
    assert ONNX.inspect(tmp_path / "pictures.onnx", precision="float32").complaints == ()
    session = ONNX.open(tmp_path / "pictures.onnx")
    assert session.facts is not None
    assert session.facts.inside == "everything"
    record = trained.model.record.preprocess
    for picture in made_pictures():
        wanted = runner(trained.network)(preprocess(picture, record)[None])
        assert relative_errors(wanted, as_arrays(session.run(picture[None])))[0] < 0.05
    other = runner(trained.network)(preprocess(picture, replace(record, colour="bgr"))[None])
    assert relative_errors(other, as_arrays(session.run(picture[None])))[0] > 0.1
    names = [name for name, _ in ONNX.layers_of(tmp_path / "pictures.onnx", made_pictures()[0][None])]
    assert names[0].startswith("backbone.stem")
    with pytest.raises(UsageError, match="pictures of any size go in"):
        ONNX.export(
            replace(traced, form=Form(((64, 64),), with_preprocess=True)), tmp_path / "x.onnx", facts=facts(trained)
        )


def test_other_channels_have_no_preprocessing_inside() -> None:
    with pytest.raises(UsageError, match="2 channels can't go inside"):
        put_inside(passing(2, (8, 8)), Preprocess((8, 8), mean=(0, 0), std=(1, 1)), resizing="operator")


def test_complaints_name_what_should_not_be(trained: Trained, tmp_path: Path) -> None:
    proto = onnx.load_from_string(trained.model.read("onnx/model.onnx"))
    last = proto.graph.output[0].name
    proto.graph.node[-1].output[0] = "before"
    ones, three = np.ones(3, np.float32), np.float32(3)
    for name, value in (
        ("ones", ones),
        ("three", three),
        ("low", np.float32(0)),
        ("high", np.float32(6)),
        ("idle", ones),
    ):
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    chain = (
        ("Identity", ["before"], "same"),
        ("HardSigmoid", ["same"], "gate"),
        ("Mul", ["same", "gate"], "swish"),
        ("Add", ["swish", "three"], "more"),
        ("Clip", ["more", "low", "high"], "clipped"),
        ("Transpose", ["clipped"], "turned"),
        ("Transpose", ["turned"], "back"),
        ("BatchNormalization", ["back", "ones", "ones", "ones", "ones"], last),
    )
    proto.graph.node.extend(helper.make_node(kind, inputs, [name], name=name) for kind, inputs, name in chain)
    proto.doc_string = "x" * 100_000
    (tmp_path / "odd.onnx").write_bytes(proto.SerializeToString())
    found = "; ".join(ONNX.inspect(tmp_path / "odd.onnx", precision="float32").complaints)
    for part in (
        "2 Transpose in a network of convolutions",
        "1 Identity that does nothing",
        "swish: a hard-swish in pieces",
        "clipped: a hard-sigmoid in pieces",
        f"{last}: a BatchNormalization that could be folded into Transpose",
        "1 constants are read by no operator (idle)",
        "MB, its weights and operators fit",
    ):
        assert part in found


def test_inspecting_damaged_files_and_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", b"no network"):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(BadModelFile, match="is no ONNX file"):
            ONNX.inspect(tmp_path / "x.onnx", precision="float32")
    with pytest.raises(BadModelFile, match="can't be read"):
        ONNX.inspect(tmp_path / "none.onnx", precision="float32")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingRuntime, match="onnx is not installed"):
        ONNX.inspect(tmp_path / "x.onnx", precision="float32")
    with pytest.raises(MissingRuntime, match="onnx is not installed"):
        list(ONNX.layers_of(tmp_path / "x.onnx", np.zeros(1)))
