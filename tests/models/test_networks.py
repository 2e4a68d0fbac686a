"""Networks as a whole: variations, folding, weights in and out, stems, dilation, JSON-made networks, export."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from models.warmed import gap, randomise
from specs.drawn import specs
from torch import nn

from mobilenets.errors import CheckpointMismatch, UsageError
from mobilenets.measure import cost
from mobilenets.models import Block, adapt_stem, build, fold, load_exact, state_arrays
from mobilenets.specs import UIB, Bottleneck, Conv, Norm, Spec, resolve, spec_to_json, with_name

TOLERANCE = 1e-5
"""Same framework, float32, the same sums in another order."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs())
def test_folding_keeps_any_network_s_answer(spec: Spec) -> None:
    network = randomise(build(spec), in_channels=spec.in_channels, side_px=24).double()
    plain = fold(network)
    norms = [m for m in plain.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == sum(type(row).__name__ == "MQA" for row in spec.rows)
    assert cost(plain.spec).params == sum(p.numel() for p in plain.parameters())
    assert cost(plain.spec).macs == cost(spec).macs
    with torch.no_grad():
        x = torch.randn(2, spec.in_channels, *spec.resolution_px, dtype=torch.float64)
        want, got = network(x), plain(x)
        assert torch.allclose(want, got, rtol=1e-9, atol=1e-9 * want.abs().max().item() + 1e-12)


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_small", "mobilenetv4_hybrid_medium"])
def test_folding_and_its_broken_twin(name: str) -> None:
    network = randomise(build(name, alpha=0.35, classes=7))
    x = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        assert gap(network(x), fold(network)(x)) < TOLERANCE
        twin = fold(network)
        twin.backbone.stem.conv.conv.bias[0] += 0.1  # type: ignore[union-attr, operator]  # a convolution's bias
        assert gap(network(x), twin(x)) > 10 * TOLERANCE
        other = fold(build(replace(network.spec, norm=Norm(1e-2))))
        load_exact(broken := build(replace(network.spec, norm=Norm(1e-2))), state_arrays(network))
        assert gap(network(x), fold(broken)(x)) > 10 * TOLERANCE
        assert other.spec == fold(broken).spec


def test_weights_come_out_and_go_in_exactly() -> None:
    network = randomise(build("mobilenetv3_small", alpha=0.35, classes=5))
    arrays = state_arrays(network)
    assert all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays.values())
    assert not any(name.endswith("num_batches_tracked") for name in arrays)
    other = build(network.spec)
    load_exact(other, arrays)
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(network(x), other.eval()(x))
    arrays["classifier.bias"][:] = 7
    assert not torch.equal(network.classifier.bias, torch.full((5,), 7.0)), "arrays are copies"  # type: ignore[arg-type]


def test_first_disagreement_is_shown_and_nothing_is_loaded() -> None:
    network = build("mobilenetv2", alpha=0.35, classes=5)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    arrays = state_arrays(build("mobilenetv2", alpha=0.35, classes=6))
    with pytest.raises(CheckpointMismatch, match=r"2 tensors differ; classifier\.bias: the network has \(5,\)"):
        load_exact(network, arrays)
    del arrays["backbone.stem.conv.conv.weight"]
    with pytest.raises(CheckpointMismatch, match=r"backbone\.stem\.conv\.conv\.weight: .* the weights nothing"):
        load_exact(network, arrays)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    arrays = state_arrays(build("mobilenetv2", alpha=0.35, classes=6))
    load_exact(network, arrays, skip=frozenset({"classifier.weight", "classifier.bias"}))
    assert torch.equal(network.state_dict()["classifier.weight"], before["classifier.weight"])


def test_adapting_a_stem() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 3, 3, 3)).astype(np.float32)
    grey = rng.normal(size=(1, 1, 6, 6)).astype(np.float32)

    def answer(filters: np.ndarray, channels: int) -> torch.Tensor:
        image = np.repeat(grey, channels, axis=1)
        return torch.conv2d(torch.from_numpy(image), torch.from_numpy(filters))

    want = answer(weights, 3)
    for channels in (1, 2, 5):
        assert gap(want, answer(adapt_stem(weights, channels, "sum"), channels)) < TOLERANCE
    assert np.array_equal(adapt_stem(weights, 1, "sum")[:, 0], weights.sum(axis=1))
    assert np.allclose(adapt_stem(weights, 1, "mean")[:, 0], weights.mean(axis=1))
    four = adapt_stem(weights, 4, "mean")
    assert np.array_equal(four[:, :3], weights)
    assert np.allclose(four[:, 3], weights.mean(axis=1))
    assert np.array_equal(adapt_stem(weights, 3), weights)
    with pytest.raises(UsageError, match="stem weights need 4 axes"):
        adapt_stem(weights[0], 1)


