"""An import from file to model file: what it says, what it proves, what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models.warmed import randomise
from models.weights.made_onnx import unfolded

from mobilenets import ModelFile, import_model, load
from mobilenets.activations import try_activations
from mobilenets.bundle import synthetic_images
from mobilenets.data.labels import read_labels
from mobilenets.errors import BadData, CheckFailed, UsageError
from mobilenets.importing import Changes, changed, class_labels
from mobilenets.models import build, load_exact, state_arrays
from mobilenets.models.weights.read import Read
from mobilenets.originals import Original
from mobilenets.proving import prove
from mobilenets.records import Labels, Preprocess
from mobilenets.specs import Spec, resolve, with_activation

SIDE = 32
RECORD = Preprocess((SIDE, SIDE), mean=(0.5,) * 3, std=(0.5,) * 3)


def small(name: str = "MobileNetV2", classes: int = 5) -> Spec:
    return resolve(name, alpha=0.35, resolution_px=(SIDE, SIDE), classes=classes)


def calm(spec: Spec, seed: int = 0) -> dict[str, np.ndarray]:
    """Fresh weights whose norms have seen data."""
    torch.manual_seed(seed)
    network = build(spec)
    randomise(network, side_px=SIDE)
    return state_arrays(network)


def read_of(spec: Spec, arrays: dict[str, np.ndarray]) -> Read:
    return Read(spec, arrays, RECORD, evidence=("by hand",), assumed=("preprocess", "fit"))


def network_of(spec: Spec, arrays: dict[str, np.ndarray]):  # type: ignore[no-untyped-def]
    network = build(spec).eval()
    load_exact(network, arrays)
    return network


def original(spec: Spec, arrays: dict[str, np.ndarray], *, order: list[int] | None = None) -> Original:
    """A runtime that computes `spec`: what an import may differ from."""
    from mobilenets.deploy.trained import runner

    run = runner(network_of(spec, arrays))

    def answer(pictures, names):  # type: ignore[no-untyped-def]
        found = run(pictures)[0]
        return {"": found if order is None else found[:, order]}

    return Original("by hand", answer)


def pictures(count: int = 6) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 3, SIDE, SIDE)).astype(np.float32)


def test_a_faithful_import_passes() -> None:
    spec = small()
    arrays = calm(spec)
    proof = prove(read_of(spec, arrays), network_of(spec, arrays), original(spec, arrays), pictures())
    assert proof.passed
    assert proof.top1_agreement == 1.0
    assert proof.causes == ()


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("padding same", lambda spec: replace(spec, padding="symmetric")),
        ("epsilon 0.001", lambda spec: replace(spec, norm=replace(spec.norm, eps=1e-5))),
        ("activation ReLU6", lambda spec: with_activation(spec, "relu")),
    ],
)
def test_what_differs_is_named(cause: str, wrong) -> None:  # type: ignore[no-untyped-def]
    spec = small()
    arrays = calm(spec)
    if cause == "activation ReLU6":
        arrays["backbone.stem.conv.norm.weight"] = arrays["backbone.stem.conv.norm.weight"] * 20  # past the ceiling
    ours = wrong(spec)
    proof = prove(read_of(ours, arrays), network_of(ours, arrays), original(spec, arrays), pictures())
    assert not proof.passed
    assert any(found.startswith(cause) for found in proof.causes), proof.causes
    assert not any(found.startswith("label order") for found in proof.causes)


def test_another_order_of_labels_is_named() -> None:
    spec = small()
    arrays = calm(spec)
    proof = prove(
        read_of(spec, arrays), network_of(spec, arrays), original(spec, arrays, order=[1, 2, 3, 4, 0]), pictures()
    )
    assert not proof.passed
    assert proof.causes[-1].startswith("label order")


def test_an_integer_original_is_held_to_agreement() -> None:
    spec = small()
    arrays = calm(spec)
    rough = {k: (np.round(v * 24) / 24 if v.ndim == 4 else v).astype(np.float32) for k, v in arrays.items()}
    read = replace(read_of(spec, arrays), quantised=True)
    proof = prove(read, network_of(spec, arrays), original(spec, rough), pictures(40))
    assert proof.max_relative_error > 1e-3
    assert proof.passed == (proof.top1_agreement >= 0.85)
    shuffled = original(spec, rough, order=[1, 2, 3, 4, 0])
    assert not prove(read, network_of(spec, arrays), shuffled, pictures(40)).passed


def test_near_ties_of_an_integer_original_are_judged_by_all_answers() -> None:
    spec = small()
    arrays = calm(spec)
    rough = {k: (np.round(v * 64) / 64 if v.ndim == 4 else v).astype(np.float32) for k, v in arrays.items()}
    whole = original(spec, rough)

    def near_ties(given: np.ndarray, names: object) -> dict[str, np.ndarray]:
        answers = whole.run(given, ("",))[""]
        best = answers.argmax(1)
        swapped = answers.copy()
        rows = np.arange(0, len(answers), 3)  # in every third picture the runner-up comes out in front
        second = np.argsort(answers, 1)[rows, -2]
        swapped[rows, second] = answers[rows, best[rows]] + 1e-6
        return {"": swapped}

    ties = Original("by hand", near_ties)
    read = replace(read_of(spec, arrays), quantised=True)
    proof = prove(read, network_of(spec, arrays), ties, pictures(40))
    assert proof.top1_agreement < 0.85
    assert proof.correlation is not None
    assert proof.passed
    other = replace(spec, padding="symmetric")
    twin = replace(read_of(other, arrays), quantised=True)
    wrong = prove(twin, network_of(other, arrays), ties, pictures(40))
    assert not wrong.passed, "another padding explains the original better"


def test_the_caller_knows_better() -> None:
    spec = small()
    read = read_of(spec, {})
    given = changed(read, Changes(fit="stretch", mean=(0.0,), std=(1.0,), resolution_px=(48, 64)))
    assert given.preprocess == replace(RECORD, fit="stretch", mean=(0.0,) * 3, std=(1.0,) * 3, size_px=(48, 64))
    assert given.spec.resolution_px == (48, 64)
    assert given.assumed == ()
    same = changed(read, Changes())
    assert (same.spec, same.preprocess, same.assumed) == (read.spec, read.preprocess, read.assumed)


def test_class_names() -> None:
    spec = small(classes=3)
    assert class_labels(read_of(spec, {})).ids == ("class 0", "class 1", "class 2")
    own = Labels(("a", "b", "c"))
    assert class_labels(replace(read_of(spec, {}), labels=own)) == own
    imagenet = class_labels(read_of(small(classes=1001), {}))
    assert imagenet.ids[:2] == ("background", "n01440764")
    assert len(class_labels(read_of(small(classes=1000), {}))) == 1000
    foreign = Labels(tuple(f"thing {i}" for i in range(1000)))
    assert class_labels(replace(read_of(small(classes=1000), {}), labels=foreign)) == foreign
    with pytest.raises(BadData, match="3 class names for a network of 5"):
        class_labels(replace(read_of(small(classes=5), {}), labels=own))


def test_a_list_of_classes(tmp_path: Path) -> None:
    text = tmp_path / "labels.txt"
    text.write_text("cat\n\ndog\n")
    assert read_labels(text).ids == ("cat", "dog")
    text.write_text("crane\ncrane\n")
    assert read_labels(text) == Labels(("0 crane", "1 crane"), ("crane", "crane"))
    table = tmp_path / "labels.csv"
    table.write_text("label,name\nn1,tench\nn2,crane\n")
    assert read_labels(table) == Labels(("n1", "n2"), ("tench", "crane"))
    table.write_text("name\ntench\n")
    with pytest.raises(BadData, match="no column called label"):
        read_labels(table)
    with pytest.raises(UsageError, match="can't be read"):
        read_labels(tmp_path / "none.txt")


def labelled(folder: Path, network, labels: Labels):  # type: ignore[no-untyped-def]
    """Pictures in folders by what `network` answers: it is right on all of them."""
    from mobilenets import open_dataset
    from mobilenets.data import preprocess, read_image, with_labels
    from mobilenets.deploy.trained import runner

    for i, (suffix, data) in enumerate(synthetic_images(40, size_px=(SIDE, SIDE), seed=3)):
        file = folder / f"{i}{suffix}"
        file.write_bytes(data)
        answer = runner(network)(preprocess(read_image(file), RECORD)[None])[0].argmax()
        place = folder / labels.ids[answer]
        place.mkdir(exist_ok=True)
        file.rename(place / file.name)
    return with_labels(open_dataset(str(folder)), labels)


def test_an_activation_that_is_not_stored_is_tried(tmp_path: Path) -> None:
    spec = with_activation(small(), "relu")
    arrays = calm(spec)
    labels = Labels(tuple(f"class {i}" for i in range(5)))
    dataset = labelled(tmp_path, network_of(spec, arrays), labels)
    table, read = try_activations(replace(read_of(spec, arrays), assumed=("activation",)), dataset)
    scores = {row.activation: row for row in table}
    assert scores["ReLU"].verdict in ("best", "tied with the best")
    assert scores["ReLU"].top1 == max(row.top1 for row in table) == 1.0
    assert {"ReLU", "ReLU6", "LeakyReLU 0.01", "LeakyReLU 0.1"} <= set(scores)
    assert next(row.activation for row in table if row.verdict == "best") in read.evidence[-1]
    assert ("a tie with" in read.evidence[-1]) == ("activation" in read.assumed)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spec, dict[str, np.ndarray]]:
    """A small V2 of somebody's as an ONNX file, without our facts in it."""
    spec = small("mobilenetv2")
    arrays = calm(spec)
    path = tmp_path_factory.mktemp("theirs") / "theirs.onnx"
    path.write_bytes(unfolded(network_of(spec, arrays)))
    return path, spec, arrays


