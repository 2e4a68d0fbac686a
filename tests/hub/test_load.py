"""`load("hf-hub:...")`: an address of the hub becomes a model file in the cache, once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hub.small_hub import REPO, lay_out, timm_repository
from models.warmed import randomise

from mobilenets import load
from mobilenets.bundle import synthetic_images
from mobilenets.loading import local_model
from mobilenets.models import build, state_arrays
from mobilenets.specs import resolve

SIDE = 96


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A repository in a hub's cache, and a cache of ours, both empty else."""
    from huggingface_hub import constants  # it reads the environment once, when it is imported

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "ours"))
    torch.manual_seed(0)
    network = build("mobilenetv3_small_050", classes=3)
    randomise(network, side_px=SIDE)
    arrays = state_arrays(network)
    lay_out(tmp_path / "hub", REPO, timm_repository(resolve("mobilenetv3_small_050", classes=3), arrays))
    return arrays


def test_an_address_is_imported_once(weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(f"hf-hub:{REPO}")
    assert model.labels.ids == ("cat", "dog", "wren")
    assert model.preprocess.size_px == (SIDE, SIDE)
    _, picture = synthetic_images(1, size_px=(SIDE, SIDE))[0]
    first = model.predict(picture)[0]
    assert first.error is None
    from mobilenets import importing

    monkeypatch.setattr(importing, "import_model", lambda *_, **__: pytest.fail("imported twice"))
    again = load(f"hf-hub:{REPO}").predict(picture)[0]
    assert again == first


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    assert local_model(tmp_path / "model") == tmp_path / "model"
    assert local_model("runs/photos/model") == Path("runs/photos/model")
