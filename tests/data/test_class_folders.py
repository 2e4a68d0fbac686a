"""Class-per-folder data sets: layouts, splits that are missing, order of classes, and what is passed over."""

import os
from pathlib import Path

import pytest
from making import class_folder, encoded, scene

from mobilenets.data import Dataset, open_dataset
from mobilenets.errors import BadData


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.val), len(dataset.test)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_are_kept(tmp_path: Path, val: str) -> None:
    root = class_folder(tmp_path / "pets", {"train/cat": 3, "train/dog": 2, f"{val}/cat": 1, "test/dog": 2})
    dataset = open_dataset(root)
    assert sizes(dataset) == (5, 1, 2)
    assert (dataset.name, dataset.labels.ids, dataset.split_origin) == ("pets", ("cat", "dog"), "folders")
    assert [s.target for s in dataset.test] == [1, 1]
    assert all(sample.file.parent.parent.name == "test" for sample in dataset.test)
    assert open_dataset(root, seed=9) == dataset, "a given split has no seed"


def test_a_flat_folder_gets_a_seeded_split(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "pets", {"cat": 20, "dog": 10})
    dataset = open_dataset(str(root))
    assert sizes(dataset) == (24, 3, 3)
    assert [(c.train, c.val, c.test) for c in dataset.counts()] == [(16, 2, 2), (8, 1, 1)]
    assert dataset.split_origin == "seeded 80/10/10, seed 0"
    assert open_dataset(root) == dataset
    other = open_dataset(root, seed=1)
    assert other.split_origin == "seeded 80/10/10, seed 1"
    assert {s.file for s in other.test} != {s.file for s in dataset.test}
    assert {s.file for s in other.samples} == {s.file for s in dataset.samples}


@pytest.mark.parametrize(
    ("given", "expected", "origin"),
    [
        ("test", (18, 2, 4), "folders; val: seeded 10% of train, seed 0"),
        ("val", (18, 4, 2), "folders; test: seeded 10% of train, seed 0"),
        (None, (16, 2, 2), "folders; seeded 80/10/10, seed 0"),
    ],
)
def test_a_missing_split_is_taken_out_of_train(
    tmp_path: Path, given: str | None, expected: tuple[int, int, int], origin: str
) -> None:
    counts = {"train/cat": 10, "train/dog": 10} | ({f"{given}/cat": 2, f"{given}/dog": 2} if given else {})
    dataset = open_dataset(class_folder(tmp_path, counts))
    assert sizes(dataset) == expected
    assert dataset.split_origin == origin
    files = [sample.file for sample in dataset.samples]
    assert len(set(files)) == len(files)
    if given:
        assert all(given in sample.file.parts for sample in dataset.split(given))


def test_whole_numbers_are_ordered_by_value_words_by_letters(tmp_path: Path) -> None:
    numbers = class_folder(tmp_path / "a", {str(n): 1 for n in (10, 9, 100, 1, 2)})
    assert open_dataset(numbers).labels.ids == ("1", "2", "9", "10", "100")
    words = class_folder(tmp_path / "b", dict.fromkeys(("class10", "class9", "Zebra", "ape"), 1))
    assert open_dataset(words).labels.ids == ("Zebra", "ape", "class10", "class9")
    mixed = class_folder(tmp_path / "c", dict.fromkeys(("10", "9", "x"), 1))
    assert open_dataset(mixed).labels.ids == ("10", "9", "x")


def test_what_is_passed_over_and_what_is_not(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"cat": 2, "dog": 2, "cat/older/still": 2})
    picture = encoded(scene())
    for name in (".hidden.png", "Thumbs.db", ".DS_Store", "notes.txt", "no_extension"):
        (root / "cat" / name).write_bytes(picture)
    for name in (".git", "__MACOSX"):
        (root / name).mkdir()
        (root / name / "x.png").write_bytes(picture)
    (root / "cat" / "UPPER.JPEG").write_bytes(picture)
    dataset = open_dataset(root)
    assert dataset.labels.ids == ("cat", "dog")
    names = {dataset.relative(sample.file) for sample in dataset.samples if sample.target == 0}
    assert names == {"cat/0.png", "cat/1.png", "cat/UPPER.JPEG", "cat/older/still/0.png", "cat/older/still/1.png"}


