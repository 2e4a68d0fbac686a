"""The first logits of every network, written down once: they guard parity where the peers are not installed."""

import csv
from dataclasses import replace

import pytest
from parity.first_logits import FILE, NAMES, formulaic, logits

from mobilenets.models import build, load_exact, state_arrays
from mobilenets.specs import Norm

# Six digits are written.
TOLERANCE = 1e-5


def golden() -> dict[str, list[float]]:
    with FILE.open(newline="") as lines:
        return {row["network"]: [float(row[f"logit_{i}"]) for i in range(3)] for row in csv.DictReader(lines)}


def test_every_network_is_written_down() -> None:
    assert set(golden()) == set(NAMES), "run python tests/parity/first_logits.py and read the difference"


@pytest.mark.parametrize("name", NAMES)
def test_first_logits(name: str) -> None:
    network = formulaic(name)
    want = golden()[name]
    scale = max(map(abs, want))
    assert logits(network) == pytest.approx(want, abs=TOLERANCE * scale)
    twin = build(replace(network.spec, norm=Norm(network.spec.norm.eps + 1e-2))).eval()
    load_exact(twin, state_arrays(network))
    assert logits(twin) != pytest.approx(want, abs=10 * TOLERANCE * scale), "another epsilon must show"
