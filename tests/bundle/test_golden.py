"""Golden vectors: which pictures are taken, what is kept of them, and the synthetic ones in their place."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle.small_model import PREPROCESS, best, png, project, reseal

from mobilenets.bundle import Golden, ModelFile, choose_golden, make_golden, synthetic_images
from mobilenets.bundle.golden import LARGE_BYTES
from mobilenets.data import Sample, preprocess, read_image
from mobilenets.errors import BadData, BadModelFile
from mobilenets.records import Preprocess


def test_golden_round_trip(make: Callable[[Path], ModelFile], golden: Golden, tmp_path: Path) -> None:
    read = make(tmp_path / "model").golden()
    assert read.index == golden.index
    assert read.encoded == golden.encoded
    assert np.array_equal(read.inputs, golden.inputs)
    assert np.array_equal(read.outputs[0], golden.outputs[0])
    assert [image.file for image in read.index.images] == [f"golden/0{i}.png" for i in range(4)]
    assert [image.label for image in read.index.images] == ["cat", "dog", "wren", "cat"]


def test_the_encoded_file_becomes_the_tensor(golden: Golden) -> None:
    assert golden.encoded == tuple(png(i) for i in range(4))
    again = np.stack([preprocess(read_image(data), PREPROCESS) for data in golden.encoded])
    assert np.array_equal(again, golden.inputs)
    assert np.array_equal(project(again)[0], golden.outputs[0])


def test_unreadable_pictures_are_left_out() -> None:
    pictures = [("a.png", png(0), "cat"), ("b.jpg", b"no picture", "dog"), ("c", png(2), None)]
    made = make_golden(pictures, PREPROCESS, kind="photos", output_names=("logits",), run=project, answer=best)
    assert [image.file for image in made.index.images] == ["golden/00.png", "golden/01"]
    with pytest.raises(BadData, match="at least one picture"):
        make_golden(pictures[1:2], PREPROCESS, kind="photos", output_names=("logits",), run=project, answer=best)


def samples(tmp_path: Path, counts: dict[int, int], *, bytes_each: int = 10) -> list[Sample]:
    made = []
    for target, count in counts.items():
        for index in range(count):
            file = tmp_path / f"{target:02d}_{index:02d}.jpg"
            file.write_bytes(b"x" * bytes_each)
            made.append(Sample(file, target))
    return made


def test_the_classes_take_turns(tmp_path: Path) -> None:
    chosen = choose_golden(samples(tmp_path, {0: 30, 1: 1, 2: 30}))
    assert [s.target for s in chosen].count(1) == 1
    assert [s.target for s in chosen].count(0) == 8
    assert len({s.file for s in chosen}) == 16


def test_few_pictures_are_all_taken_and_many_classes_spread(tmp_path: Path) -> None:
    assert len(choose_golden(samples(tmp_path, {0: 2, 1: 3}))) == 5
    assert [s.target for s in choose_golden(samples(tmp_path, dict.fromkeys(range(32), 2)))] == list(range(0, 32, 2))


def test_large_files_are_taken_last(tmp_path: Path) -> None:
    many = samples(tmp_path, {0: 3})
    many[0].file.write_bytes(bytes(LARGE_BYTES + 1))
    assert [s.file.name for s in choose_golden(many, count=2)] == ["00_01.jpg", "00_02.jpg"]


def test_synthetic_pictures_repeat_and_differ() -> None:
    one, two = synthetic_images(6, size_px=(32, 48)), synthetic_images(6, size_px=(32, 48))
    assert one == two
    pixels = [read_image(data) for _, data in one]
    assert {suffix for suffix, _ in one} == {".jpg", ".png"}
    assert len({image.shape for image in pixels}) > 3
    assert all(image.std() > 10 for image in pixels)
    assert synthetic_images(6, size_px=(32, 48), seed=1) != one


def test_synthetic_pictures_tell_preprocessing_apart() -> None:
    """They must see what photos would: another filter, no antialiasing, another crop, swapped colours."""
    pixels = [read_image(data) for _, data in synthetic_images(16, size_px=(32, 32))]

    def fed(record: Preprocess) -> np.ndarray:
        return np.stack([preprocess(image, record) for image in pixels])

    for twin in (
        replace(PREPROCESS, interpolation="bicubic"),
        replace(PREPROCESS, antialias=False),
        replace(PREPROCESS, crop_ratio=0.9),
        replace(PREPROCESS, fit="stretch"),
        replace(PREPROCESS, colour="bgr"),
    ):
        assert np.abs(fed(twin) - fed(PREPROCESS)).max() * 255 * 0.229 > 20


def test_golden_parts_that_do_not_fit_are_refused(make: Callable[[Path], ModelFile], tmp_path: Path) -> None:
    make(tmp_path / "model")
    index = json.loads((tmp_path / "model" / "golden" / "index.json").read_text())
    for change in ({"output_names": ["boxes"]}, {"images": index["images"][:3]}, {"kind": "drawn"}):
        reseal(tmp_path / "model", {"golden/index.json": json.dumps(index | change).encode()})
        with pytest.raises(BadModelFile):
            ModelFile.open(tmp_path / "model").golden()
