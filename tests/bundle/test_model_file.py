"""A model file opens whole and unchanged, or says in one line why not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundle.small_model import reseal

from mobilenets.bundle import ExportRecord, ModelFile, ModelRecord, create_model_file, scalars
from mobilenets.bundle.manifest import MANIFEST, Manifest, manifest_to_json, sealed
from mobilenets.bundle.record import record_from_json, record_to_json
from mobilenets.errors import BadModelFile, UsageError
from mobilenets.records import Evaluation, Verification

NAMES = (
    "README.md",
    "check.py",
    "golden/00.png",
    "golden/01.png",
    "golden/02.png",
    "golden/03.png",
    "golden/index.json",
    "golden/vectors.safetensors",
    "model.json",
    "report.html",
    "weights.safetensors",
)
Make = Callable[[Path], ModelFile]


def refusal(path: Path) -> str:
    with pytest.raises(BadModelFile) as caught:
        ModelFile.open(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value.message


def test_what_was_written_is_read(
    make: Make, record: ModelRecord, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    make(tmp_path / "model")
    model = ModelFile.open(tmp_path / "model")
    assert model.record == record
    assert model.names == NAMES
    read = model.weights()
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) and read[name].dtype == weights[name].dtype for name in read)
    assert model.read("report.html") == b"<p>report</p>"
    assert model.local("report.html") == tmp_path / "model" / "report.html"


def test_the_seal_names_the_state(make: Make, tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    assert one.seal == two.seal
    reseal(tmp_path / "two", {"report.html": b"another"})
    assert ModelFile.open(tmp_path / "two").seal != one.seal


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    make(tmp_path / "model")
    file = tmp_path / "model" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert name in refusal(tmp_path / "model")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_longer_file_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    make(tmp_path / "model")
    file = tmp_path / "model" / name
    data = file.read_bytes()
    file.write_bytes(data + b"\0")
    assert name in refusal(tmp_path / "model")
    file.unlink()
    assert f"{name} is missing" in refusal(tmp_path / "model")
    file.write_bytes(data)
    ModelFile.open(tmp_path / "model")


def test_a_file_changed_after_opening_is_not_read(make: Make, tmp_path: Path) -> None:
    model = make(tmp_path / "model")
    (tmp_path / "model" / "report.html").write_text("<p>REPORT</p>")
    with pytest.raises(BadModelFile, match=r"report\.html changed since"):
        model.read("report.html")
    with pytest.raises(BadModelFile, match=r"has no onnx/model\.onnx"):
        model.read("onnx/model.onnx")


def test_an_unlisted_file_is_refused_and_a_hidden_one_passed_over(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    (tmp_path / "model" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "model" / ".cache").mkdir()
    (tmp_path / "model" / ".cache" / "x").write_bytes(b"x")
    assert ".DS_Store" not in ModelFile.open(tmp_path / "model").names
    (tmp_path / "model" / "golden" / "extra.bin").write_bytes(b"x")
    assert "golden/extra.bin is not in its manifest" in refusal(tmp_path / "model")


@pytest.mark.parametrize("name", ["../out.txt", "/etc/passwd", "golden/../../out.txt", "C:/out.txt", "golden\\..\\out"])
def test_a_name_that_climbs_out_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    make(tmp_path / "model")
    (tmp_path / "out.txt").write_text("secret")
    manifest = json.loads((tmp_path / "model" / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": sealed(b"secret").sha256, "bytes": 6}
    (tmp_path / "model" / MANIFEST).write_text(json.dumps(manifest))
    assert "leads out of the model file" in refusal(tmp_path / "model")


@pytest.mark.parametrize("name", ["", ".", "a//b", "./a", "a/", ".hidden", "a\nb", "a\x00", "manifest.json", "x" * 201])
def test_a_name_that_is_none_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    make(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": sealed(b"").sha256, "bytes": 0}
    (tmp_path / "model" / MANIFEST).write_text(json.dumps(manifest))
    refusal(tmp_path / "model")


def test_links_are_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    report = tmp_path / "model" / "report.html"
    (tmp_path / "elsewhere").write_bytes(report.read_bytes())
    report.unlink()
    os.symlink(tmp_path / "elsewhere", report)
    assert "link" in refusal(tmp_path / "model")
    report.unlink()
    report.write_bytes((tmp_path / "elsewhere").read_bytes())
    (tmp_path / "model" / "golden").rename(tmp_path / "golden")
    os.symlink(tmp_path / "golden", tmp_path / "model" / "golden")
    assert "link" in refusal(tmp_path / "model")


def test_the_folder_itself_may_be_a_link(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    os.symlink(tmp_path / "model", tmp_path / "link")
    assert ModelFile.open(tmp_path / "link").names == NAMES


def test_a_newer_format_is_named(make: Make, tmp_path: Path, record: ModelRecord) -> None:
    make(tmp_path / "model")
    newer = json.loads(record_to_json(record)) | {"format": 2, "new": "key"}
    reseal(tmp_path / "model", {"model.json": json.dumps(newer).encode()})
    assert "format 2 is newer than 1" in refusal(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / MANIFEST).read_text()) | {"format": 7}
    (tmp_path / "model" / MANIFEST).write_text(json.dumps(manifest))
    assert "format 7 is newer than 1" in refusal(tmp_path / "model")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": true, "files": {}}',
        b'{"format": 1, "files": {}}',
        b'{"format": 1, "files": {"model.json": 3}}',
        b'{"format": 1, "files": {}, "files": {}}',
        b'{"format": 1, "files": ' + b"[" * 100_000,
        b'{"format": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_manifest_that_is_none_is_refused(make: Make, tmp_path: Path, text: bytes) -> None:
    make(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).write_bytes(text)
    refusal(tmp_path / "model")
    reseal_free = tmp_path / "other"
    make(reseal_free)
    reseal(reseal_free, {"model.json": text})
    refusal(reseal_free)


def test_names_that_differ_in_capitals_are_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    reseal(tmp_path / "model", {"readme.md": b"x"})
    assert "capitals" in refusal(tmp_path / "model")


def test_weights_are_never_unpickled(make: Make, tmp_path: Path) -> None:
    import pickle

    make(tmp_path / "model")
    reseal(tmp_path / "model", {"weights.safetensors": pickle.dumps({"a": 1})})
    with pytest.raises(BadModelFile, match="no readable safetensors"):
        ModelFile.open(tmp_path / "model").weights()


def test_a_record_that_contradicts_itself_is_refused(make: Make, tmp_path: Path, record: ModelRecord) -> None:
    make(tmp_path / "model")
    other = json.loads(record_to_json(record))
    other["labels"]["ids"] = ["cat", "cat", "wren"]
    reseal(tmp_path / "model", {"model.json": json.dumps(other).encode()})
    assert "'cat' occurs twice" in refusal(tmp_path / "model")
    other["labels"]["ids"] = ["cat", "dog", "wren"]
    other["exports"] = [{"target": "onnx", "precision": "float32", "file": "../x.onnx"}]
    reseal(tmp_path / "model", {"model.json": json.dumps(other).encode()})
    assert "../x.onnx, which is not in the model file" in refusal(tmp_path / "model")


@pytest.mark.parametrize("what", ["nothing", "empty folder", "text file", "image folder"])
def test_what_is_no_model_file_is_said_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "text file":
        path.write_text("hello")
    elif what != "nothing":
        path.mkdir()
        if what == "image folder":
            (path / "cat.jpg").write_bytes(b"x")
    assert "model file" in refusal(path)


def test_nothing_is_overwritten_unasked(make: Make, tmp_path: Path, record: ModelRecord, golden: object) -> None:
    make(tmp_path / "model")
    with pytest.raises(UsageError, match="is there already"):
        create_model_file(tmp_path / "model", record, weights={}, golden=golden)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(UsageError, match="no model file, so it is not overwritten"):
        create_model_file(tmp_path / "photos", record, weights={}, golden=golden, overwrite=True)
    create_model_file(tmp_path / "model", record, weights={}, golden=golden, overwrite=True)
    assert ModelFile.open(tmp_path / "model").weights() == {}


def test_a_failed_write_leaves_nothing(
    record: ModelRecord, golden: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        if self.name == "model.json":
            raise OSError(28, "No space left on device")
        return written(self, data)

    written = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="No space left"):
        create_model_file(tmp_path / "model", record, weights={}, golden=golden)
    assert os.listdir(tmp_path) == []


def test_an_export_needs_its_file(record: ModelRecord, golden: object, tmp_path: Path) -> None:
    export = ExportRecord("onnx", "float32", "onnx/model.onnx")
    with pytest.raises(UsageError, match=r"names onnx/model\.onnx, which is not given"):
        create_model_file(tmp_path / "model", record.with_export(export), weights={}, golden=golden)
    model = create_model_file(
        tmp_path / "model",
        record.with_export(export),
        weights={},
        golden=golden,
        files={"onnx/model.onnx": b"graph"},
    )
    assert model.export("onnx") == export
    assert not model.export("onnx").verified
    with pytest.raises(UsageError, match="no export for litert; it holds onnx in float32"):
        model.export("litert")


def test_records_round_trip(record: ModelRecord) -> None:
    proof = Verification("onnx", "onnx/model.onnx", True, 4, 1e-6, 1e-7, 1.0, ())
    full = record.with_export(ExportRecord("onnx", "float32", "onnx/model.onnx", proof))
    assert record_from_json(record_to_json(full).encode(), where="x") == full
    again = full.with_export(ExportRecord("onnx", "float32", "onnx/other.onnx"))
    assert [export.file for export in again.exports] == ["onnx/other.onnx"]


def test_manifest_lists_in_order() -> None:
    text = manifest_to_json(Manifest({"b": sealed(b""), "a": sealed(b"x")}))
    assert list(json.loads(text)["files"]) == ["a", "b"]


def test_scalars_of_an_evaluation() -> None:
    evaluation = Evaluation(0.5, 1.0, 4, (0.1, 0.9), (), (), 0.5)
    assert scalars(evaluation) == {
        "top1": 0.5,
        "top5": 1.0,
        "images": 4,
        "interval_low": 0.1,
        "interval_high": 0.9,
        "balanced_top1": 0.5,
    }


def test_the_card_says_what_it_is(make: Make, tmp_path: Path) -> None:
    card = make(tmp_path / "model").read("README.md").decode()
    for part in ("# pets", "Cat, Dog, Wren", "32 x 32 px", "top1 0.75", "30 train, 9 val, 12 test", "none of these"):
        assert part in card


def test_opening_needs_no_torch(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from mobilenets.bundle import ModelFile\n"
        "model = ModelFile.open(sys.argv[1])\n"
        "print(len(model.golden()), sorted(model.weights()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split(" ", 1) == ["4", "['stem.weight', 'steps']\n"]
