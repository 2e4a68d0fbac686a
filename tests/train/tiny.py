"""The tiny data set, network and recipe of these tests, for subprocesses too."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mobilenets.models import Network
from mobilenets.records import Labels
from mobilenets.specs import resolve
from mobilenets.tasks import task
from mobilenets.train import Augmentation, Recipe

SIDE = 32
CLASSES = ("blue", "green", "red")
COUNTS = {"train": 8, "val": 3, "test": 3}

# Dropout, drop path, averaging, mixing, clipping: all that a resume could get wrong.
RECIPE = Recipe(
    name="tiny",
    epochs=3,
    batch=8,
    lr=5e-3,
    warmup_epochs=1,
    ema=0.9,
    clip_norm=5.0,
    memory_format="channels_last",
    precision="float32",
    augmentation=Augmentation(
        scale=(0.5, 1.0), brightness=0.2, rand_layers=1, erase=0.2, mixup_alpha=0.2, cutmix_alpha=1.0, mix=0.5
    ),
)
PLAIN = Recipe(
    name="plain",
    epochs=3,
    batch=8,
    lr=5e-3,
    warmup_epochs=1,
    ema=None,
    label_smoothing=0.0,
    memory_format="channels_last",
    precision="float32",
    augmentation=Augmentation(scale=(0.8, 1.0)),
)


def make_pictures(folder: Path, *, seed: int = 0) -> None:
    """Noise around one colour per class, 40 x 48 px, in train, val and test."""
    random = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for k, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (40, 48, 3))
                pixels[..., 2 - k] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{i}.png")


def tiny_network(*, seed: int = 0) -> Network:
    """MobileNetV3-Small at width 0.25, 32 px, 3 classes, with dropout and drop path."""
    from dataclasses import replace

    spec = resolve("mobilenetv3_small", alpha=0.25, resolution_px=(SIDE, SIDE))
    spec = replace(spec, drop_path=0.1)
    torch.manual_seed(seed)
    network = task("classification").build(spec, Labels(CLASSES))
    assert isinstance(network, Network)
    return network
