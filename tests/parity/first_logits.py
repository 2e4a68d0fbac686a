"""Networks with weights and an image given by formulas, so that their logits can be written down once.

`python tests/parity/first_logits.py` writes first_logits.csv anew: for when a network was meant to change.
"""

import csv
import math
from pathlib import Path

import numpy as np
import torch

from mobilenets.models import Network, build, load_exact, state_arrays
from mobilenets.specs import CATALOGUE

FILE = Path(__file__).with_name("first_logits.csv")
# Canonical networks, and one name of each dialect: other padding, other epsilon, other activation, other widths.
NAMES = (
    *CATALOGUE,
    "mobilenetv1_100", "mobilenet_v1_0.25_128", "tf_mobilenetv3_small_075", "tf_mobilenetv3_large_minimal_100",
    "mobilenet_v3_large", "mobilenet_v3_small", "MobileNetV2", "mobilenet_edgetpu_100", "mobilenetv4_conv_small_035",
)  # fmt: skip


def wave(shape: tuple[int, ...], phase: float) -> np.ndarray:
    """Numbers in -1..1 without a pattern that layers could cancel."""
    count = int(np.prod(shape))
    return np.sin(np.arange(1, count + 1, dtype=np.float64) ** 1.3 * 0.7 + phase).reshape(shape)


def formulaic(name: str) -> Network:
    """`name` at alpha 0.25 with three classes and weights by formula; norms that neither vanish nor explode."""
    network = build(name, alpha=0.25, classes=3)
    arrays = {}
    for i, (key, array) in enumerate(state_arrays(network).items()):
        values = wave(array.shape, phase=i)
        if key.endswith("running_var"):
            values = 1.0 + 0.5 * values
        elif key.endswith(("running_mean", "bias")):
            values = 0.2 * values
        elif array.ndim == 1 or key.endswith("gamma"):
            values = 1.0 + 0.3 * values
        else:
            values = values * math.sqrt(2.0 / np.prod(array.shape[1:]))
        arrays[key] = values.astype(array.dtype)
    load_exact(network, arrays)
    return network.eval()


def logits(network: Network) -> list[float]:
    """The three logits of an image of 47x66 px by formula, in float64: with such weights the deepest networks differ by
    5e-4 in float32 between two processors."""
    image = torch.from_numpy(wave((1, network.spec.in_channels, 47, 66), phase=0.5))
    with torch.inference_mode():
        found: list[float] = network.double()(image)[0].tolist()
    return found


def main() -> None:
    with FILE.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("network", "logit_0", "logit_1", "logit_2"))
        for name in NAMES:
            out.writerow((name, *(f"{value:.6g}" for value in logits(formulaic(name)))))


if __name__ == "__main__":
    main()
