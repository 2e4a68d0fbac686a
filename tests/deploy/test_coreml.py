"""Core ML packages, written here and read off their specification: facts, inputs, outputs, weights, sizes, refusals."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from contracts.target import source
from deploy.conftest import Trained

from mobilenets.deploy import TARGETS, facts_of
from mobilenets.deploy.embedded import Embedded, embedded_from_strings
from mobilenets.deploy.targets import Precision, has_module
from mobilenets.deploy.tracing import Form
from mobilenets.errors import BadModelFile, MissingRuntime, UsageError

pytestmark = pytest.mark.skipif(not has_module("coremltools"), reason="coremltools is not installed here")
TARGET = TARGETS["coreml"]


def facts(trained: Trained, precision: Precision = "float16") -> Embedded:
    return facts_of(trained.model.record, precision=precision, weights_sha256=trained.model.weights_sha256)


def described(path: Path) -> object:
    from mobilenets.deploy.coreml import _specification

    return _specification(path).description


@pytest.fixture(scope="module")
def package(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coreml") / "model.mlpackage"
    TARGET.export(source(trained.network, facts(trained)), path, facts=facts(trained))
    return path


@pytest.mark.slow
def test_a_package_holds_its_facts_and_float32_ends(package: Path, trained: Trained) -> None:
    assert [entry.name for entry in package.parent.iterdir()] == ["model.mlpackage"]
    text = described(package)
    assert embedded_from_strings(dict(text.metadata.userDefined), where="x") == TARGET.fed(facts(trained))
    (image,), (logits,) = text.input, text.output
    assert (image.name, tuple(image.type.multiArrayType.shape)) == ("image", (1, 3, 32, 32))
    assert (logits.name, tuple(logits.type.multiArrayType.shape)) == ("logits", (1, 3))
    float32 = image.type.multiArrayType.FLOAT32
    assert image.type.multiArrayType.dataType == logits.type.multiArrayType.dataType == float32
    assert text.metadata.author == "mobilenets"


@pytest.mark.slow
def test_weights_are_of_the_precision(package: Path, trained: Trained, tmp_path: Path) -> None:
    folded = source(trained.network, facts(trained)).folded()
    count = sum(parameter.numel() for parameter in folded.parameters())
    half = TARGET.inspect(package, precision="float16")
    assert half.complaints == ()
    assert count <= half.weights["float16"] <= count + 200
    assert half.operators["conv"] > 4
    assert TARGET.inspect(package, precision="float32").complaints, "a file of the other precision is told"
    path = tmp_path / "model_float32.mlpackage"
    TARGET.export(source(trained.network, facts(trained)), path, facts=facts(trained, "float32"))
    single = TARGET.inspect(path, precision="float32")
    assert single.complaints == ()
    assert single.weights["float32"] >= count
    assert "float16" not in single.weights
    sizes = [sum(file.stat().st_size for file in TARGET.files(place)) for place in (package, path)]
    assert sizes[0] < 0.7 * sizes[1]


@pytest.mark.slow
def test_damaged_packages_are_one_line(package: Path, tmp_path: Path) -> None:
    def broken(name: str, content: bytes | None) -> Path:
        path = tmp_path / "broken.mlpackage"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(package, path)
        if content is None:
            (path / name).unlink()
        else:
            (path / name).write_bytes(content)
        return path

    model = "Data/com.apple.CoreML/model.mlmodel"
    half = (package / model).read_bytes()[:-100]
    cases = [("Manifest.json", None), ("Manifest.json", b"{"), ("Manifest.json", b"[]"), (model, None), (model, half)]
    for name, content in cases:
        with pytest.raises(BadModelFile) as caught:
            TARGET.inspect(broken(name, content), precision="float16")
        assert "broken.mlpackage" in caught.value.message
        assert "\n" not in caught.value.message
    with pytest.raises(BadModelFile):
        TARGET.inspect(tmp_path / "none.mlpackage", precision="float16")


@pytest.mark.slow
def test_sizes_and_pictures_are_in_the_description(trained: Trained, tmp_path: Path) -> None:
    from mobilenets.deploy.coreml import _fed

    form = Form(sizes_px=((64, 96),), with_preprocess=True)
    path = tmp_path / "model.mlpackage"
    TARGET.export(replace(source(trained.network, facts(trained)), form=form), path, facts=facts(trained))
    text = described(path)
    picture = text.input[0].type
    assert picture.WhichOneof("Type") == "imageType"
    assert picture.imageType.colorSpace == picture.imageType.RGB
    assert _fed(picture) == ((None, None, None, 3), ((32, 32), (64, 96)))
    read = embedded_from_strings(dict(text.metadata.userDefined), where="x")
    assert read == TARGET.fed(facts(trained), with_preprocess=True)


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(UsageError, match="can't be exported to Core ML") as caught:
        TARGET.export(source(Branching(), facts(trained)), tmp_path / "x.mlpackage", facts=facts(trained))
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "place").write_text("")
    with pytest.raises(UsageError, match="can't be written") as refused:
        TARGET.export(source(trained.network, facts(trained)), tmp_path / "place/x.mlpackage", facts=facts(trained))
    assert "\n" not in refused.value.message
    assert [file.name for file in tmp_path.iterdir()] == ["place"]


def test_a_build_without_its_writer_is_told(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if "milstorage" in name else found(name, *rest)
    )
    with pytest.raises(MissingRuntime, match="BlobWriter"):
        TARGET.export(source(trained.network, facts(trained)), tmp_path / "x.mlpackage", facts=facts(trained))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_elsewhere_it_says_where_it_runs(tmp_path: Path) -> None:
    with pytest.raises(MissingRuntime, match="does not run on"):
        TARGET.open(tmp_path / "x.mlpackage")
