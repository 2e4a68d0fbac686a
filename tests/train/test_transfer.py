"""What training adds to weights it began with: the fitted head, the way back to the start, the figures of the gain."""

import numpy as np
import pytest
import torch
from tiny import SIDE, tiny_network
from torch.nn import functional

from mobilenets.data import Dataset, load_pictures
from mobilenets.errors import UsageError
from mobilenets.records import Preprocess
from mobilenets.train import paired_gain, transfer_recipe
from mobilenets.train.probe import FOLDS, STRENGTHS, USUAL, chosen_strength, fit_head, folds, logistic_regression
from mobilenets.train.run_folder import Best
from mobilenets.train.start import chosen_share, mixed


def clouds(each: int, *, spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around three corners: float32 (3 * each, 5), int64."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.arange(3).repeat_interleave(each)
    return 2.0 * torch.eye(3, 5)[targets] + spread * torch.randn(3 * each, 5, generator=random), targets


@pytest.mark.parametrize("strength", STRENGTHS)
def test_logistic_regression_ends_where_its_gradient_does(strength: float) -> None:
    features, targets = clouds(20, spread=1.0)
    weight, bias = (t.requires_grad_() for t in logistic_regression(features, targets, classes=3, strength=strength))
    data = functional.cross_entropy(functional.linear(features, weight, bias), targets)
    (data + weight.square().sum() / (2.0 * strength * len(features))).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float(weight.grad.abs().max()) < 1e-4
    assert float(bias.grad.abs().max()) < 1e-4


def test_a_smaller_strength_gives_smaller_weights() -> None:
    features, targets = clouds(20, spread=1.0)
    norms = [float(logistic_regression(features, targets, classes=3, strength=s)[0].norm()) for s in STRENGTHS]
    assert norms == sorted(norms)


def test_folds_never_hold_out_a_whole_class_or_its_only_picture() -> None:
    targets = np.array([0, 1, 1, 2, 2, 2, 2, 2, 0, 0, 3])
    fold = folds(targets)
    assert fold[-1] == -1
    for held in range(FOLDS):
        assert set(targets[fold != held]) == {0, 1, 2, 3}
    assert sorted(fold[targets == 2]) == [0, 0, 1, 1, 2]


def test_one_picture_a_class_takes_the_usual_strength() -> None:
    strength, top1 = chosen_strength(torch.eye(4), torch.arange(4), classes=4)
    assert strength == USUAL
    assert np.isnan(top1)


def test_strength_is_cross_validated() -> None:
    features, targets = clouds(30, spread=0.1)
    assert chosen_strength(features, targets, classes=3) == (STRENGTHS[0], 1.0)
    _, top1 = chosen_strength(features, targets[torch.randperm(90, generator=torch.manual_seed(0))], classes=3)
    assert top1 < 0.6


def test_a_fitted_head_reads_what_the_features_tell(dataset: Dataset) -> None:
    network = tiny_network().eval()
    with torch.no_grad():
        network.classifier.weight.zero_()
    pictures = load_pictures(dataset.train, side_px=48)
    record = Preprocess((SIDE, SIDE))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    probe = fit_head(network, pictures, record, seed=0, batch=8, mirrored=True)
    assert probe.pictures == 24
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    with pytest.raises(UsageError, match="needs a network with an embedding"):
        fit_head(torch.nn.Linear(2, 2), pictures, record, seed=0, batch=8, mirrored=False)


def test_the_share_is_the_surest_of_those_that_val_can_not_tell_apart() -> None:
    judged = {0.25: Best(3, 9, 0.80, 0.9), 0.0: Best(3, 9, 0.82, 1.2), 1.0: Best(3, 9, 0.60, 0.8)}
    assert chosen_share(judged, images=100) == 0.25
    assert chosen_share(judged, images=100_000) == 0.0
    assert chosen_share(judged, images=2) == 1.0
    assert chosen_share(judged, images=0) == 0.25


def test_mixed_is_the_straight_line_and_counts_are_the_trained_ones() -> None:
    start = {"w": torch.tensor([0.0, 1.0]), "n": torch.tensor(1)}
    trained = {"w": torch.tensor([4.0, 1.0]), "n": torch.tensor(7)}
    assert torch.equal(mixed(start, trained, 0.25)["w"], torch.tensor([3.0, 1.0]))
    assert mixed(start, trained, 0.0)["w"] is trained["w"]
    assert int(mixed(start, trained, 1.0)["n"]) == 7


def test_paired_gain_counts_what_changed() -> None:
    """8 won, 2 lost of 100: by hand with half a picture more in each cell, (8.5 - 2.5) / 102 -+ 1.96 * 0.0320."""
    before, after = np.zeros(100, bool), np.zeros(100, bool)
    after[:8] = before[8:10] = before[10:40] = after[10:40] = True
    difference, low, high = paired_gain(before, after)
    assert difference == pytest.approx(0.06)
    assert (low, high) == pytest.approx((-0.0039, 0.1216), abs=1e-3)
    backwards = paired_gain(after, before)
    assert backwards == pytest.approx((-0.06, -high, -low))


def test_the_recipe_follows_the_number_of_pictures() -> None:
    few, many = transfer_recipe(images=700), transfer_recipe(images=70_000)
    assert (few.norm_statistics, many.norm_statistics) == ("frozen", "live")
    assert few.head == many.head == "fitted"
    assert 1.0 in few.start_shares
