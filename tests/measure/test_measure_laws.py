"""Laws that tie measure to the real modules, on random specs: what is counted is what is built and run."""

import sys

import torch
from hypothesis import HealthCheck, given, settings
from specs.drawn import specs
from torch.utils.flop_counter import FlopCounterMode

from mobilenets.measure import cost
from mobilenets.measure.walk import walk
from mobilenets.models import build
from mobilenets.specs import Spec
from mobilenets.specs.steps import PoolStep


def run(spec: Spec) -> tuple[torch.nn.Module, int, list[tuple[int, ...]]]:
    """The built network, the MACs that torch counts in one forward, and the shape after each step of the backbone."""
    network = build(spec).eval()
    x = torch.zeros(1, spec.in_channels, *spec.resolution_px)
    shapes: list[tuple[int, ...]] = []
    blocks = [network.backbone.stem, *network.backbone.blocks]
    for block in blocks:
        for name, module in block.named_children():
            if name != "drop_path":
                module.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape[1:])))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(x)
    return network, counter.get_total_flops() // 2, shapes


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs())
def test_counts_equal_the_module(spec: Spec) -> None:
    network, macs, shapes = run(spec)
    found = cost(spec)
    placed = list(walk(spec, spec.resolution_px))
    blurs = sum(
        p.elements_out * p.step.kernel[0] * p.step.kernel[1]
        for p in placed
        if isinstance(p.step, PoolStep) and p.step.kind == "blur"
    )
    assert found.params == sum(p.numel() for p in network.parameters())
    assert found.norm_params == sum(
        p.numel() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()
    )
    assert found.macs == macs - blurs, "fixed blur filters are not counted"
    backbone = [p for p in placed if p.name not in ("hidden", "classifier")]
    assert [(p.c_out, *p.size_out) for p in backbone] == shapes
    assert sum(layer.params for layer in found.layers) == found.params
    assert sum(layer.macs for layer in found.layers) == found.macs


def test_measure_loads_no_torch() -> None:
    import subprocess

    code = (
        "import sys; from mobilenets.measure import cost; from mobilenets.specs import CATALOGUE, resolve;"
        "cost(resolve('mobilenetv4_hybrid_medium', alpha=0.5)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
