"""The command line as a script sees it, a small data set, and one run of `fit` for all tests that need a model."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mobilenets.bundle import synthetic_images
from mobilenets.cli import main
from mobilenets.specs import resolve, spec_to_json


@dataclass(frozen=True)
class Answer:
    """What a command did: its exit code and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        assert self.stdout.count("\n") == 1, "exactly one object, on one line"
        return json.loads(self.stdout)


Run = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process; its log does not outlive the test."""
    logger = logging.getLogger("mobilenets")
    before = logger.handlers, logger.propagate, logger.level

    def call(*args: object) -> Answer:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    yield call
    logger.handlers, logger.propagate, level = before
    logger.setLevel(level)


def in_process_of_its_own(args: Sequence[object], *, cwd: Path | None = None, timeout_s: float = 120) -> Answer:
    """Run a command as a shell would. Warnings of Python are errors there too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "mobilenets", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def make_photos(root: Path) -> Path:
    """Class folders of made pictures, 8 to train on, 4 to validate and 4 to test per class."""
    for seed, (split, count) in enumerate((("train", 8), ("val", 4), ("test", 4))):
        made = iter(synthetic_images(3 * count, size_px=(40, 40), seed=seed))
        for label in ("cat", "dog", "wren"):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                suffix, data = next(made)
                (root / split / label / f"{index}{suffix}").write_bytes(data)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the user's own in a file: V3-Small 0.25 at 32 px with five of its rows."""
    whole = resolve("mobilenetv3_small", alpha=0.25, resolution_px=(32, 32), stem_stride=1)
    file = tmp_path_factory.mktemp("network") / "tiny.json"
    file.write_text(spec_to_json(replace(whole, name="tiny", rows=(*whole.rows[:4], whole.rows[-1]))))
    return file


@pytest.fixture(scope="session")
def fitted(photos: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Path]:
    """`mobilenets fit photos --json`, and the folder of its run. Read only."""
    out = tmp_path_factory.mktemp("fitted") / "run"
    args = ("fit", photos, "--network", tiny, "--resolution", 32, "--epochs", 1, "-o", out, "--json", "-q")
    return in_process_of_its_own(args), out


@pytest.fixture
def model(fitted: tuple[Answer, Path], tmp_path: Path) -> Path:
    """A copy of the fitted model file that a test may change."""
    shutil.copytree(fitted[1] / "model", tmp_path / "model")
    return tmp_path / "model"
