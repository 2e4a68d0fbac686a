"""A small model file without any training: a real spec, weights of noise, golden vectors of a fixed projection."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundle.small_model import LABELS, PREPROCESS, best, png, project

from mobilenets.bundle import Golden, ModelFile, ModelRecord, Provenance, create_model_file, make_golden
from mobilenets.records import Calibration
from mobilenets.specs import resolve


@pytest.fixture(scope="session")
def record() -> ModelRecord:
    return ModelRecord(
        name="pets",
        task="classification",
        spec=resolve("mobilenetv3_small", alpha=0.25, resolution_px=(32, 32), classes=3),
        preprocess=PREPROCESS,
        labels=LABELS,
        calibration=Calibration(temperature=1.5, energy_threshold=-2.0, images=9, split="val"),
        metrics={"test": {"top1": 0.75, "images": 12.0}},
        provenance=Provenance(
            data="pets",
            data_sha256="ab" * 32,
            images={"train": 30, "val": 9, "test": 12},
            split_origin="folders",
            seed=0,
            recipe={"optimizer": "adamw", "lr": 0.001},
            versions={"numpy": "2"},
            revision="0.1.0",
            created="2026-11-25T09:00:00+00:00",
        ),
    )


@pytest.fixture(scope="session")
def golden() -> Golden:
    pictures = [(f"IMG {i}.PNG", png(i), LABELS.ids[i % 3]) for i in range(4)]
    return make_golden(pictures, PREPROCESS, kind="photos", output_names=("logits",), run=project, answer=best)


@pytest.fixture(scope="session")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"stem.weight": rng.standard_normal((8, 3, 3, 3)).astype(np.float32), "steps": np.arange(3)}


@pytest.fixture(scope="session")
def written(
    record: ModelRecord,
    golden: Golden,
    weights: dict[str, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the model file as `model` and as `model.zip`, written once."""
    place = tmp_path_factory.mktemp("written")
    for name in ("model", "model.zip"):
        create_model_file(place / name, record, weights=weights, golden=golden, report="<p>report</p>")
    return place


@pytest.fixture
def make(written: Path) -> Callable[[Path], ModelFile]:
    """Puts the model file at a path: a folder, or a zip where the path says so."""

    def put(path: Path) -> ModelFile:
        if path.exists():
            raise FileExistsError(path)
        if path.suffix == ".zip":
            shutil.copy(written / "model.zip", path)
        else:
            shutil.copytree(written / "model", path)
        return ModelFile.open(path)

    return put
