"""`mobilenets export`: what it prints and keeps, what it refuses in one line, and nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Run

from mobilenets.bundle import ModelFile
from mobilenets.deploy import TARGETS
from mobilenets.deploy.targets import has_module

KEYS = {"file", "target", "precision", "passed", "max_relative_error", "top1_agreement", "structure"}
HERE = [
    row.name
    for row in TARGETS.values()
    if not row.why_not_here() and all(has_module(module) for module in row.export_modules)
]


@pytest.mark.parametrize("target", HERE)
def test_the_export_is_proved_and_lies_in_the_model_file(run: Run, model: Path, target: str) -> None:
    answer = run("export", model, "--target", target, "--json")
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.json.keys() >= KEYS
    assert answer.json["passed"] is True
    assert answer.json["max_relative_error"] <= 1e-4
    assert answer.json["top1_agreement"] == 1.0
    assert answer.json["structure"]["complaints"] == []
    (export,) = [e for e in ModelFile.open(model).record.exports if e.target == target]
    assert export.verified
    assert answer.json["file"] == export.file
    assert run("predict", model, "--target", target, model / "golden", "--json").code == 0


def test_a_file_beside_the_model(run: Run, model: Path, tmp_path: Path) -> None:
    seal = ModelFile.open(model).seal
    out = tmp_path / "out"
    out.mkdir()
    answer = run("export", model, "--target", "onnx", "--precision", "float16", "-o", out, "--json")
    assert answer.code == 0
    assert Path(answer.json["file"]).is_file()
    assert Path(answer.json["file"]).stat().st_size < 0.7 * (model / "onnx" / "model.onnx").stat().st_size
    assert ModelFile.open(model).seal == seal, "the model file is as it was"
    named = run("export", model, "--target", "onnx", "-o", tmp_path / "mine.onnx", "--json")
    assert named.json["file"] == str(tmp_path / "mine.onnx")
    assert run("predict", tmp_path / "mine.onnx", model / "golden").code == 0


def test_best_keeps_the_fastest_proved_file_in_front(run: Run, model: Path) -> None:
    answer = run("export", model, "--target", "best", "--json", "-q")
    assert answer.code == 0
    assert answer.json.keys() >= {*KEYS, "bench", "refused", "skipped"}
    rows = answer.json["bench"]["rows"]
    assert {row["target"] for row in rows} | {row["target"] for row in answer.json["skipped"]} == set(TARGETS)
    fastest = min(rows, key=lambda row: row["median_ms"])
    assert answer.json["target"] == fastest["target"]
    assert ModelFile.open(model).record.exports[0].target == fastest["target"]


def test_best_goes_into_a_folder_where_one_is_named(run: Run, model: Path, tmp_path: Path) -> None:
    seal, out = ModelFile.open(model).seal, tmp_path / "new" / "folder"
    answer = run("export", model, "--target", "best", "--with-preprocess", "-o", out, "--json", "-q")
    assert answer.code == 0
    assert Path(answer.json["file"]).parent == out
    assert ModelFile.open(model).seal == seal, "the model file is as it was"
    assert run("predict", answer.json["file"], model / "golden").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "best", "-o", "model.tflite"), "model.tflite: best picks the kind of file: name a folder for it"),
        (("--target", "best", "--with-preprocess"), "goes beside the model file: name --out"),
        (("--target", "onyx"), "no target called 'onyx'; did you mean onnx?"),
        (("--target", "onnx", "--precision", "int8"), "onnx has no precision 'int8'; it has float32, float16"),
        (("--target", "onnx", "-o", "model.tflite"), "model.tflite: files for onnx end in .onnx"),
        (("--target", "onnx", "--size", "48"), "goes beside the model file: name --out"),
    ],
)
def test_wrong_words_are_one_line(run: Run, model: Path, words: tuple[str, ...], said: str) -> None:
    seal = ModelFile.open(model).seal
    answer = run("export", model, *words)
    assert answer.code == 2
    assert said in answer.stderr.splitlines()[0]
    assert len(answer.stderr.splitlines()) <= 2
    assert ModelFile.open(model).seal == seal


def test_a_place_that_cannot_be_written_is_one_line(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run("export", model, "--target", "onnx", "-o", tmp_path / "file" / "model.onnx")
    assert answer.code == 2
    assert "can't be written" in answer.stderr
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_disk_that_fills_leaves_nothing_half_written(model: Path, tmp_path: Path) -> None:
    """The system refuses every byte past 100 kB of a file, as a full disk does."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from mobilenets.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    seal = ModelFile.open(model).seal
    for out in ((), ("-o", str(tmp_path / "out.onnx"))):
        words = [sys.executable, "-c", script, "export", str(model), "--target", "onnx", *out]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) <= 2
        assert "can't be written" in done.stderr
        assert ModelFile.open(model).seal == seal
    assert not (tmp_path / "out.onnx").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
