"""A network written as operators is read back as the same spec with the same arrays, whatever words the file uses."""

from dataclasses import replace

import numpy as np
import pytest
from models.weights.graphs import graph_of, random_arrays

from mobilenets.models.weights.recognise import recognise
from mobilenets.specs import CATALOGUE, MQA, Bottleneck, FusedBottleneck, Pool, Spec, resolve

NAMES = [
    name
    for name, entry in CATALOGUE.items()
    if not any(
        isinstance(row, (MQA, Pool)) or getattr(row, "downsample", "stride") != "stride" for row in entry.spec.rows
    )
]
DIALECTS = ("mobilenet_v1_0.25_128", "mobilenet_v2_0.35_96", "MobileNetV3Small", "tf_mobilenetv3_large_minimal_100")


def comparable(spec: Spec) -> Spec:
    """Without what no graph holds: training's dropout and momentum, the dialect's name, skips where none can be."""
    rows = [
        replace(row, skip=True) if isinstance(row, (Bottleneck, FusedBottleneck)) and c_in != c_out else row
        for _, row, c_in, c_out in list(spec.blocks())[1:]
    ]
    head, norm = replace(spec.head, dropout=0.0), replace(spec.norm, momentum=0.1)
    return replace(spec, name="x", rows=tuple(rows), head=head, norm=norm, drop_path=0.0)


@pytest.mark.parametrize("name", [*NAMES, *DIALECTS])
def test_a_graph_is_read_back(name: str) -> None:
    spec = resolve(name, alpha=0.5, classes=7) if name in NAMES else resolve(name, classes=7)
    arrays = random_arrays(spec)
    for explicit, spelled in ((False, False), (True, True)):
        read = recognise(graph_of(spec, arrays, explicit_pads=explicit, spelled_out=spelled), where="file")
        assert comparable(read.spec) == comparable(spec)
        assert read.arrays.keys() == arrays.keys()
        assert all(np.array_equal(read.arrays[key], arrays[key]) for key in arrays)
        assert set(read.tensors) == {*(tap.name for tap in spec.taps()), "logits"}
        assert read.left_out == ()
