"""Parts of a model file without any training: labels, a preprocess record, pictures and a network of one projection."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from mobilenets.bundle.manifest import MANIFEST, sealed
from mobilenets.records import Labels, Preprocess

LABELS = Labels(("cat", "dog", "wren"), ("Cat", "Dog", "Wren"))
PREPROCESS = Preprocess((32, 32))


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def project(inputs: np.ndarray) -> tuple[np.ndarray]:
    weights = np.random.default_rng(1).standard_normal((inputs[0].size, 3)).astype(np.float32)
    return (inputs.reshape(len(inputs), -1) @ weights,)


def best(outputs: tuple[np.ndarray, ...]) -> list[dict[str, object]]:
    return [{"label": LABELS.ids[index]} for index in outputs[0].argmax(1)]


def reseal(folder: Path, changed: dict[str, bytes]) -> None:
    """Write files and a manifest that is honest about them: what an attacker, or a newer version, can do."""
    old = json.loads((folder / MANIFEST).read_text())
    for name, data in changed.items():
        (folder / name).write_bytes(data)
        one = sealed(data)
        old["files"][name] = {"sha256": one.sha256, "bytes": one.bytes}
    (folder / MANIFEST).write_text(json.dumps(old))
