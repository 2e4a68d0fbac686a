"""A hybrid's attention, found in the operators of an exported file."""

import numpy as np
import pytest
import torch
from models.weights.made_onnx import HYBRID, SIDE_PX, network, unfolded

from mobilenets.models import build, load_exact
from mobilenets.models.weights.onnx import read_graph
from mobilenets.models.weights.recognise import recognise
from mobilenets.specs import MQA, Spec


@pytest.mark.parametrize("spec", [HYBRID, "mobilenetv4_hybrid_medium"], ids=["tiny", "medium"])
def test_a_hybrid_is_read_back(spec: Spec | str) -> None:
    theirs = network(spec) if isinstance(spec, Spec) else network(spec, alpha=0.25)
    read = recognise(read_graph(unfolded(theirs), where="file"), where="file", name="tiny_hybrid")
    assert (read.spec.name, read.spec.alpha) == (theirs.spec.name, theirs.spec.alpha)
    heads = [(row.heads, row.key_dim, row.kv_stride) for row in theirs.spec.rows if isinstance(row, MQA)]
    assert [(row.heads, row.key_dim, row.kv_stride) for row in read.spec.rows if isinstance(row, MQA)] == heads
    assert heads
    assert read.left_out == ()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, SIDE_PX, SIDE_PX)).astype(np.float32))

    def answer(arrays: dict[str, np.ndarray]) -> torch.Tensor:
        ours = build(read.spec).eval()
        load_exact(ours, arrays)
        with torch.inference_mode():
            return ours(x)

    with torch.inference_mode():
        wanted = theirs(x)
    scale = wanted.abs().max()
    assert (answer(read.arrays) - wanted).abs().max() <= 1e-5 * scale
    part = "query.weight" if spec is HYBRID else "value.project.weight"  # the medium one has one key at this size
    name = next(name for name in read.arrays if name.endswith(part))
    broken = {**read.arrays, name: read.arrays[name] * 2}
    assert (answer(broken) - wanted).abs().max() > 1e-4 * scale, "another scale must show"
