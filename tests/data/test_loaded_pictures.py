"""load_pictures: order, size, bad files, the budget in memory and the spill to the disk."""

import gc
from pathlib import Path

import numpy as np
import pytest
from making import class_folder, encoded, exif, scene
from PIL import Image

from mobilenets.data import load_pictures, open_dataset, read_image
from mobilenets.data.parallel import in_order
from mobilenets.data.pictures import shrunk
from mobilenets.errors import UsageError


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    return open_dataset(class_folder(tmp_path / "pets", {"cat": 12, "dog": 12})).samples


def test_pictures_are_what_the_one_reader_gives(samples) -> None:
    pictures = load_pictures(samples, side_px=1000, workers=3)
    assert len(pictures) == len(samples)
    assert pictures.samples == tuple(samples)
    assert pictures.targets.tolist() == [sample.target for sample in samples]
    assert pictures.targets.dtype == np.int64
    for picture, sample in zip(pictures, samples, strict=True):
        assert np.array_equal(picture, read_image(sample.file))
        assert not picture.flags.writeable


def test_the_shorter_side_is_bounded_and_nothing_is_enlarged() -> None:
    for height, width, expected in ((60, 80, (30, 40)), (80, 60, (40, 30)), (20, 80, (20, 80)), (31, 3000, (30, 2903))):
        assert shrunk(scene(height, width), 30).shape[:2] == expected
    big = scene(60, 80)
    assert np.array_equal(shrunk(big, 30), np.asarray(Image.fromarray(big).resize((40, 30), Image.Resampling.BICUBIC)))


def test_a_large_jpeg_is_read_at_a_fraction_and_comes_out_alike(tmp_path: Path) -> None:
    pixels = scene(800, 1200)
    root = class_folder(tmp_path, {"cat": 1, "dog": 1})
    (root / "cat" / "photo.jpg").write_bytes(encoded(pixels, "JPEG", quality=92, exif=exif(1)))
    (found,) = [s for s in open_dataset(root).samples if s.file.name == "photo.jpg"]
    picture = load_pictures([found], side_px=64)[0]
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture.astype(int) - shrunk(read_image(found.file), 64)).mean() < 1.0


def test_bad_files_are_left_out_and_listed(samples) -> None:
    samples[3].file.write_bytes(b"hello")
    samples[20].file.unlink()
    pictures = load_pictures(samples, side_px=32)
    assert len(pictures) == len(samples) - 2
    assert [(u.file, u.kind) for u in pictures.unreadable] == [
        (str(samples[3].file), "not an image"),
        (str(samples[20].file), "missing"),
    ]
    assert pictures.samples == tuple(s for i, s in enumerate(samples) if i not in (3, 20))
    for picture, sample in zip(pictures, pictures.samples, strict=True):
        assert np.array_equal(picture, shrunk(read_image(sample.file), 32))


def test_what_exceeds_the_budget_is_mapped_from_a_file_that_leaves_no_trace(samples, tmp_path: Path) -> None:
    whole = load_pictures(samples, side_px=32)
    one = whole[0].nbytes
    part = load_pictures(samples, side_px=32, memory_mb=10.5 * one / 1e6)
    assert (whole.spilled_bytes, part.memory_bytes) == (0, 10 * one)
    assert part.memory_bytes + part.spilled_bytes == whole.memory_bytes
    assert all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True))
    assert not part[20].flags.writeable
    assert list((tmp_path / "cache").iterdir()) == [], "the file has no name"
    last = part[23]
    del part
    gc.collect()
    assert np.array_equal(last, whole[23]), "a picture keeps its bytes alive"


def test_a_cache_that_cannot_be_written_says_so(samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="can't keep decoded pictures there") as caught:
        load_pictures(samples, side_px=32, memory_mb=0)
    assert "MOBILENETS_CACHE" in caught.value.hint


def test_threads_change_nothing_and_progress_is_told(samples) -> None:
    told: list[tuple[int, int]] = []
    one = load_pictures(samples, side_px=32, workers=1, on_progress=lambda done, total: told.append((done, total)))
    many = load_pictures(samples, side_px=32, workers=7)
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))
    assert told == [(i, 24) for i in range(1, 25)]


def test_no_pictures_at_all() -> None:
    assert len(load_pictures([], side_px=32)) == 0
    with pytest.raises(UsageError, match="side_px"):
        load_pictures([], side_px=0)


def test_work_runs_few_results_ahead_and_stops_when_nobody_takes_them() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item * 2

    results = in_order(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    results.close()
    assert len(started) < 20


def test_an_error_in_the_work_comes_out() -> None:
    def work(item: int) -> int:
        return 1 // (item - 5)

    with pytest.raises(ZeroDivisionError):
        list(in_order(work, range(10), 2))