def test_uib_without_start_computes_a_v2_block() -> None:
    spec = Spec("u", Conv(3, 8), (UIB(0, 3, 48, 8, act="relu6"),))
    uib = randomise(build(spec))
    v2 = build(replace(spec, rows=(Bottleneck(3, 48, 8, act="relu6"),)))
    load_exact(v2, state_arrays(uib))
    x = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        assert torch.equal(uib(x), v2.eval()(x))


def test_dilation_keeps_what_a_strided_network_computes() -> None:
    """The first dilated row's map, read at every second cell, is the strided network's."""
    plain = randomise(build("mobilenetv3_small", alpha=0.5, classes=0))
    spec = replace(resolve("mobilenetv3_small", alpha=0.5, classes=0, output_stride=16), padding="symmetric")
    dilated = build(spec).eval()
    load_exact(dilated, state_arrays(plain))
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        a, b = (n.taps(x, ["blocks.8.dw"])["blocks.8.dw"] for n in (plain, dilated))
    assert gap(a, b[:, :, ::2, ::2]) < TOLERANCE


def test_taps_stop_early_and_refuse_unknown_names() -> None:
    network = build("mobilenetv2", alpha=0.25, classes=3).eval()
    ran: list[int] = []
    for i, block in enumerate(network.backbone.blocks):
        assert isinstance(block, Block)
        next(iter(block.children())).register_forward_hook(lambda *_, i=i: ran.append(i))
    found = network.taps(torch.zeros(1, 3, 32, 32), ["blocks.3", "stem", "blocks.1.expand"])
    assert list(found) == ["blocks.3", "stem", "blocks.1.expand"]
    assert max(ran) == 3
    with pytest.raises(UsageError, match=r"no tap called 'blocks\.99'; taps: stem"):
        network.taps(torch.zeros(1, 3, 32, 32), ["blocks.99"])
    with pytest.raises(UsageError, match="no tap was asked for"):
        network.taps(torch.zeros(1, 3, 32, 32), [])


def test_names_are_not_needed(tmp_path: Path) -> None:
    """A pruned or searched network is a spec like any other; a file of it is built like a name."""
    spec = with_name(replace(resolve("mobilenetv2", classes=3), rows=resolve("mobilenetv2").rows[:5]), "pruned")
    path = tmp_path / "pruned.json"
    path.write_text(spec_to_json(spec))
    assert build(path).spec == build(spec).spec == spec


def test_gradients_through_in_place_steps() -> None:
    """In-place activations and additions leave gradients right: against finite differences in float64."""
    torch.manual_seed(0)
    spec = resolve("mobilenetv3_small", alpha=0.05, classes=2)
    network = build(replace(spec, rows=spec.rows[:6])).double().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.uniform_(0.01, 0.02)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,), eps=1e-7, atol=1e-5)


def test_fresh_weights() -> None:
    """Normal by fan-out within a group; attention by Xavier; the classifier small."""
    torch.manual_seed(0)
    network = build("mobilenetv4_hybrid_medium", alpha=0.5)
    block = network.backbone.blocks[1]
    assert isinstance(block, Block)
    dw, expand = block.get_submodule("dw.conv"), block.get_submodule("expand.conv")
    assert isinstance(dw, nn.Conv2d)
    assert isinstance(expand, nn.Conv2d)
    assert dw.weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.1)
    assert expand.weight.std().item() == pytest.approx((2 / expand.out_channels) ** 0.5, rel=0.1)
    assert isinstance(network.classifier, nn.Linear)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_networks_copy_and_move() -> None:
    import copy

    network = randomise(build("mobilenetv3_small", alpha=0.25, classes=3))
    twin = copy.deepcopy(network)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(x), twin(x))
        assert twin.half().float().spec == network.spec
        last = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        assert gap(network(x), last(x.contiguous(memory_format=torch.channels_last))) < TOLERANCE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # the exporter's own helpers
@pytest.mark.parametrize("name", ["mobilenetv3_small", "mobilenetv4_hybrid_medium", "tf_mobilenetv3_small_minimal_100"])
def test_onnx_keeps_h_swish_whole(name: str, tmp_path: Path) -> None:
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    network = randomise(build(name, alpha=0.5, classes=4))
    x = torch.randn(2, 3, 64, 96)
    path = tmp_path / "net.onnx"
    batch = torch.export.Dim("n", min=1, max=64)
    program = torch.onnx.export(network, (x,), dynamo=True, dynamic_shapes={"x": {0: batch}}, verbose=False)
    assert program is not None
    program.save(path)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    wanted = sum(1 for layer in network.modules() if isinstance(layer, nn.Hardswish))
    assert operators.count("HardSwish") == wanted
    session = ort.InferenceSession(path)
    for n in (1, 3):
        image = torch.randn(n, 3, 64, 96)
        with torch.no_grad():
            want = network(image)
        (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        assert gap(want, torch.from_numpy(got)) < 1e-4
