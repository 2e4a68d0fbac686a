"""Training that begins with weights of the hub: an address, or the best known for a network, from a cache laid out."""

from pathlib import Path

import numpy as np
import pytest
from hub.small_hub import REPO, drawn, lay_out, timm_repository

from mobilenets.errors import MissingRuntime, UnknownName, UsageError
from mobilenets.specs import resolve
from mobilenets.starting import open_start

SPEC = resolve("mobilenetv3_small_050", classes=3, resolution_px=(96, 96))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, offline, with one network in it."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lay_out(tmp_path / "hub", REPO, timm_repository(SPEC, drawn(SPEC)))
    return tmp_path / "hub"


@pytest.mark.parametrize("source", ["pretrained", f"hf-hub:{REPO}"])
def test_weights_of_the_hub(cache: Path, source: str) -> None:
    start = open_start(source, network="mobilenetv3_small", alpha=0.5)
    assert start.source == source
    assert start.preprocess.size_px == (96, 96)
    assert all(np.array_equal(array, start.arrays[name]) for name, array in drawn(SPEC).items())
    assert start.origin.licence == "apache-2.0"
    assert start.origin.file == f"{REPO}: model.safetensors"
    assert ("57.9" in start.origin.quoted) == (source == "pretrained")


def test_another_network_than_the_address_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="not of mobilenetv2"):
        open_start(f"hf-hub:{REPO}", network="mobilenetv2", alpha=None)


def test_pretrained_of_what_is_not_here_names_what_to_fetch(cache: Path) -> None:
    with pytest.raises(MissingRuntime, match=r"timm/mobilenetv2_100\.ra_in1k") as error:
        open_start("pretrained", network="mobilenetv2", alpha=None)
    assert error.value.hint is not None
    assert "hf download timm/mobilenetv2_100.ra_in1k" in error.value.hint


def test_pretrained_of_what_nobody_published(cache: Path) -> None:
    with pytest.raises(UnknownName, match=r"no published weights of mobilenetv2 at alpha 0\.33"):
        open_start("pretrained", network="mobilenetv2", alpha=0.33)


def test_details_of_a_source_are_no_other_network(cache: Path) -> None:
    """timm's MobileNetV1 has ReLU6 where the paper has ReLU: it is one of the networks that `mobilenetv1` means."""
    with pytest.raises(MissingRuntime, match=r"timm/mobilenetv1_100\.ra4"):
        open_start("pretrained", network="mobilenetv1", alpha=None)