def test_loops_of_links_end_and_linked_classes_count(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "data", {"cat": 3})
    elsewhere = class_folder(tmp_path / "elsewhere", {"dogs": 3})
    (root / "cat" / "loop").symlink_to(root)
    (root / "dog").symlink_to(elsewhere / "dogs")
    dataset = open_dataset(root)
    assert dataset.labels.ids == ("cat", "dog")
    assert sum(sample.target == 1 for sample in dataset.samples) == 3
    assert len(dataset.samples) < 20


def test_files_that_can_be_seen_to_be_nothing_are_listed(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"cat": 3, "dog": 3})
    (root / "cat" / "empty.jpg").touch()
    (root / "dog" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    dataset = open_dataset(root)
    assert [(u.file, u.kind) for u in dataset.unreadable] == [
        ("cat/empty.jpg", "empty file"),
        ("dog/gone.jpg", "missing"),
    ]
    assert len(dataset.samples) == 6


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    dataset = open_dataset(class_folder(tmp_path, {"train": 3, "bus": 3}))
    assert dataset.labels.ids == ("bus", "train")


def test_what_lies_beside_is_noted(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"train/cat": 2, "train/dog": 2, "test/cat": 1, "extra/cow": 1})
    (root / "train" / "loose.jpg").write_bytes(encoded(scene()))
    notes = open_dataset(root).notes
    assert notes == (
        "folders beside the splits take no part: extra",
        "pictures outside of class folders take no part: 1, the first train/loose.jpg",
    )


def test_a_class_without_pictures_stays_in_the_list(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"train/cat": 2, "train/dog": 2, "train/empty": 0, "test/new": 1})
    dataset = open_dataset(root)
    assert dataset.labels.ids == ("cat", "dog", "empty", "new")
    assert [c.train for c in dataset.counts()] == [1, 1, 0, 0], "one of two goes to val, which is missing"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no pictures in it"),
        ({"cat": 0, "dog": 0}, "no pictures in it"),
        ({"cat": 3}, r"only one class \(cat\)"),
        ({"train/cat": 3, "val/cat": 1}, r"only one class \(cat\)"),
        ({"": 3}, "3 pictures but no class folders"),
        ({"val/cat": 1, "val/dog": 1}, "there is val but no folder train"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1, "valid/cat": 1}, "val and valid both mean the val split"),
        ({"train/cat": 0, "train/dog": 0, "val/cat": 1, "val/dog": 1}, "no picture to train on"),
    ],
)
def test_folders_that_are_no_data_set_say_so_in_one_line(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    root = class_folder(tmp_path / "data", counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(BadData, match=message) as caught:
        open_dataset(root)
    assert str(root) in caught.value.message
    assert "\n" not in caught.value.message


def test_other_things_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such file or folder") as caught:
        open_dataset(tmp_path / "none")
    assert "digits" in caught.value.hint
    (tmp_path / "a.tar").touch()
    with pytest.raises(BadData, match="neither a folder"):
        open_dataset(tmp_path / "a.tar")


def test_the_order_of_the_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folder(tmp_path, {"cat": 12, "dog": 12})
    dataset = open_dataset(root)
    real = os.scandir

    class Reversed:
        def __init__(self, folder: str) -> None:
            with real(folder) as entries:
                self._entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert open_dataset(root) == dataset


def test_grocery(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "grocery")
    assert sizes(dataset) == (648, 120, 324)
    assert len(dataset.labels) == 81
    assert sum(count.val == 0 for count in dataset.counts()) == 21
    assert dataset.notes == ()
