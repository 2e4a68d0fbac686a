"""A small trained-looking network with its data, its model file and its export, made once for all tests of the room."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilenets.bundle import ModelFile, ModelRecord, Provenance, create_model_file, synthetic_images
from mobilenets.data import Dataset, open_dataset
from mobilenets.deploy import export_model, golden_vectors, require_verified, source_of
from mobilenets.deploy.trained import runner
from mobilenets.deploy.untrained import fill_statistics
from mobilenets.models import build, state_arrays
from mobilenets.records import Calibration, Labels, Preprocess
from mobilenets.specs import Spec, resolve

LABELS = Labels(("cat", "dog", "wren"), ("Cat", "Dog", "Wren"))
PREPROCESS = Preprocess((32, 32))


@dataclass(frozen=True)
class Trained:
    """A network whose logits differ from picture to picture, what it was "trained" on, and its model file."""

    network: nn.Module
    spec: Spec
    dataset: Dataset
    model: ModelFile


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of made pictures: 4 to train on and 7 to validate per class."""
    root = tmp_path_factory.mktemp("photos")
    for seed, (split, count) in enumerate((("train", 4), ("val", 7), ("test", 2))):
        made = iter(synthetic_images(3 * count, size_px=(40, 40), seed=seed))
        for label in LABELS.ids:
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                suffix, data = next(made)
                (root / split / label / f"{index}{suffix}").write_bytes(data)
    return root


def tiny_spec(*, classes: int = 3) -> Spec:
    """V3-Small 0.25 at 32 px with five of its rows: gates, both activations, a residual."""
    whole = resolve("mobilenetv3_small", alpha=0.25, resolution_px=(32, 32), classes=classes)
    return replace(whole, name="tiny", rows=(*whole.rows[:4], whole.rows[-1]))


def small_network(spec: Spec, *, seed: int = 0) -> nn.Module:
    """`spec` with filled statistics, its classifier scaled so that logits spread by about 1 over noise."""
    torch.manual_seed(seed)
    network = build(spec)
    fill_statistics(network, spec, seed=seed)
    noise = np.random.default_rng(seed).standard_normal((16, spec.in_channels, *spec.resolution_px))
    (logits,) = runner(network)(noise.astype(np.float32))
    classifier = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        scale = torch.from_numpy(1 / logits.std(axis=0))
        classifier.weight.mul_(scale[:, None])
        classifier.bias.copy_((classifier.bias - torch.from_numpy(logits.mean(axis=0))) * scale)
    return network


def record_of(spec: Spec, labels: Labels = LABELS, preprocess: Preprocess = PREPROCESS) -> ModelRecord:
    return ModelRecord(
        name="pets",
        task="classification",
        spec=spec,
        preprocess=preprocess,
        labels=labels,
        calibration=Calibration(temperature=1.5, images=21, split="val"),
        metrics={},
        provenance=Provenance("pets", "ab" * 32, {"train": 12, "val": 21}, "folders", 0, {}, {}, "0.1.0", "2026-11-25"),
    )


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The network, exported and verified. Read only: tests that change it take a copy (`copied`)."""
    torch.set_num_threads(1)
    spec = tiny_spec()
    network = small_network(spec)
    dataset = open_dataset(photos)
    record = record_of(spec)
    golden = golden_vectors(
        network,
        PREPROCESS,
        task=record.task,
        labels=LABELS,
        calibration=record.calibration,
        samples=dataset.val,
    )
    path = tmp_path_factory.mktemp("trained") / "model"
    model = create_model_file(path, record, weights=state_arrays(network), golden=golden)
    exported = export_model(model, source=source_of(model, network=network), data=dataset)
    require_verified(exported.verification)
    return Trained(network, spec, dataset, exported.model)


@pytest.fixture
def remade(trained: Trained, tmp_path: Path) -> Callable[..., ModelFile]:
    """The model file written anew with parts exchanged, everything else as it was: sealed, and wrong."""

    def make(
        *,
        record: ModelRecord | None = None,
        weights: dict[str, np.ndarray] | None = None,
        golden: object = None,
        onnx: bytes | None = None,
    ) -> ModelFile:
        old = trained.model
        return create_model_file(
            tmp_path / "remade",
            replace(record or old.record, exports=old.record.exports),
            weights=weights or old.weights(),
            golden=golden or old.golden(),
            files={"onnx/model.onnx": onnx or old.read("onnx/model.onnx")},
        )

    return make


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> ModelFile:
    """A copy of the model file that a test may change."""
    shutil.copytree(trained.model.path, tmp_path / "copied")
    return ModelFile.open(tmp_path / "copied")
