"""The OpenVINO files: two that belong together, facts inside, the arithmetic they ask for, preprocessing inside."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from contracts.target import source
from deploy.conftest import Trained
from deploy.test_onnx import KINDS, facts, levels, made_pictures, passing

from mobilenets.data import preprocess
from mobilenets.deploy import TARGETS
from mobilenets.deploy.checks import relative_errors
from mobilenets.deploy.inside import put_inside
from mobilenets.deploy.targets import Precision
from mobilenets.deploy.tracing import Form, Source
from mobilenets.deploy.trained import as_arrays, runner
from mobilenets.deploy.untrained import export_untrained
from mobilenets.errors import BadModelFile, MissingRuntime, UsageError
from mobilenets.records import Labels, Preprocess
from mobilenets.specs import resolve

openvino = pytest.importorskip("openvino", reason="openvino is not installed here")

OPENVINO = TARGETS["openvino"]
LABELS = Labels(("a&b", 'say "hi"', "żółw 🐢"), ("A & B", "Hi", "Turtle\n two"))


@pytest.fixture(scope="module")
def traced(trained: Trained) -> Source:
    """The network as a source, traced once for the whole file."""
    return source(trained.network, facts(trained))


@pytest.fixture(scope="module")
def exported(trained: Trained, traced: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 file; read only."""
    path = tmp_path_factory.mktemp("openvino") / "model.xml"
    OPENVINO.export(traced, path, facts=replace(facts(trained), labels=LABELS))
    return path


def batch(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 32, 32)).astype(np.float32)


def test_facts_and_what_model_api_reads(exported: Path, trained: Trained) -> None:
    session = OPENVINO.open(exported)
    assert session.facts == OPENVINO.fed(replace(facts(trained), labels=LABELS))
    told = openvino.Core().read_model(exported).get_rt_info(["model_info"]).astype(dict)
    info = {key: value.astype(str) for key, value in told.items()}
    assert info == {
        "model_type": "Classification",
        "labels": "A_&_B Hi Turtle_two",
        "multilabel": "False",
        "output_raw_scores": "True",
        "mean_values": "123.675 116.28 103.53",
        "scale_values": "58.395 57.12 57.375",
    }


def test_the_graph_is_convolutions_and_activations(exported: Path) -> None:
    structure = OPENVINO.inspect(exported, precision="float32")
    assert structure.complaints == ()
    assert structure.operators["HSwish"] > 0
    assert structure.operators["HardSigmoid"] > 0
    assert not {"ShapeOf", "Broadcast", "Transpose", "Convert", "Clamp"} & set(structure.operators)
    assert str(exported.parent) not in exported.read_text()


def test_float16_stores_half(exported: Path, trained: Trained, traced: Source, tmp_path: Path) -> None:
    half = tmp_path / "half.xml"
    OPENVINO.export(traced, half, facts=facts(trained, "float16"))
    assert half.with_suffix(".bin").stat().st_size == pytest.approx(
        exported.with_suffix(".bin").stat().st_size / 2, rel=0.05
    )
    structure = OPENVINO.inspect(half, precision="float16")
    assert structure.complaints == ()
    (complaint,) = OPENVINO.inspect(exported, precision="float16").complaints
    assert "weights are float32, not float16" in complaint
    (complaint,) = OPENVINO.inspect(half, precision="float32").complaints
    assert "weights are float16, not float32" in complaint
    error, _ = relative_errors(runner(trained.network)(batch(3)), as_arrays(OPENVINO.open(half).run(batch(3))))
    assert 1e-6 < error < 1e-2


