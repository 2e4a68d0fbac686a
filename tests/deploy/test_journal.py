"""Answers into a file: whole, in order, and taken up again after any interruption without a lost or a doubled row."""

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from deploy.conftest import Trained

from mobilenets.deploy import Model, fast, load
from mobilenets.deploy.journal import write_predictions
from mobilenets.errors import UsageError


@pytest.fixture(scope="module")
def model(trained: Trained) -> Model:
    return load(trained.model.path, threads=1)


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    """300 pictures, every 50th of them broken."""
    data = [sample.file.read_bytes() for sample in trained.dataset.val]
    (tmp_path / "photos").mkdir()
    for index in range(300):
        broken = index % 50 == 7
        (tmp_path / "photos" / f"{index:04}.png").write_bytes(b"broken" if broken else data[index % len(data)])
    return tmp_path / "photos"


def rows_of(file: Path) -> list[dict[str, object]]:
    """The answers in a file as columns: file, label, probability, top, error."""
    match file.suffix:
        case ".csv":
            with file.open(newline="") as opened:
                rows = list(csv.DictReader(opened))
            return [
                {"file": r["file"], "top": json.loads(r["top"]) if r["top"] else None, "error": r["error"] or None}
                for r in rows
            ]
        case ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
            rows = parquet.read_table(file).to_pylist()
            return [
                {"file": r["file"], "top": json.loads(r["top"]) if r["top"] else None, "error": r["error"]}
                for r in rows
            ]
        case ".json":
            found = json.loads(file.read_text())["results"]
        case _:
            found = [json.loads(line) for line in file.read_text().splitlines()]
    return [{"file": r["file"], "top": r.get("top"), "error": r.get("error")} for r in found]


def expected(model: Model, folder: Path) -> list[dict[str, object]]:
    answers = [p.as_dict() for p in model.predict(folder)]
    return json.loads(json.dumps([{"file": a["file"], "top": a.get("top"), "error": a.get("error")} for a in answers]))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_holds_every_answer_in_order(model: Model, folder: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    out = tmp_path / f"answers{suffix}"
    done = write_predictions(model, folder, out)
    assert rows_of(out) == expected(model, folder)
    assert (done.rows, done.errors, done.resumed, len(done.first_errors)) == (300, 6, 0, 5)
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, "photos"]
    with pytest.raises(UsageError, match="exists already"):
        write_predictions(model, folder, out)


@pytest.mark.parametrize("keep", [0, 3, 192])
def test_a_torn_journal_goes_on(model: Model, folder: Path, tmp_path: Path, keep: int) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "answers.csv"
    part = tmp_path / "answers.csv.part"
    stop_after(model, folder, out, 256)
    lines = part.read_bytes().splitlines(keepends=True)
    write_predictions(model, folder, whole)
    for torn in (b"", b'{"file": "0', b"\0" * 20 + b"\n"):
        part.write_bytes(b"".join(lines[: keep + 1]) + torn)
        assert write_predictions(model, folder, out).resumed == keep
        same(out, whole)
        out.unlink()
    part.write_bytes(lines[0][:10])  # killed within the first line
    assert write_predictions(model, folder, out).rows == 300


def test_the_gate_sees_the_same_pictures_again(
    trained: Trained, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "answers.csv", []
    real = fast.gate
    monkeypatch.setattr(fast, "gate", lambda way, *given: asked.append([str(p) for p in given[0]]) or real(way, *given))
    monkeypatch.setattr(fast, "LONG", 250)
    for _ in range(2):
        bare = load(trained.model.local("onnx/model.onnx"), threads=1)  # no golden pictures: only those of the stream
        stop_after(bare, folder, out, 192)
    (first, second) = asked
    assert first[: fast.GATE_PICTURES] == second[: fast.GATE_PICTURES]


def same(one: Path, two: Path) -> None:
    """Equal rows; probabilities to rounding, since pictures meet others in a batch after an interruption."""
    pairs = list(zip(rows_of(one), rows_of(two), strict=True))
    assert [a["file"] for a, _ in pairs] == [b["file"] for _, b in pairs]
    for a, b in pairs:
        assert a["error"] == b["error"]
        assert [label for label, _ in a["top"] or ()] == [label for label, _ in b["top"] or ()]
        assert [p for _, p in a["top"] or ()] == pytest.approx([p for _, p in b["top"] or ()], abs=1e-5)


def stop_after(model: Model, folder: Path, out: Path, count: int) -> None:
    """Run the job and interrupt it when `count` answers or more are in the journal."""

    def stop(done: int) -> None:
        if done >= count - 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(model, folder, out, on_progress=stop)
    assert not out.exists()
    assert out.with_name(out.name + ".part").exists()


def test_a_journal_of_another_job_is_refused(model: Model, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    stop_after(model, folder, out, 128)
    with pytest.raises(UsageError, match="another model"):
        write_predictions(replace(model, identity="ab" * 32), folder, out)
    with pytest.raises(UsageError, match="another top"):
        write_predictions(model, folder, out, top=2)
    with pytest.raises(UsageError, match="another source"):
        write_predictions(model, folder.parent, out)
    (folder / "0000a.png").write_bytes(b"new")
    with pytest.raises(UsageError, match=r"answer 2 is of .*0001.png, where the source has .*0000a.png"):
        write_predictions(model, folder, out)
    (folder / "0000a.png").unlink()
    assert write_predictions(model, folder, out).rows == 300


def test_arrays_and_doubled_files_keep_their_rows(model: Model, trained: Trained, tmp_path: Path) -> None:
    file = trained.dataset.val[0].file
    done = write_predictions(model, [file] * 40, tmp_path / "a.jsonl")
    assert [row["file"] for row in rows_of(tmp_path / "a.jsonl")] == [str(file)] * 40
    assert done.rows == 40
    with pytest.raises(UsageError, match="answers are written as"):
        write_predictions(model, file, tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures there"):
        write_predictions(model, tmp_path / "empty", tmp_path / "b.csv")
    assert not list(tmp_path.glob("b.csv*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_goes_on(
    model: Model, trained: Trained, folder: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    data = trained.dataset.val[0].file.read_bytes()
    for index in range(300, 10_000):
        (folder / f"{index:04}.png").write_bytes(data)
    out, part = tmp_path / "answers.csv", tmp_path / "answers.csv.part"
    command = [sys.executable, "-m", "mobilenets", "predict", str(trained.model.path), str(folder), "-o", str(out)]
    for size in (2_000, 30_000, 100_000):  # of more than a million bytes: nine of ten answers are still to come
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
        )  # fmt: skip
        while process.poll() is None and not (part.exists() and part.stat().st_size > size):
            time.sleep(0.005)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == (-9 if kind == signal.SIGKILL else 130), errors
        if kind == signal.SIGINT:
            assert "the same command goes on" in errors
        assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "by an earlier run" in done.stdout
    assert [row["file"] for row in rows_of(out)] == [str(file) for file in sorted(folder.iterdir())]
    assert not part.exists()
