"""Adding to a model file is one step: whenever it stops, the old state is whole or the new one is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenets.bundle import ExportRecord, ModelFile, ModelRecord, add_files
from mobilenets.errors import BadModelFile, UsageError

Make = Callable[[Path], ModelFile]
EXPORT = ExportRecord("onnx", "float32", "onnx/model.onnx")


class Killed(BaseException):
    """Stands for SIGKILL: after it nothing more happens to the disk."""


class Disk:
    """Counts what changes the folder tree, and from the n-th change on lets nothing through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
        self.left = stop
        for owner, name in (
            (os, "replace"),
            (os, "unlink"),
            (os, "rmdir"),
            (os, "mkdir"),
            (Path, "unlink"),
            (Path, "write_bytes"),
            (shutil, "rmtree"),
        ):
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if self.left <= 0:
                raise Killed
            self.left -= 1
            return real(*args, **kwargs)

        return call


def everything(model: ModelFile) -> dict[str, bytes]:
    return {name: model.read(name) for name in model.names}


def test_a_file_is_added_and_the_record_with_it(make: Make, tmp_path: Path, record: ModelRecord) -> None:
    model = make(tmp_path / "model")
    added = add_files(model, {EXPORT.file: b"graph"}, record=record.with_export(EXPORT))
    assert added.record.exports == (EXPORT,)
    assert added.read(EXPORT.file) == b"graph"
    assert "onnx/model.onnx" in added.read("README.md").decode()
    assert added.seal != model.seal
    assert set(os.listdir(tmp_path / "model")) == {"golden", "onnx", "manifest.json", *added.names} - {
        name for name in added.names if "/" in name
    }


def test_every_stop_leaves_one_whole_state(make: Make, tmp_path: Path, record: ModelRecord) -> None:
    old = make(tmp_path / "old")
    new_files = {EXPORT.file: b"graph", "report.html": b"new report"}
    changes = {"record": record.with_export(EXPORT), "remove": ["golden/03.png"]}
    before = everything(old)
    after = everything(add_files(make(tmp_path / "new"), new_files, **changes))
    states = []
    for stop in range(60):
        place = tmp_path / f"model{stop}"
        shutil.copytree(tmp_path / "old", place)
        model = ModelFile.open(place)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, stop)
            try:
                add_files(model, new_files, **changes)
                finished = True
            except Killed:
                finished = False
        found = everything(ModelFile.open(place))
        assert found in (before, after)
        states.append(found == after)
        # Whatever was left behind, the next write goes through and clears it away.
        again = add_files(ModelFile.open(place), {"notes.txt": b"x"})
        assert again.read("notes.txt") == b"x"
        assert [name for name in os.listdir(place) if name == ".pending"] == []
        if finished:
            break
    assert finished
    assert states == sorted(states), "once the new state holds, no later stop goes back"
    assert states.count(True) > 3
    assert states.count(False) > 3


def test_a_committed_state_is_checked_like_any_other(
    make: Make, tmp_path: Path, record: ModelRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(tmp_path / "model")
    with monkeypatch.context() as patch:
        patch.setattr("mobilenets.bundle.writing.finish_pending", lambda root: None)
        add_files(model, {"report.html": b"new"})
    assert ModelFile.open(tmp_path / "model").read("report.html") == b"new"
    assert ModelFile.open(tmp_path / "model").local("report.html") == tmp_path / "model" / ".pending" / "report.html"
    (tmp_path / "model" / ".pending" / "report.html").write_bytes(b"bad")
    with pytest.raises(BadModelFile, match=r"report\.html is not the file that was sealed"):
        ModelFile.open(tmp_path / "model")


def test_two_writers_do_not_lose_each_others_files(make: Make, tmp_path: Path) -> None:
    mine = make(tmp_path / "model")
    add_files(ModelFile.open(tmp_path / "model"), {"theirs.txt": b"x"})
    with pytest.raises(BadModelFile, match="changed by someone else"):
        add_files(mine, {"mine.txt": b"x"})
    assert ModelFile.open(tmp_path / "model").read("theirs.txt") == b"x"


def test_a_bad_name_or_a_full_disk_changes_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(tmp_path / "model")
    with pytest.raises(BadModelFile, match="leads out"):
        add_files(model, {"../x": b"x"})

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UsageError, match="No space left"):
            add_files(model, {"notes.txt": b"x"})
    assert ModelFile.open(tmp_path / "model").seal == model.seal
    assert [name for name in os.listdir(tmp_path / "model") if name.startswith(".")] == []
    assert os.listdir(tmp_path) == ["model"]
