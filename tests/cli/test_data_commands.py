"""`data check` and `data show`: the promised keys, the exit code, the split that is written down."""

import shutil
from pathlib import Path

from cli.conftest import Run

from mobilenets.data import read_split

PROMISED = {"images", "classes", "unreadable", "duplicates", "leaks", "warnings", "passed"}


def test_check_of_sound_data(run: Run, photos: Path) -> None:
    answer = run("data", "check", photos, "--json")
    assert answer.code == 0
    assert answer.json.keys() >= PROMISED
    assert (answer.json["images"], answer.json["classes"], answer.json["passed"]) == (48, 3, True)
    assert run("data", "check", photos).stdout.endswith("passed\n")


def test_check_ends_with_1_on_a_leak_and_names_it(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    source = next((tmp_path / "photos/train/cat").iterdir())
    shutil.copy(source, tmp_path / "photos/test/cat" / f"again{source.suffix}")
    answer = run("data", "check", tmp_path / "photos", "--json")
    assert (answer.code, answer.json["passed"]) == (1, False)
    assert len(answer.json["leaks"]) == 1
    text = run("data", "check", tmp_path / "photos").stdout
    assert f"again{source.suffix} (test)" in text
    assert text.endswith("not passed\n")


def test_check_lists_a_broken_file_and_goes_on(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos/train/cat/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    answer = run("data", "check", tmp_path / "photos", "--json")
    assert answer.code == 0
    assert [u["file"] for u in answer.json["unreadable"]] == ["train/cat/broken.jpg"]
    assert answer.json["images"] == 48


def test_show_tells_the_classes_in_their_order(run: Run, photos: Path) -> None:
    shown = run("data", "show", photos, "--json").json
    assert shown["classes"] == ["cat", "dog", "wren"]
    assert shown["counts"][0] == {"label": "cat", "train": 8, "val": 4, "test": 4}
    assert run("data", "show", photos).stdout.splitlines()[1].split() == ["cat", "8", "4", "4"]


def test_show_writes_a_split_that_is_data_again(run: Run, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    assert run("data", "show", photos / "train", "--seed", 3, "-o", file).code == 0
    assert len(read_split(file).samples) == 24
    assert run("data", "check", file, "--json").json["images"] == 24