def test_a_file_becomes_a_model_that_predicts(
    onnx_file: tuple[Path, Spec, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = onnx_file[0]
    result = import_model(path, out=tmp_path / "model", changes=Changes(fit="stretch"))
    assert (result.network, result.alpha, result.classes) == ("mobilenetv2", 0.35, 5)
    assert result.resolution_px == (SIDE, SIDE)
    assert result.proof is not None
    assert result.proof.passed
    assert (result.proof.runtime, result.proof.images) == ("ONNX Runtime", 16)
    model = ModelFile.open(tmp_path / "model")
    origin = model.record.provenance.imported
    assert origin is not None
    assert (origin.file, origin.format) == ("theirs.onnx", "onnx")
    assert "ONNX Runtime on 16 pictures" in origin.proof
    assert model.record.metrics == {}, "nothing of somebody else's is shown as measured"
    _, picture = synthetic_images(1, size_px=(40, 40))[0]
    prediction = load(tmp_path / "model").predict(picture)[0]
    assert prediction.error is None
    with pytest.raises(UsageError, match="is there already"):
        import_model(path, out=tmp_path / "model")


def test_a_backbone_is_taken_out(onnx_file: tuple[Path, Spec, dict[str, np.ndarray]], tmp_path: Path) -> None:
    from safetensors import safe_open

    path, spec, _ = onnx_file
    result = import_model(path, out=tmp_path / "backbone", backbone=True)
    assert result.classes == 0
    assert result.proof is not None
    assert result.proof.passed
    assert result.proof.tensors == len(replace(spec, classes=0).taps())
    with safe_open(result.model, framework="np") as file:
        assert file.metadata()["format"] == "mobilenets"
        assert all(key.startswith("backbone.") for key in file.keys())  # noqa: SIM118


def test_an_import_that_answers_otherwise_is_refused(
    onnx_file: tuple[Path, Spec, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilenets import importing

    path = onnx_file[0]
    read = importing.read_file(path)
    bias = read.arrays["classifier.bias"] + np.arange(5, dtype=np.float32)
    wrong = replace(read, arrays={**read.arrays, "classifier.bias": bias})
    monkeypatch.setattr(importing, "read_file", lambda *_, **__: wrong)
    with pytest.raises(CheckFailed, match="does not answer as the original does in ONNX Runtime"):
        import_model(path, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_wrong_sources(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        import_model(tmp_path / "none.tflite", out=tmp_path / "a")
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    with pytest.raises(BadData):
        import_model(tmp_path / "x.onnx", out=tmp_path / "a")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(UsageError, match="no format that can be read"):
        import_model(tmp_path / "x.txt", out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