def test_the_two_files_belong_together(exported: Path, tmp_path: Path) -> None:
    for file in OPENVINO.files(exported):
        shutil.copy(file, tmp_path / file.name)
    path, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    OPENVINO.open(path)
    good = weights.read_bytes()
    for content in (good[:-4] + b"\0\0\0\1", good[: len(good) // 2], b""):
        weights.write_bytes(content)
        with pytest.raises(BadModelFile) as caught:
            OPENVINO.open(path)
        assert "\n" not in caught.value.message
        assert str(path) in caught.value.message
    weights.unlink()
    with pytest.raises(BadModelFile, match=r"model\.bin can't be read"):
        OPENVINO.open(path)


def test_bfloat16_runs_as_bfloat16_or_says_why_not(trained: Trained, traced: Source, tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    OPENVINO.export(traced, path, facts=facts(trained, "bfloat16"))
    assert OPENVINO.inspect(path, precision="bfloat16").complaints == ()
    if OPENVINO.why_not_here("bfloat16"):
        with pytest.raises(MissingRuntime, match="bfloat16, which OpenVINO does not have on this CPU") as caught:
            OPENVINO.open(path)
        assert "\n" not in caught.value.message
    else:
        compiled = OPENVINO.open(path).compiled
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "bf16"
        ran = [dict(node.get_rt_info()) for node in compiled.get_runtime_model().get_ordered_ops()]
        convolutions = [facts for facts in ran if facts["layerType"].astype(str) == "Convolution"]
        in_float32 = [facts for facts in convolutions if facts["runtimePrecision"].astype(str) == "f32"]
        assert len(convolutions) > len(in_float32) == len(SEPARABLE)


def test_no_file_computes_the_places_of_pixels_in_bfloat16(trained: Trained, traced: Source, tmp_path: Path) -> None:
    pictures = replace(traced, form=Form(with_preprocess=True))
    with pytest.raises(UsageError, match="places of the pixels in bfloat16") as caught:
        OPENVINO.export(pictures, tmp_path / "model.xml", facts=facts(trained, "bfloat16"))
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def kept_in_float32(path: Path) -> list[str]:
    """The convolutions that a file wants in float32 whatever the rest runs in, by the layers they are of."""
    nodes = openvino.Core().read_model(path).get_ordered_ops()
    marked = [node for node in nodes if "DisablePrecisionConversion_0" in dict(node.get_rt_info())]
    names = [node.get_friendly_name() for node in marked if node.get_type_name().endswith("Convolution")]
    return [name.removeprefix("backbone.").removesuffix(".conv/WithoutBiases") for name in names]


SEPARABLE = ["stem.conv", "blocks.0.dw", "blocks.0.se.reduce", "blocks.0.se.expand", "blocks.0.project"]


@pytest.mark.parametrize(("precision", "kept"), [("float32", []), ("float16", []), ("bfloat16", SEPARABLE)])
def test_only_bfloat16_keeps_its_first_separable_layers_in_float32(
    trained: Trained, traced: Source, tmp_path: Path, precision: Precision, kept: list[str]
) -> None:
    OPENVINO.export(traced, tmp_path / "model.xml", facts=facts(trained, precision))
    assert kept_in_float32(tmp_path / "model.xml") == kept


def test_a_first_block_without_a_depthwise_convolution_runs_in_bfloat16_too(tmp_path: Path) -> None:
    spec = resolve("mobilenetv4_conv_small", resolution_px=(32, 32))
    export_untrained(spec, tmp_path / "model.xml", target=OPENVINO, precision="bfloat16")
    assert kept_in_float32(tmp_path / "model.xml") == []


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "mobilenetv4_conv_small"])
def test_bfloat16_answers_nearly_as_float32(tmp_path: Path, name: str) -> None:
    if reason := OPENVINO.why_not_here("bfloat16"):
        pytest.skip(reason)
    spec = resolve(name, resolution_px=(64, 64))  # V3-Large's first block has a sum, V3-Small's a squeeze
    batch = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    outputs = {}
    for precision in ("float32", "bfloat16"):
        export_untrained(spec, tmp_path / f"{precision}.xml", target=OPENVINO, precision=precision)
        session = OPENVINO.open(tmp_path / f"{precision}.xml")
        outputs[precision] = np.concatenate([session.run(batch[:1]), session.run(batch[1:])])
    error = np.abs(outputs["bfloat16"] - outputs["float32"]).max() / np.abs(outputs["float32"]).max()
    assert 1e-4 < error < 0.25, "random weights amplify rounding"


def test_single_images_and_batches_get_the_same_answers_from_graphs_of_their_own(exported: Path) -> None:
    session = OPENVINO.open(exported)
    _, *sides = session.input_shape
    batch = np.random.default_rng(0).standard_normal((3, *sides)).astype(np.float32)
    together = np.asarray(session.run(batch))
    apart = np.concatenate([np.asarray(session.run(batch[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(apart, together, rtol=0, atol=2e-5 * np.abs(together).max())
    assert session.compiled.input(0).get_shape()[0] == 1
    with ThreadPoolExecutor(4) as pool:  # batches of both kinds at once
        parts = list(pool.map(lambda i: np.asarray(session.run(batch[i % 3 : i % 3 + 1 + i % 2])), range(40)))
    for i, part in enumerate(parts):
        np.testing.assert_allclose(
            part, together[i % 3 : i % 3 + 1 + i % 2], rtol=0, atol=2e-5 * np.abs(together).max()
        )


def test_float32_is_asked_for(exported: Path) -> None:
    compiled = OPENVINO.open(exported, threads=2).compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_threads_do_not_mix_answers(exported: Path, trained: Trained) -> None:
    session = OPENVINO.open(exported)
    pictures = batch(24)
    (wanted,) = runner(trained.network)(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = np.concatenate(list(pool.map(lambda i: session.run(pictures[i : i + 1]), range(24))))
    assert relative_errors((wanted,), (found,))[0] < 1e-4
    assert not np.shares_memory(session.run(pictures[:1]), session.run(pictures[:1]))


def test_layers_bear_the_network_s_names(exported: Path, trained: Trained) -> None:
    layers = dict(OPENVINO.layers_of(exported, batch(2)))
    stem = {}
    module = trained.network.get_submodule("backbone.stem")
    handle = module.register_forward_hook(lambda _module, _inputs, output: stem.update(value=output.numpy()))
    runner(trained.network)(batch(2))
    handle.remove()
    name = next(name for name in layers if layers[name].shape == stem["value"].shape and "stem.conv.act" in name)
    assert relative_errors((stem["value"],), (layers[name],))[0] < 1e-5
    assert list(layers)[-1] == "logits"


@pytest.mark.slow  # a trace of its own
def test_further_sizes(trained: Trained, tmp_path: Path) -> None:
    sizes = ((45, 32), (64, 71))
    OPENVINO.export(
        replace(source(trained.network, facts(trained)), form=Form(sizes_px=sizes)),
        tmp_path / "any.xml",
        facts=facts(trained),
    )
    session = OPENVINO.open(tmp_path / "any.xml")
    assert session.input_shape == (None, 3, None, None)
    for size in ((32, 32), *sizes):
        given = np.random.default_rng(0).standard_normal((3, 3, *size)).astype(np.float32)
        for count in (1, 3):
            wanted = runner(trained.network)(given[:count])
            assert relative_errors(wanted, as_arrays(session.run(given[:count])))[0] < 1e-4


@pytest.mark.parametrize("record", KINDS, ids=lambda r: f"{r.fit}-{r.interpolation}-{r.antialias}-{r.colour}")
def test_preprocessing_inside_is_ours(record: Preprocess) -> None:
    """By products: OpenVINO's reading of Resize is up to 20 levels away."""
    proto = passing(record.channels, record.size_px)
    put_inside(proto, record, resizing="products")
    run = openvino.Core().compile_model(
        openvino.Core().read_model(proto.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for picture in made_pictures():
        pair = np.stack([picture, picture[::-1]])
        wanted = [preprocess(part, record) for part in pair]
        for found, want in zip(run([pair])[0], wanted, strict=True):
            assert levels(found, want, record).max() <= 2.1


def test_a_whole_file_with_its_preprocessing(trained: Trained, traced: Source, tmp_path: Path) -> None:
    path = tmp_path / "pictures.xml"
    OPENVINO.export(replace(traced, form=Form(with_preprocess=True)), path, facts=facts(trained))
    assert OPENVINO.inspect(path, precision="float32").complaints == ()
    session = OPENVINO.open(path)
    assert (session.input_shape, session.input_dtype) == ((None, None, None, 3), np.uint8)
    record = trained.model.record.preprocess
    for picture in made_pictures():
        wanted = runner(trained.network)(preprocess(picture, record)[None])
        assert relative_errors(wanted, as_arrays(session.run(picture[None])))[0] < 0.1  # a level or two
