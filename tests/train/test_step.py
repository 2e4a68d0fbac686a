"""The optimisation step and what it stands on: groups, parts, averages, batch norm, depthwise gradients."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import PLAIN, tiny_network
from torch import nn
from torch.nn import functional

from mobilenets.models.layers import ConvNorm
from mobilenets.specs import ConvStep, Norm
from mobilenets.train import SGD, Compute, Recipe, RMSprop, TrainStep, build_optimizer, candidates, fastest_step, timing
from mobilenets.train.averaging import Averaged
from mobilenets.train.depthwise import depthwise_forwards, faster_by_pairs, replaced, weight_gradient
from mobilenets.train.memory import kept_memory
from mobilenets.train.norms import (
    batch_norms,
    batch_statistics,
    norm_momentum,
    recompute_statistics,
    run_momentum,
    train_mode,
)
from mobilenets.train.optimizers import load_optimizer, optimizer_arrays, set_lr

LOSS = functional.cross_entropy
CPU = torch.device("cpu")


def data(n: int = 8, seed: int = 0, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, side, side, generator=random), torch.randint(0, 3, (n,), generator=random)


def stepper(network: nn.Module, recipe: Recipe = PLAIN, **more: object) -> TrainStep:
    train_mode(network, recipe)
    return TrainStep(network, LOSS, build_optimizer(network, recipe), **more)


@pytest.mark.parametrize("optimizer", [PLAIN.optimizer, SGD(nesterov=True), RMSprop()])
def test_steps_lower_the_loss(optimizer: object) -> None:
    network = tiny_network()
    step = stepper(network, replace(PLAIN, optimizer=optimizer, lr=2e-3 if optimizer != SGD(nesterov=True) else 0.02))
    losses = [float(step(*data())) for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
    assert step.outputs.shape == (8, 3)


def test_decay_spares_norms_biases_and_asked_depthwise_kernels() -> None:
    network = tiny_network()
    optimizer = build_optimizer(network, replace(PLAIN, weight_decay=0.1, decay_depthwise=False, backbone_lr=0.5))
    names = {id(p): n for n, p in network.named_parameters()}
    decayed = {names[id(p)] for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert "classifier.weight" in decayed
    for name, parameter in network.named_parameters():
        depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
        assert (name in decayed) == (parameter.ndim > 1 and not depthwise), name
    set_lr(optimizer, 1.0)
    rates = {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[n] for n in rates if n.startswith("backbone.")} == {0.5}
    assert rates["classifier.weight"] == 1.0


def test_frozen_backbone_neither_moves_nor_gathers_statistics() -> None:
    network = tiny_network()
    before = copy.deepcopy(network.state_dict())
    step = stepper(network, replace(PLAIN, backbone_lr=0.0))
    step(*data())
    after = network.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert not any(key.startswith("backbone.") for key in moved)


def no_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def test_micro_batches_are_the_mean_of_their_gradients_and_statistics() -> None:
    images, targets = data(8)
    plain = replace(PLAIN, optimizer=SGD(momentum=0.0), lr=1.0, weight_decay=0.0)
    network = no_dropout(tiny_network())
    network.backbone.requires_grad_(True)
    statistics = [s for norm in batch_norms(network) for s in (norm.running_mean, norm.running_var)]
    start = copy.deepcopy(network)
    seeds = [11, 12]
    stepper(network, plain, micro_batches=2, statistics=statistics)(images, targets, seeds=seeds)
    halves = []
    for i, seed in enumerate(seeds):
        half = copy.deepcopy(start)
        stepper(half, plain)(images[4 * i : 4 * i + 4], targets[4 * i : 4 * i + 4], seeds=[seed])
        halves.append(half.state_dict())
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            wanted = (halves[0][key] + halves[1][key]) / 2
            assert torch.allclose(value, wanted, atol=2e-6), key
    whole = copy.deepcopy(start)
    stepper(whole, plain)(images, targets, seeds=[11])  # the twin: one batch has other statistics
    assert not torch.allclose(
        whole.state_dict()["classifier.weight"], network.state_dict()["classifier.weight"], atol=1e-5
    )


def test_clipping_bounds_the_update() -> None:
    recipe = replace(PLAIN, optimizer=SGD(momentum=0.0), lr=1.0, weight_decay=0.0)
    network = tiny_network()
    before = [p.detach().clone() for p in network.parameters()]
    stepper(network, recipe, clip_norm=0.01)(*data())
    moved = torch.stack([(p.detach() - b).norm() for p, b in zip(network.parameters(), before, strict=True)]).norm()
    assert float(moved) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", [PLAIN.optimizer, SGD(), RMSprop()])
def test_optimizer_state_comes_back_to_the_bit(optimizer: object) -> None:
    recipe = replace(PLAIN, optimizer=optimizer)
    a = stepper(tiny_network(), recipe)
    for seed in range(3):
        a(*data(seed=seed), seeds=[seed])
    b = stepper(copy.deepcopy(a.network), recipe)
    load_optimizer(b.optimizer, {key: value.clone() for key, value in optimizer_arrays(a.optimizer).items()})
    c = stepper(copy.deepcopy(a.network), recipe)  # the twin that forgot
    for step in (a, b, c):
        step(*data(seed=9), seeds=[9])
    key = "classifier.weight"
    assert torch.equal(a.network.state_dict()[key], b.network.state_dict()[key])
    assert not torch.equal(a.network.state_dict()[key], c.network.state_dict()[key])


# --- averages -------------------------------------------------------------------------------------------------------


def test_average_follows_with_a_warm_decay() -> None:
    network = nn.Linear(1, 1, bias=False)
    averaged = Averaged(network, 0.99)
    expected = float(network.weight.detach())
    for step in range(300):
        with torch.no_grad():
            network.weight.fill_(float(step))
        averaged.update(step)
        decay = min(0.99, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(averaged.network.weight) == pytest.approx(expected, rel=1e-4)
    assert 190 < expected < 290
    assert Averaged(network, None).network is network


# --- batch norm -----------------------------------------------------------------------------------------------------


def test_momentum_is_raised_for_short_runs_only() -> None:
    assert norm_momentum(PLAIN, own=0.01, steps=400) > 0.05
    assert norm_momentum(PLAIN, own=0.01, steps=10**6) == 0.01
    assert norm_momentum(replace(PLAIN, norm_momentum=0.3), own=0.01, steps=400) == 0.3
    network = tiny_network()
    own = [norm.momentum for norm in batch_norms(network)]
    with run_momentum(network, PLAIN, steps=10):
        assert {norm.momentum for norm in batch_norms(network)} == {0.1}
    assert [norm.momentum for norm in batch_norms(network)] == own


def test_recomputed_statistics_are_those_of_the_pictures() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    images = data(12)[0]
    recompute_statistics(network, images.split(4))
    features = network[0](images)
    assert torch.allclose(network[1].running_mean, features.mean((0, 2, 3)), atol=1e-5)
    assert network[1].momentum == 0.1
    assert not network.training
    variances = torch.stack([network[0](part).var((0, 2, 3)) for part in images.split(4)])
    assert torch.allclose(network[1].running_var, variances.mean(0), atol=1e-5)


def test_batch_statistics_are_used_and_not_kept() -> None:
    network = tiny_network()
    images = data(8)[0]
    before = copy.deepcopy(network.state_dict())
    with batch_statistics(network):
        by_batch = network(images)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not torch.allclose(by_batch, network(images), atol=1e-3)


# --- depthwise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [((4, 4), 5, 1, 2, 1), ((4, 6), 5, 2, 2, 1), ((7, 5), 3, 2, 0, 1), ((6, 6), 3, 1, 2, 2), ((2, 2), 5, 1, 2, 1)],
)
def test_weight_gradient_by_pairs_is_torchs(
    size: tuple[int, int], kernel: int, stride: int, padding: int, dilation: int
) -> None:
    x = torch.randn(3, 8, *size).to(memory_format=torch.channels_last)
    weight = torch.randn(8, 1, kernel, kernel, requires_grad=True)
    y = functional.conv2d(x, weight, None, stride, padding, dilation, 8)
    grad = torch.randn_like(y)
    (wanted,) = torch.autograd.grad(y, weight, grad)
    found = weight_gradient(grad, x, weight, stride, padding, dilation)
    assert torch.allclose(found, wanted, atol=1e-4, rtol=1e-4)
    if padding:  # the twin: read one place further
        wrong = weight_gradient(grad, x, weight, stride, padding - 1, dilation)
        assert not torch.allclose(wrong, wanted, atol=1e-2)


def test_step_by_pairs_trains_as_torch_does() -> None:
    a, b = no_dropout(tiny_network()), no_dropout(tiny_network())
    names = tuple(name for name, m in a.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
    recipe = replace(PLAIN, optimizer=SGD(momentum=0.0), lr=0.1)
    one, two = stepper(a, recipe), stepper(b, recipe, compute=Compute(by_pairs=names))
    assert len(two._forwards) == len(names) > 5
    for seed in range(3):
        assert float(one(*data(seed=seed), seeds=[0])) == pytest.approx(
            float(two(*data(seed=seed), seeds=[0])), abs=1e-4
        )
    assert all(torch.allclose(x, y, atol=1e-3) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert "forward" not in vars(next(iter(two._forwards)))


def test_only_layers_on_small_maps_are_tried() -> None:
    network = tiny_network()
    chosen = faster_by_pairs(network, data(side=128)[0])
    assert "backbone.stem.conv.conv" not in chosen
    assert all(".dw" in name for name in chosen)


def test_padding_that_depends_on_the_picture_is_kept() -> None:
    """A strided SAME convolution pads in its forward: it is not tried by pairs, and in float32 it answers as before."""
    step = ConvStep("dw", 8, 8, (3, 3), (2, 2), groups=8, norm=False, padding="same")
    network = nn.Sequential(ConvNorm(step, Norm()))
    x = torch.randn(2, 8, 8, 8)
    assert faster_by_pairs(network, x) == ()
    own = network(x)
    with replaced(depthwise_forwards(network, float32=True, by_pairs=())):
        assert torch.equal(network(x), own)


def test_depthwise_stay_float32_under_autocast() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1))
    seen: list[torch.dtype] = []
    for module in network:
        module.register_forward_hook(lambda m, inputs, output: seen.append(output.dtype))
    x = torch.randn(2, 4, 8, 8)
    with replaced(depthwise_forwards(network, float32=True, by_pairs=())), torch.autocast("cpu", dtype=torch.bfloat16):
        network(x).sum().backward()
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16]
    seen.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(x)
    assert seen == [torch.bfloat16] * 3


@pytest.mark.parametrize("precision", ["bfloat16", "bfloat16_dw32", "float16"])
def test_lower_precisions_train_close_to_float32(precision: str) -> None:
    exact = stepper(no_dropout(tiny_network()))
    rough = stepper(no_dropout(tiny_network()), compute=Compute(precision=precision))
    images, targets = data(4)
    one, two = float(exact(images, targets, seeds=[0])), float(rough(images, targets, seeds=[0]))
    assert one == pytest.approx(two, abs=0.05)


# --- timing ---------------------------------------------------------------------------------------------------------


def test_fastest_step_leaves_the_network_and_drops_the_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    before = copy.deepcopy(network.state_dict())
    seconds = {("channels_last", "float32"): 1.0, ("nchw", "float32"): 0.99, ("channels_last", "bfloat16"): 3.0}
    asked: list[tuple[str, str]] = []

    def pretended(step: TrainStep, images: torch.Tensor, targets: torch.Tensor) -> float:
        pair = (step.compute.memory_format, step.compute.precision)
        asked.append(pair)
        return seconds[pair]

    monkeypatch.setattr(timing, "timed_step", pretended)
    choose = partial(fastest_step, network, *data(), loss=LOSS, optimizer=partial(build_optimizer, recipe=PLAIN))
    found = choose(among=tuple(seconds))
    assert (found.memory_format, found.precision) == ("channels_last", "float32")  # within the margin the first wins
    assert asked.count(("channels_last", "bfloat16")) == 3
    assert ("channels_last bfloat16") not in found.timings
    seconds["nchw", "float32"] = 0.8
    assert choose(among=tuple(seconds)).memory_format == "nchw"
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_candidates_obey_the_recipe() -> None:
    auto = replace(PLAIN, memory_format="auto", precision="auto")
    assert candidates(CPU, auto)[0] == ("channels_last", "float32")
    assert len(candidates(CPU, auto)) == 6
    assert candidates(CPU, PLAIN) == (("channels_last", "float32"),)


def test_a_choice_is_remembered_until_something_changes() -> None:
    made: list[int] = []

    def measure() -> Compute:
        made.append(1)
        return Compute("nchw", "float32", ("a.b",), {"nchw float32": 0.25})

    first = timing.remembered("key one", measure)
    assert timing.remembered("key one", measure) == first
    assert len(made) == 1
    timing.remembered("key two", measure)
    assert len(made) == 2
    keys = {
        timing.compute_key(tiny_network(), data(n)[0], recipe=PLAIN, among=candidates(CPU, PLAIN)) for n in (8, 8, 16)
    }
    assert len(keys) == 2


def test_training_is_channels_last_unless_timed_otherwise() -> None:
    """A depthwise backward of 120 channels, 5x5, 16x16, batch 32: NCHW took 2 to 7 times as long where measured."""
    step = stepper(tiny_network())
    assert next(step.network.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_kept_memory_nests() -> None:
    with kept_memory(), kept_memory():
        blocks = [torch.zeros(20_000_000) for _ in range(2)]
    assert sum(float(block[0]) for block in blocks) == 0.0
