"""Muon: orthogonal updates of pointwise convolutions, AdamW's for everything else."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import PLAIN, tiny_network
from torch import nn

from mobilenets.errors import UsageError
from mobilenets.train import AdamW, Muon, build_optimizer
from mobilenets.train.muon import RMS, MuonAdamW, orthogonal
from mobilenets.train.optimizers import set_lr


@pytest.mark.parametrize("shape", [(16, 16), (24, 72), (96, 24)])
def test_orthogonal_keeps_the_directions_and_evens_their_lengths(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix)
    lengths = torch.linalg.svdvals(found)
    assert 0.6 < float(lengths.min()) <= float(lengths.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    wanted = u @ v
    assert float((found * wanted).sum() / (found.norm() * wanted.norm())) > 0.97
    untouched = torch.linalg.svdvals(matrix / matrix.norm() * wanted.norm())  # the twin: not turned
    assert float(untouched.max() / untouched.min()) > 1.3 * float(lengths.max() / lengths.min())


def test_a_step_is_torchs_muon_of_the_matrix() -> None:
    random = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(24, 48, 1, bias=False)
    matrix = nn.Parameter(conv.weight.detach().flatten(1).clone())
    settings = [{"params": [conv.weight], "weight_decay": 0.1, "pointwise": True}]
    ours = MuonAdamW(settings, lr=0.01, momentum=0.9, betas=(0.9, 0.999), fused=False)
    theirs = torch.optim.Muon([matrix], lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = matrix.detach().clone()
    for _ in range(3):
        grad = torch.randn(48, 24, generator=random)
        conv.weight.grad, matrix.grad = grad.view(48, 24, 1, 1).clone(), grad.clone()
        ours.step()
        theirs.step()
    moved, wanted = conv.weight.detach().flatten(1) - start, matrix.detach() - start
    assert float((moved - wanted).norm() / wanted.norm()) < 0.02  # theirs iterates in bfloat16
    assert float((moved + wanted).norm() / wanted.norm()) > 1.9
    rms = float(orthogonal(torch.randn(48, 24, generator=random)).pow(2).mean().sqrt()) * RMS * 48**0.5
    assert rms == pytest.approx(0.2, rel=0.2)


def test_pointwise_convolutions_alone_are_turned() -> None:
    network = tiny_network()
    names = {id(p): name for name, p in network.named_parameters()}
    optimizer = build_optimizer(network, replace(PLAIN, optimizer=Muon()))
    turned = {names[id(p)] for group in optimizer.param_groups if group["pointwise"] for p in group["params"]}
    assert turned
    every = dict(network.named_parameters())
    for name, parameter in every.items():
        is_matrix = parameter.ndim == 4 and parameter.shape[1] > 1 and parameter.shape[2] == 1
        has_bias = name.removesuffix("weight") + "bias" in every
        assert (name in turned) == (is_matrix and not has_bias), name
    plain = copy.deepcopy(network)
    other = build_optimizer(plain, replace(PLAIN, optimizer=AdamW()))
    for each, rule in ((network, optimizer), (plain, other)):
        each.eval()(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        set_lr(rule, 1e-3)
        rule.step()
    same = {
        name
        for (name, a), (_, b) in zip(network.named_parameters(), plain.named_parameters(), strict=True)
        if torch.allclose(a, b, atol=1e-6)
    }
    assert turned.isdisjoint(same)
    assert "classifier.weight" in same


def test_float16_gradients_that_overflow_move_nothing() -> None:
    network = tiny_network()
    optimizer = build_optimizer(network, replace(PLAIN, optimizer=Muon()))
    before = copy.deepcopy(network.state_dict())
    for overflow in (True, False):
        scaler = torch.amp.GradScaler("cpu")
        loss = network.eval()(torch.ones(2, 3, 32, 32)).square().sum()
        scaler.scale(loss * (float("inf") if overflow else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        same = all(torch.equal(before[key], value) for key, value in network.state_dict().items())
        assert same == overflow


def test_shares_are_shares() -> None:
    with pytest.raises(UsageError, match="muon: momentum"):
        Muon(momentum=1.0)
