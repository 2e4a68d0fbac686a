"""Stages add up to the whole network, for every network of the catalogue."""

import pytest

from mobilenets.codec import from_json, to_json
from mobilenets.measure import cost
from mobilenets.measure.stages import network_summary
from mobilenets.records import NetworkSummary
from mobilenets.specs import CATALOGUE, resolve


@pytest.mark.parametrize("name", CATALOGUE)
def test_stages_add_up(name: str) -> None:
    spec = resolve(name)
    whole, found = cost(spec), network_summary(spec)
    assert sum(stage.params for stage in found.stages) == whole.params == found.params
    assert sum(stage.macs for stage in found.stages) == whole.macs == found.macs
    assert sum(stage.blocks for stage in found.stages) == len(spec.rows) + 1 + bool(spec.head.c_hidden) + 1
    assert [stage.size_px for stage in found.stages[:-1]] == sorted(
        (s.size_px for s in found.stages[:-1]), reverse=True
    )
    assert (found.stages[0].name, found.stages[-1].name, found.stages[-1].size_px) == ("stem", "head", (0, 0))
    assert len(found.stages) <= 9, "few enough for one picture"
    highest = max(found.memory, key=lambda layer: layer.alive_mb)
    assert highest.alive_mb == pytest.approx(whole.peak_activation_mb.float32)
    assert whole.peak_layer in [layer.name for layer in found.memory]
    assert from_json(NetworkSummary, to_json(found)) == found


def test_v2_by_hand() -> None:
    """Sandler et al. 2018, table 2, at 224 px."""
    found = network_summary(resolve("mobilenetv2"))
    assert [(s.size_px[0], s.channels, s.blocks, s.kind) for s in found.stages] == [
        (112, 32, 1, "convolution"),
        (112, 16, 1, "bottleneck"),
        (56, 24, 2, "bottleneck"),
        (28, 32, 3, "bottleneck"),
        (14, 96, 7, "bottleneck"),
        (7, 320, 4, "bottleneck"),
        (7, 1280, 1, "convolution"),
        (0, 1000, 1, "linear"),
    ]


def test_another_resolution_and_no_classifier() -> None:
    spec = resolve("mobilenetv3_small", classes=0)
    found = network_summary(spec, resolution_px=(160, 224))
    assert found.stages[0].size_px == (80, 112)
    assert found.stages[-1].name == "head", "the hidden layer remains"
    bare = network_summary(resolve("mobilenetv1", classes=0))
    assert bare.stages[-1].size_px != (0, 0)
