"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from mobilenets.errors import UsageError
from mobilenets.files import replacing, replacing_folder, sha256, write_atomic


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["b.txt"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text({}["half"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with replacing_folder(path) as new:
        (new / "x").write_text("1")
    with replacing_folder(path) as new:
        (new / "y").write_text("2")
    assert os.listdir(path) == ["y"]
    with pytest.raises(KeyError), replacing_folder(path) as new:
        (new / "z").write_text({}["half"])
    assert os.listdir(path) == ["y"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_refusing_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        write_atomic(tmp_path / "file" / "x", "")


def test_sha256(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
