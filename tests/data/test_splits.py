"""Seeded splits: shares, groups, stability; split files; and the operations on a data set."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import class_folder

from mobilenets.data import Dataset, Sample, open_dataset, read_split, with_labels, without_files, write_split
from mobilenets.data.labels import read_class_map
from mobilenets.data.split import EIGHT_ONE_ONE, seeded_split
from mobilenets.errors import BadData, UnknownName
from mobilenets.records import Labels, UnreadableFile


def made(counts: list[int], groups: list[int] | None = None) -> tuple[list[Sample], list[str]]:
    targets = [target for target, count in enumerate(counts) for _ in range(count)]
    names = [f"{target}/{index}.png" for index, target in enumerate(targets)]
    group = [f"g{groups[i % len(groups)]}" if groups else "" for i in range(len(targets))]
    return [Sample(Path(n), t, g) for n, t, g in zip(names, targets, group, strict=True)], names


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 1000))
def test_each_class_gets_its_shares(counts: list[int], seed: int) -> None:
    samples, keys = made(counts)
    splits = seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=seed)
    assert sorted(sum(splits.values(), ()), key=str) == sorted(samples, key=str)
    for target, count in enumerate(counts):
        train, val, test = (sum(s.target == target for s in splits[name]) for name in ("train", "val", "test"))
        assert train >= 1
        if count >= 3:
            assert val == test == max(1, int(count / 10 + 0.5))
        if count == 2:
            assert (train, val, test) == (1, 0, 1)


@given(st.lists(st.integers(3, 20), min_size=1, max_size=4), st.integers(0, 50), st.randoms())
def test_the_order_of_listing_changes_nothing(counts: list[int], seed: int, random: object) -> None:
    samples, keys = made(counts)
    order = list(range(len(samples)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = seeded_split([samples[i] for i in order], [keys[i] for i in order], fractions=EIGHT_ONE_ONE, seed=seed)
    assert shuffled == seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=seed)


def test_adding_a_picture_moves_few() -> None:
    samples, keys = made([200])
    before = seeded_split(samples[:-1], keys[:-1], fractions=EIGHT_ONE_ONE, seed=0)
    after = seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=0)
    moved = sum(sample in after["train"] for sample in before["test"] + before["val"])
    assert moved <= 2


@settings(max_examples=60)
@given(
    st.lists(st.integers(4, 60), min_size=1, max_size=5),
    st.lists(st.integers(0, 25), min_size=1, max_size=40),
    st.integers(0, 100),
)
def test_groups_stay_whole_and_every_class_trains(counts: list[int], groups: list[int], seed: int) -> None:
    samples, keys = made(counts, groups)
    splits = seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=seed)
    assert sum(map(len, splits.values())) == len(samples)
    place: dict[str, str] = {}
    for name, part in splits.items():
        for sample in part:
            assert place.setdefault(sample.group, name) == name
    assert {s.target for s in splits["train"]} == {s.target for s in samples}


def test_groups_come_near_the_shares() -> None:
    samples, keys = made([500, 500], list(range(100)))
    splits = seeded_split(samples, keys, fractions=EIGHT_ONE_ONE, seed=0)
    for name, share in EIGHT_ONE_ONE.items():
        for target in (0, 1):
            assert abs(sum(s.target == target for s in splits[name]) - 500 * share) <= 25


def test_a_split_written_down_is_read_back_whatever_was_added(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "pets", {"cat": 12, "dog": 12})
    (root / "cat" / "empty.png").touch()
    dataset = open_dataset(root)
    write_split(dataset, tmp_path / "run" / "split.json")
    class_folder(root, {"cow": 5})
    assert open_dataset(root) != dataset
    again = read_split(tmp_path / "run" / "split.json")
    assert again == replace(dataset, root=root.resolve())
    assert open_dataset(tmp_path / "run" / "split.json") == again
    assert again.fingerprint() == dataset.fingerprint()


def test_a_data_set_that_moved(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    write_split(open_dataset(root), tmp_path / "split.json")
    root.rename(tmp_path / "animals")
    with pytest.raises(BadData, match="6 of its 6 pictures are not there"):
        read_split(tmp_path / "split.json")
    assert len(read_split(tmp_path / "split.json", root=tmp_path / "animals").samples) == 6


def test_split_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    with pytest.raises(BadData, match="can't be read as a split file"):
        read_split(path)
    path.write_text("{")
    with pytest.raises(BadData, match="not JSON"):
        read_split(path)
    root = class_folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    write_split(open_dataset(root), path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"format": 2}))
    with pytest.raises(BadData, match="split file of format 2"):
        read_split(path)
    record["test"][0]["label"] = "cow"
    path.write_text(json.dumps(record))
    with pytest.raises(BadData, match=r"test\[0\].label: 'cow'"):
        read_split(path)


def test_the_fingerprint_is_of_content_label_and_split(tmp_path: Path) -> None:
    first = open_dataset(class_folder(tmp_path / "a", {"train/cat": 3, "train/dog": 3, "val/cat": 1, "test/dog": 1}))
    second = open_dataset(class_folder(tmp_path / "b", {"train/cat": 3, "train/dog": 3, "val/cat": 1, "test/dog": 1}))
    assert first.fingerprint() == second.fingerprint(), "neither place nor names take part"
    (tmp_path / "b" / "train" / "cat" / "0.png").rename(tmp_path / "b" / "train" / "cat" / "zz.png")
    assert open_dataset(tmp_path / "b").fingerprint() == first.fingerprint()
    moved = replace(first, train=first.train[1:], val=(*first.val, first.train[0]))
    renamed = replace(first, labels=Labels(("cat", "cow")))
    changed = tmp_path / "b" / "test" / "dog" / "0.png"
    changed.write_bytes(changed.read_bytes() + b"\0")
    prints = [d.fingerprint() for d in (first, moved, renamed, open_dataset(tmp_path / "b"))]
    assert len(set(prints)) == 4
    changed.unlink()
    with pytest.raises(BadData, match="can't be read"):
        second.fingerprint()


@pytest.fixture
def pets(tmp_path: Path) -> Dataset:
    return open_dataset(class_folder(tmp_path, {"train/cat": 3, "train/dog": 2, "val/cat": 1, "test/dog": 1}))


def test_labels_are_matched_by_name_never_by_position(pets: Dataset) -> None:
    moved = with_labels(pets, Labels(("dog", "fox", "cat")))
    assert [s.target for s in moved.train] == [2, 2, 2, 0, 0]
    assert [(c.label, c.train) for c in moved.counts()] == [("dog", 2), ("fox", 0), ("cat", 3)]
    assert [s.file for s in moved.samples] == [s.file for s in pets.samples]
    with pytest.raises(BadData, match="1 of its 2 labels are unknown to the model: 'dog'"):
        with_labels(pets, Labels(("cat", "fox")))


def test_labels_are_matched_by_a_unique_name_or_a_map(pets: Dataset) -> None:
    known = Labels(("n1", "n2", "n3", "n4"), ("Crane", "crane", "DOG", "house cat"))
    with pytest.raises(BadData, match="'cat'"):
        with_labels(pets, known)
    moved = with_labels(pets, known, {"cat": "house_cat"})
    assert [s.target for s in moved.train] == [3, 3, 3, 2, 2]
    assert [s.target for s in with_labels(pets, known, {"cat": "n3"}).train] == [2] * 5, "two labels, one class"
    with pytest.raises(BadData, match="'crane' is the name of 2 classes of the model: n1, n2"):
        with_labels(pets, known, {"cat": "crane"})


def test_a_class_map_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text("label,class\ncat,n4\ndog,n3\n")
    assert read_class_map(file) == {"cat": "n4", "dog": "n3"}
    for text, wrong in (
        ("label,class\ncat,n4\ncat,n3\n", "line 3: 'cat' has two classes, 'n4' and 'n3'"),
        ("label\ncat\n", "line 2: needs the columns label and class"),
    ):
        file.write_text(text)
        with pytest.raises(BadData, match=wrong):
            read_class_map(file)


def test_unreadable_files_move_out(pets: Dataset) -> None:
    told = UnreadableFile("train/cat/1.png", "corrupt", "x")
    left = without_files(pets, [told])
    assert Counter(s.target for s in left.train) == {0: 2, 1: 2}
    assert left.unreadable == (told,)
    by_path = replace(told, file=str(pets.train[1].file))
    assert without_files(pets, [by_path]) == left, "as load_pictures names it"
    assert without_files(left, [told]) == left


def test_a_split_is_asked_for_by_name(pets: Dataset) -> None:
    assert pets.split("val") == pets.val
    assert pets.samples == pets.train + pets.val + pets.test
    with pytest.raises(UnknownName, match="no split called 'valid'"):
        pets.split("valid")  # type: ignore[arg-type]


def test_a_target_beyond_the_labels_is_refused(pets: Dataset) -> None:
    with pytest.raises(BadData, match="class 2 of 2"):
        replace(pets, val=(Sample(Path("x"), 2),))
