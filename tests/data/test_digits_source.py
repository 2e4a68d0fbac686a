"""The digits that come along: 1797 PNG files written once, one fixed split per seed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilenets.data import Dataset, check_data, open_dataset, read_image
from mobilenets.errors import MissingRuntime, UsageError

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def digits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("MOBILENETS_CACHE", str(cache))
    return open_dataset("digits")


def test_the_split_is_fixed(digits: Dataset) -> None:
    assert [len(digits.split(s)) for s in ("train", "val", "test")] == [1259, 179, 359]
    assert digits.labels.ids == tuple("0123456789")
    assert digits.split_origin == "seeded 70/10/20, seed 0"
    assert digits.fingerprint() == "a3bc45c5e4d16f02bcb4dfc70683ce28f0c37ae62e59333071074cfe18da5cee"
    assert all(abs(c.test - 36) <= 1 for c in digits.counts())
    assert open_dataset("digits", seed=1).test != digits.test


def test_the_files_hold_scikit_learns_pixels(digits: Dataset) -> None:
    bunch = datasets.load_digits()
    for sample in digits.test[::40]:
        index = int(sample.file.stem)
        assert sample.target == bunch.target[index]
        assert np.array_equal(np.round(read_image(sample.file)[:, :, 0].astype(float) * 16 / 255), bunch.images[index])


def test_they_are_written_once_and_again_where_some_are_gone(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    file = digits.train[0].file
    before = file.stat().st_mtime_ns
    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "sklearn.datasets", None)
        assert open_dataset("digits") == digits
        assert file.stat().st_mtime_ns == before
        file.unlink()
        with pytest.raises(MissingRuntime, match="scikit-learn"):
            open_dataset("digits")
    assert open_dataset("digits") == digits
    assert file.exists()


def test_they_pass_their_own_check(digits: Dataset) -> None:
    health = check_data(digits)
    assert health.passed
    assert (health.images, health.duplicates, health.errors) == (1797, (), ())
    assert health.sizes_px == ((8, 8, 1797),)
    assert health.warnings == ("1797 pictures smaller than 32 px on a side, the first 0/0000.png",)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="the digits can't be written") as caught:
        open_dataset("digits")
    assert "MOBILENETS_CACHE" in caught.value.hint


@pytest.mark.slow
def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    program = "from mobilenets.data import open_dataset; print(len(open_dataset('digits').samples))"
    environment = os.environ | {"MOBILENETS_CACHE": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["1797"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
