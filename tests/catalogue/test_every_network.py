"""Every network of the catalogue and every alias: counts, shapes, taps, gradients, JSON. A new row is tested as it is.

By default on narrow forms; `slow` repeats the counts at full size, on torch's meta device that computes shapes only.
"""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from mobilenets.codec import from_json, to_json
from mobilenets.measure import cost
from mobilenets.measure.walk import walk
from mobilenets.models import MobileMQA, Network, build
from mobilenets.specs import (
    ALIASES,
    CATALOGUE,
    Spec,
    dilate,
    find,
    folded,
    resolve,
    spec_from_json,
    spec_to_json,
    with_dropout,
)


def counted_macs(network: Network, x: Tensor) -> int:
    """MACs that the modules do on `x`, by their weights' and outputs' shapes; fixed blur filters have no weight."""
    found: list[int] = []

    def convolved(module: nn.Module, _: object, out: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        found.append(weight.numel() // weight.shape[0] * out[0].numel())

    def attended(module: nn.Module, inputs: tuple[Tensor], key: Tensor) -> None:
        found.append(2 * inputs[0][0, 0].numel() * key[0].numel() * heads[module])

    heads = {m.key: m.heads for m in network.modules() if isinstance(m, MobileMQA)}
    handles = [key.register_forward_hook(attended) for key in heads]
    handles += [m.register_forward_hook(convolved) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    network(x)
    for handle in handles:
        handle.remove()
    return sum(found)


@pytest.mark.parametrize("name", [*CATALOGUE, *ALIASES])
def test_json_round_trip(name: str) -> None:
    spec = find(name)
    assert spec_from_json(spec_to_json(spec)) == spec
    assert hash(spec_from_json(spec_to_json(spec))) == hash(spec)
    for varied in (folded(spec), dilate(spec, 16), replace(spec, classes=0)):
        assert from_json(Spec, to_json(varied)) == varied


@pytest.mark.parametrize("name", CATALOGUE)
def test_narrow_form(name: str) -> None:
    """Counts, gradients, taps, on an image that is neither square nor a multiple of 32."""
    torch.manual_seed(0)
    network = build(name, alpha=0.25, classes=5, resolution_px=(48, 72))
    spec, x = network.spec, torch.randn(2, 3, 48, 72)
    logits = network(x)
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    taps = spec.taps()
    with torch.no_grad():
        network.eval()
        found = cost(spec)
        assert found.params == sum(p.numel() for p in network.parameters())
        assert found.macs == counted_macs(network, x[:1])
        read = network.taps(x, [tap.name for tap in taps])
        assert torch.equal(read[taps[-1].name], network.backbone(x))
        assert network.embed(x).shape == (2, spec.embedding)
        assert torch.equal(network.classify(network.embed(x)), network(x))
    assert list(read) == [tap.name for tap in taps]
    sizes = {p.name.removesuffix(".conv"): p.size_out for p in walk(spec, (48, 72))}
    for tap in taps:
        n, c, *size = read[tap.name].shape
        assert (n, c) == (2, tap.channels)
        if tap.name in sizes:
            assert tuple(size) == sizes[tap.name]
        if not any(getattr(row, "downsample", "") == "avg" for row in spec.rows):
            assert tuple(size) == (-(-48 // tap.stride), -(-72 // tap.stride_w))


@pytest.mark.parametrize("name", CATALOGUE)
def test_small_grey_images_to_an_embedding(name: str) -> None:
    """Stem stride 1 for 32 px, one channel, no classifier."""
    network = build(name, alpha=0.25, classes=0, in_channels=1, stem_stride=1, resolution_px=(32, 32)).eval()
    x = torch.zeros(1, 1, 32, 32)
    with torch.inference_mode():
        assert network.backbone(x).shape == (1, network.spec.channels, 2, 2)
        assert network(x).shape == (1, network.spec.embedding)


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_output_stride(name: str, output_stride: int) -> None:
    spec = resolve(name, output_stride=output_stride, classes=0)
    last = spec.taps()[-1]
    assert (last.stride, last.stride_w) == (output_stride, output_stride)
    *_, placed = walk(replace(spec, head=replace(spec.head, c_hidden=0)), (64, 96))
    assert placed.size_out == (64 // output_stride, 96 // output_stride)
    assert cost(spec).params == cost(resolve(name, classes=0)).params


@pytest.mark.parametrize("name", CATALOGUE)
def test_any_alpha(name: str) -> None:
    found = [cost(resolve(name, alpha=alpha), resolution_px=(64, 64)) for alpha in (0.05, 0.35, 0.9, 1.37, 2.5)]
    assert all(a.params < b.params and a.macs < b.macs for a, b in pairwise(found))


@pytest.mark.parametrize("px", [96, 128, 224, 320])
def test_any_size(px: int) -> None:
    """One network accepts several sizes."""
    network = build("mobilenetv3_large", alpha=0.25).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, px, px)).shape == (1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CATALOGUE, *ALIASES])
def test_counts_at_full_size(name: str) -> None:
    spec = find(name)
    with torch.device("meta"):
        network = build(spec).eval()
        x = torch.zeros(1, spec.in_channels, *spec.resolution_px)
    found = cost(spec)
    assert found.params == sum(p.numel() for p in network.parameters())
    assert found.macs == counted_macs(network, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_stride_of_modules(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        network = build(name, alpha=0.25, output_stride=output_stride).eval()
        assert network.backbone(torch.zeros(1, 3, 64, 96)).shape[2:] == (64 // output_stride, 96 // output_stride)


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_full_width_learns(name: str) -> None:
    """Ten steps at full width learn eight images of noise by heart, half way at least."""
    torch.manual_seed(0)
    network = build(with_dropout(resolve(name, classes=2, resolution_px=(32, 32)), 0.0)).train()
    x, truth = torch.randn(8, 3, 32, 32), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-4)
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(network(x), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
