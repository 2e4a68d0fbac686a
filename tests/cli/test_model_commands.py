"""The commands about a model file, on one that `fit` has just made."""

import json
import shutil
from pathlib import Path

import pytest
from cli.conftest import Answer, Run


def test_fit_prints_the_promised_keys_and_writes_its_files(fitted: tuple[Answer, Path]) -> None:
    answer, out = fitted
    assert (answer.code, answer.stderr) == (0, "")
    keys = answer.json
    assert {"model", "network", "top1", "test_images", "onnx", "report"} <= keys.keys()
    assert keys["onnx"].keys() == {"top1_agreement", "max_relative_error", "passed", "median_ms"}
    assert keys["onnx"]["passed"] is True
    assert keys["test_images"] == 12
    assert Path(keys["model"]) == out / "model"
    assert "tiny" in Path(keys["report"]).read_text()


def test_fit_does_not_overwrite_a_run(run: Run, fitted: tuple[Answer, Path], photos: Path, tiny: Path) -> None:
    answer = run("fit", photos, "--network", tiny, "--epochs", 1, "-o", fitted[1])
    assert answer.code == 2
    assert "exists already and is not overwritten" in answer.stderr


def test_predict_answers_files_folders_and_a_name_with_a_dash(
    run: Run, model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos / "test" / "cat"
    picture = sorted(folder.iterdir())[0]
    monkeypatch.chdir(tmp_path)
    shutil.copy(picture, f"-{picture.name}")
    answer = run("predict", model, "--json", "--top", 2, "--", folder, picture, f"-{picture.name}")
    assert (answer.code, answer.json["errors"]) == (0, 0)
    results = answer.json["results"]
    assert [r["file"] for r in results] == [*map(str, sorted(folder.iterdir())), str(picture), f"-{picture.name}"]
    assert {"file", "label", "probability", "top"} <= results[0].keys()
    assert [len(r["top"]) for r in results] == [2] * len(results)
    assert results[-1]["top"] == results[-2]["top"] == results[0]["top"]


def test_predict_goes_on_after_a_broken_picture(run: Run, model: Path, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    picture = next((photos / "test" / "cat").iterdir())
    answer = run("predict", model, broken, picture, "--json")
    assert (answer.code, answer.json["errors"]) == (0, 1)
    assert answer.json["results"][0].keys() == {"file", "error"}
    none = run("predict", model, broken, tmp_path / "nowhere.jpg", "--json")
    assert (none.code, none.json["errors"]) == (2, 2)
    text = run("predict", model, broken, picture).stdout.splitlines()
    assert text[0].startswith(str(broken))
    assert " error: " in text[0]
    assert " %" in text[1]


def test_eval_has_the_promised_keys(run: Run, model: Path, photos: Path, fitted: tuple[Answer, Path]) -> None:
    answer = run("eval", model, photos, "--json")
    assert {"top1", "top5", "images", "interval", "per_class"} <= answer.json.keys()
    assert answer.json["images"] == 12
    assert answer.json["top1"] == pytest.approx(fitted[0].json["top1"])
    assert run("eval", model, photos, "--split", "train", "--json").json["images"] == 24
    assert "top-1 " in run("eval", model, photos).stdout


def test_verify_says_yes_to_what_is_whole_and_no_to_what_is_not(run: Run, model: Path, photos: Path) -> None:
    answer = run("verify", model, "--json")
    assert (answer.code, answer.json["passed"]) == (0, True)
    assert answer.json["checks"]
    assert answer.json["culprit"] is None
    exported = model / "onnx/model.onnx"
    assert run("verify", exported, "--json").json["passed"] is True
    assert run("verify", exported, "--model", model, "--json").json["passed"] is True
    assert run("verify", model, photos, "--json").json["images"] > answer.json["images"]
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    damaged = run("verify", model)
    assert damaged.code in (1, 2)
    assert "weights.safetensors" in damaged.stderr
    assert len(damaged.stderr.splitlines()) <= 2


def test_bench_has_the_promised_keys_and_every_combination(run: Run, model: Path, tiny: Path) -> None:
    answer = run("bench", model, tiny, "--threads", 1, "--batch", 1, "--batch", 2, "--rounds", 3, "--json")
    assert answer.code == 0
    keys = {"network", "target", "precision", "threads", "batch", "median_ms", "p90_ms", "images_per_s", "file_mb"}
    rows = answer.json["rows"]
    assert all(keys <= row.keys() for row in rows)
    assert [row["batch"] for row in rows] == [1, 2, 1, 2]
    assert answer.json["machine"]["cores"] >= 1
    assert "noise" in run("bench", model, "--rounds", 3).stdout


def test_doctor_has_the_promised_keys(run: Run) -> None:
    answer = run("doctor", "--json")
    assert answer.code == 0
    assert {"python", "packages", "targets"} <= answer.json.keys()
    assert {"installed", "runs", "hint"} <= answer.json["targets"]["onnx"].keys()
    assert answer.json["targets"]["onnx"]["runs"] is True
    assert "onnxruntime" in answer.json["packages"]


def test_train_makes_a_run_that_config_replays(run: Run, photos: Path, tiny: Path, tmp_path: Path) -> None:
    first = run("train", photos, "--network", tiny, "--resolution", 32, "--epochs", 1, "-o", tmp_path / "a", "--json")
    assert first.code == 0
    assert Path(first.json["run"]) == tmp_path / "a"
    config = tmp_path / "a" / "config.json"
    again = run("train", photos, "--config", config, "-o", tmp_path / "b", "--json")
    assert again.json["training"]["best_metric"] == first.json["training"]["best_metric"]
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == json.loads(config.read_text())
    resumed = run("train", "--resume", tmp_path / "a", "--json")
    assert resumed.json["training"]["steps"] == first.json["training"]["steps"]


@pytest.mark.parametrize("command", ["fit", "train"])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    args = (command, photos, "--network", "mobilenetv2", "--alpha", 0.5, "--epochs", 3, "--dry-run")
    plan = run(*args, "--json").json
    assert (plan["network"], plan["epochs"], plan["train_images"]) == ("mobilenetv2 alpha 0.5 at 64x64 px", 3, 24)
    assert "training mobilenetv2 alpha 0.5" in run(*args).stdout
    assert list(tmp_path.iterdir()) == []
    assert run(command, "--resume", "runs/x", "--dry-run").code == 2
