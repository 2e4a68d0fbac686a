"""The main job on a few made pictures: what it leaves behind, what it refuses, and that its proof can fail."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.bundle import ModelFile
from mobilenets.deploy import evaluate_model, load, verify_model
from mobilenets.errors import BadData, UsageError
from mobilenets.fitting import FitResult, fit
from mobilenets.planning import Event

COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}


def pictures(folder: Path, *, per_class: int = 24, seed: int = 0) -> Path:
    """Noisy plain colours, one folder a class: learnt in seconds."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            noise = rng.normal(0, 25, (40, 40, 3))
            pixels = np.clip(np.array(colour) * rng.uniform(0.6, 1.0) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult, list[object]]:
    root = tmp_path_factory.mktemp("fit")
    events: list[object] = []
    result = fit(pictures(root / "colours"), epochs=60, out=root / "run", on_event=events.append)
    return root, result, events


@pytest.mark.slow
def test_it_ends_with_a_proved_model(fitted: tuple[Path, FitResult, list[object]]) -> None:
    root, result, events = fitted
    assert result.top1 >= 0.9
    assert result.onnx.passed
    assert result.onnx.top1_agreement == 1.0
    assert result.onnx.max_relative_error < 1e-4
    steps = [e.step for e in events if isinstance(e, Event) and e.text]
    assert steps == ["data", "train", "calibrate", "export", "bench", "report"]
    run = root / "run"
    left = {"config.json", "fit.json", "split.json", "results.csv", "best.safetensors", "last.safetensors", "model"}
    assert left <= {p.name for p in run.iterdir()}
    page = (run / "report.html").read_text()
    packed = ModelFile.open(run / "model")
    assert packed.read("report.html") == page.encode()
    (export,) = packed.record.exports
    assert export.bench is not None
    assert export.bench.rows[0].median_ms == result.onnx.median_ms
    assert "colours" in page


@pytest.mark.slow
def test_the_model_answers_and_is_measured_alike(fitted: tuple[Path, FitResult, list[object]]) -> None:
    root, result, _ = fitted
    model = load(result.model)
    (answer,) = model.predict(root / "colours" / "red" / "00.png")
    assert answer.as_dict()["top"][0][0] == "red"  # type: ignore[index]
    evaluation = evaluate_model(model, root / "run" / "split.json")
    assert (evaluation.top1, evaluation.images) == (result.top1, result.test_images)


@pytest.mark.slow
def test_labels_are_matched_by_name_never_by_position(
    fitted: tuple[Path, FitResult, list[object]], tmp_path: Path
) -> None:
    _, result, _ = fitted
    other = pictures(tmp_path / "other", per_class=5, seed=1)
    (other / "blue").rename(tmp_path / "blue")  # red is now class 1 of 2 where the model has it as 2 of 3
    rows = [f"{p},{p.parent.name}\n" for p in sorted(other.rglob("*.png"))]
    (tmp_path / "some.csv").write_text("path,label\n" + "".join(reversed(rows)))
    assert evaluate_model(result.model, tmp_path / "some.csv").top1 >= 0.9
    (other / "red").rename(other / "violet")
    with pytest.raises(BadData, match="'violet'"):
        evaluate_model(result.model, other)


@pytest.mark.slow
def test_a_run_is_never_overwritten_and_its_configuration_replays(
    fitted: tuple[Path, FitResult, list[object]], tmp_path: Path
) -> None:
    root, result, _ = fitted
    with pytest.raises(UsageError, match="exists already"):
        fit(root / "colours", epochs=1, out=root / "run")
    again = fit(root / "colours", config=root / "run" / "config.json", out=tmp_path / "again", photos=False)
    assert again.network == result.network
    assert again.top1 == result.top1  # the same seed, machine and versions
    record = json.loads((tmp_path / "again" / "model" / "model.json").read_text())
    assert record["golden"] == "synthetic"
    assert "data:image/png" not in (tmp_path / "again" / "report.html").read_text()


@pytest.mark.slow
def test_the_proof_can_fail(fitted: tuple[Path, FitResult, list[object]], tmp_path: Path) -> None:
    _, result, _ = fitted
    file = ModelFile.open(result.model).local("onnx/model.onnx")
    assert verify_model(result.model, file=file).passed
    import onnx

    proto = onnx.load(file)
    weight = max(proto.graph.initializer, key=lambda t: np.prod(t.dims))
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(proto, tmp_path / "nudged.onnx")
    assert not verify_model(result.model, file=tmp_path / "nudged.onnx").passed


def test_a_class_without_training_images_ends_it(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", per_class=4)
    rows = [
        f"{p},{p.parent.name},{'test' if p.parent.name == 'red' else 'train'}\n" for p in sorted(folder.rglob("*.png"))
    ]
    (tmp_path / "some.csv").write_text("path,label,split\n" + "".join(rows))
    with pytest.raises(BadData, match="1 of 3 classes have no training image, the first 'red'"):
        fit(tmp_path / "some.csv", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fit needs data"):
        fit(out=tmp_path / "run")
    with pytest.raises(BadData, match="no such file or folder"):
        fit(tmp_path / "nowhere", out=tmp_path / "run")
