"""check_data: what it finds, what fails and what only warns, and that the run goes on over bad files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from making import class_folder, encoded, exif, scene
from PIL import Image

from mobilenets.codec import from_json, to_json
from mobilenets.data import check_data, open_dataset, read_image, without_files
from mobilenets.records import ClassCount, DataHealth

COUNTS = {f"{split}/{name}": n for split, n in (("train", 4), ("val", 2), ("test", 2)) for name in ("cat", "dog")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "pets", COUNTS)


def health(root: Path) -> DataHealth:
    return check_data(open_dataset(root))


def test_a_sound_data_set_passes_without_a_word(root: Path) -> None:
    found = health(root)
    assert found == DataHealth(
        data="pets",
        images=16,
        classes=2,
        counts=(ClassCount("cat", 4, 2, 2), ClassCount("dog", 4, 2, 2)),
        unreadable=(),
        duplicates=(),
        leaks=(),
        errors=(),
        warnings=(),
        modes={"RGB": 16},
        rotated=0,
        tiny=(),
        sizes_px=((60, 80, 16),),
        split_origin="folders",
        passed=True,
    )
    assert from_json(DataHealth, to_json(found)) == found


def test_a_copy_in_another_split_is_a_leak(root: Path) -> None:
    shutil.copy(root / "train/cat/0.png", root / "test/cat/copy.png")
    found = health(root)
    assert not found.passed
    assert found.leaks == found.duplicates
    assert found.leaks[0].files == ("train/cat/0.png", "test/cat/copy.png")
    assert found.leaks[0].splits == ("train", "test")
    assert found.leaks[0].kind == "exact"
    assert found.errors == (
        "1 picture in more than one split (1 exactly alike): train/cat/0.png (train) and test/cat/copy.png (test)",
    )


def test_a_picture_saved_again_is_a_near_leak(root: Path) -> None:
    pixels = read_image(root / "train/cat/0.png")
    (root / "val/cat/again.jpg").write_bytes(encoded(pixels, "JPEG", quality=70))
    found = health(root)
    assert [(leak.kind, leak.splits) for leak in found.leaks] == [("near", ("train", "val"))]
    assert not found.passed


def test_a_turned_photo_and_its_upright_copy_are_the_same_pixels(root: Path) -> None:
    pixels = read_image(root / "train/cat/0.png")
    stored = np.ascontiguousarray(np.rot90(pixels))
    (root / "val/cat/turned.png").write_bytes(encoded(stored, exif=exif(6)))
    found = health(root)
    assert [leak.kind for leak in found.leaks] == ["exact"]
    assert found.rotated == 1


def test_a_copy_inside_a_split_is_only_a_warning(root: Path) -> None:
    shutil.copy(root / "train/cat/0.png", root / "train/dog/copy.png")
    found = health(root)
    assert found.passed
    assert found.leaks == ()
    assert found.duplicates[0].labels == ("cat", "dog")
    assert found.warnings == (
        "1 picture more than once inside a split, the first train/cat/0.png",
        "1 picture with more than one label, the first train/cat/0.png: cat, dog",
    )


def test_bad_files_are_listed_counted_and_skipped(root: Path) -> None:
    bad = {
        "text.jpg": b"hello",
        "empty.jpg": b"",
        "cut.png": encoded(scene())[:300],
        "phone.heic": b"\0\0\0\x18ftypheic",
    }
    for name, data in bad.items():
        (root / "train/cat" / name).write_bytes(data)
    (root / "val/dog/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = {file: file.read_bytes() for file in root.rglob("*.*")}
    dataset = open_dataset(root)
    found = check_data(dataset)
    assert {entry.file: entry.kind for entry in found.unreadable} == {
        "train/cat/empty.jpg": "empty file",
        "train/cat/text.jpg": "not an image",
        "train/cat/cut.png": "truncated",
        "train/cat/phone.heic": "unsupported",
        "val/dog/0.png": "truncated",
    }
    assert found.images == 15
    assert found.passed
    assert found.counts == (ClassCount("cat", 4, 2, 2), ClassCount("dog", 4, 1, 2))
    assert found.warnings == ("5 unreadable files left out, the first train/cat/empty.jpg: empty file",)
    assert {file: file.read_bytes() for file in root.rglob("*.*")} == before, "nothing is rewritten"
    left = without_files(dataset, found.unreadable)
    assert len(left.samples) == 15
    assert check_data(left).unreadable == found.unreadable


def test_a_class_without_training_images_fails_without_val_warns(root: Path) -> None:
    class_folder(root, {"test/cow": 2}, seed=700)
    found = health(root)
    assert not found.passed
    assert found.errors == ("class 'cow' has no images to train on",)
    assert "1 of 3 classes have no images in val: cow" in found.warnings
    shutil.rmtree(root / "test/cow")
    shutil.rmtree(root / "val/dog")
    found = health(root)
    assert found.passed
    assert found.warnings == ("1 of 2 classes have no images in val: dog",)


def test_a_class_whose_training_files_are_all_bad_fails(root: Path) -> None:
    for file in (root / "train/dog").iterdir():
        file.write_bytes(b"x")
    assert health(root).errors == ("class 'dog' has no images to train on",)


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    for file in root.rglob("*.png"):
        file.write_bytes(b"x")
    found = health(root)
    assert (found.images, found.passed, len(found.unreadable)) == (0, False, 16)


def test_uneven_classes_tiny_pictures_and_mixed_modes(root: Path) -> None:
    class_folder(root, {"train/cat": 21}, seed=500)
    for index, mode in enumerate(("L", "RGBA", "P")):
        Image.fromarray(scene(40, 50, seed=900 + index)).convert(mode).save(root / "train/cat" / f"{mode}.png")
    (root / "train/cat/tiny.png").write_bytes(encoded(scene(20, 90, seed=77)))
    found = health(root)
    assert found.passed
    assert found.tiny == ("train/cat/tiny.png",)
    assert found.modes == {"RGB": 34, "L": 1, "P": 1, "RGBA": 1}
    assert found.sizes_px == ((60, 80, 33), (40, 50, 3), (20, 90, 1))
    assert found.warnings == (
        "class sizes differ 6-fold: 25 training images of cat, 4 of dog",
        "1 picture smaller than 32 px on a side, the first train/cat/tiny.png",
        "colour modes are mixed (RGB 34, L 1, P 1, RGBA 1); all are read as RGB",
    )


def test_progress_is_told_in_order_and_threads_change_nothing(root: Path) -> None:
    told: list[tuple[int, int]] = []
    dataset = open_dataset(root)
    one = check_data(dataset, workers=1, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 16) for i in range(1, 17)]
    assert check_data(dataset, workers=8) == one


def test_notes_of_the_source_are_warnings(root: Path) -> None:
    (root / "train/loose.png").write_bytes(encoded(scene()))
    assert health(root).warnings == ("pictures outside of class folders take no part: 1, the first train/loose.png",)


def test_a_file_that_vanished_since_is_listed(root: Path) -> None:
    dataset = open_dataset(root)
    (root / "test/dog/1.png").unlink()
    found = check_data(dataset)
    assert [(entry.file, entry.kind) for entry in found.unreadable] == [("test/dog/1.png", "missing")]


def test_grocery(shared: Path) -> None:
    found = health(shared / "data" / "grocery")
    assert found.passed
    assert (found.images, found.classes, found.duplicates, found.unreadable) == (1092, 81, (), ())
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("21 of 81 classes have no images in val")
