"""Orders, draws and batches: pure functions of seed and step, whoever makes them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import RECIPE, SIDE

from mobilenets.data import Dataset, Pictures, load_pictures
from mobilenets.records import Preprocess
from mobilenets.train import Recipe
from mobilenets.train.batches import Ahead, Batch, BatchMaker
from mobilenets.train.draws import Use, class_weights, epoch_order, generator, layer_seed
from mobilenets.train.plan import Plan, plan_steps


@pytest.fixture(scope="module")
def loaded(dataset: Dataset) -> Pictures:
    return load_pictures(dataset.train, side_px=40)


def maker(loaded: Pictures, recipe: Recipe = RECIPE, *, rank: int = 0, world: int = 1, seed: int = 0) -> BatchMaker:
    record = Preprocess(size_px=(SIDE, SIDE))
    return BatchMaker(loaded, recipe, preprocess=record, classes=3, seed=seed, rank=rank, world=world)


def plan(recipe: Recipe = RECIPE, *, parts: int = 1) -> Plan:
    return plan_steps(recipe, images=24, parts=parts, epochs=4)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) and np.array_equal(a.rows, b.rows)


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(7, epoch, count=100) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[1], epoch_order(7, 1, count=100))
    assert not np.array_equal(orders[1], epoch_order(8, 1, count=100))


def test_balanced_sampler_draws_classes_equally() -> None:
    class_of = np.array([0] * 80 + [1] * 15 + [3] * 5)
    order = epoch_order(0, 0, count=100, class_of=class_of)
    counts = np.bincount(class_of[order], minlength=4)
    assert counts.max() - min(counts[[0, 1, 3]]) <= 1
    assert counts[2] == 0
    drawn = np.bincount(order, minlength=100)
    assert drawn[:80].max() == 1
    assert drawn[95:].min() >= 6


def test_class_weights_make_classes_count_equally() -> None:
    counts = np.array([80, 15, 0, 5])
    weights = class_weights(counts)
    assert weights[0] * 80 == pytest.approx(weights[1] * 15) == pytest.approx(weights[3] * 5)
    assert (weights * counts).sum() == pytest.approx(100)
    assert weights[2] == 1


def test_uses_and_places_draw_independently() -> None:
    draws = {tuple(generator(0, use, *place).random(3)) for use in Use for place in [(0, 0), (0, 1), (1, 0)]}
    assert len(draws) == 3 * len(Use)
    assert len({layer_seed(s, step, part) for s in range(3) for step in range(3) for part in range(3)}) == 27


def test_a_batch_is_a_function_of_seed_and_step(loaded: Pictures) -> None:
    again, other = maker(loaded), maker(loaded, seed=1)
    for step in (5, 0, 11, 5):
        assert same(maker(loaded).batch(step, plan()), again.batch(step, plan()))
    assert not same(again.batch(5, plan()), other.batch(5, plan()))
    batch = again.batch(5, plan())
    assert batch.images.shape == (8, 3, SIDE, SIDE)
    assert batch.images.dtype == torch.float32
    assert batch.targets.shape == (8, 3)
    assert batch.truth.dtype == torch.int64


def test_processes_make_the_parts_of_the_same_batch(loaded: Pictures) -> None:
    whole = maker(loaded).batch(4, plan(parts=2))
    parts = [maker(loaded, rank=rank, world=2).batch(4, plan(parts=2)) for rank in range(2)]
    assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
    assert torch.equal(whole.targets, torch.cat([part.targets for part in parts]))


def test_side_follows_the_turns(loaded: Pictures) -> None:
    recipe = replace(RECIPE, side_ratios=(1.5, 1.0))
    sides = [maker(loaded, recipe).batch(step, plan(recipe)).images.shape[-1] for step in (0, 5, 6, 11)]
    assert sides == [48, 48, 32, 32]


@pytest.mark.parametrize(("ahead", "workers"), [(0, 1), (3, 1), (3, 4)])
def test_batches_made_ahead_are_the_same_in_order(loaded: Pictures, ahead: int, workers: int) -> None:
    made, threads = maker(loaded), torch.get_num_threads()
    batches = Ahead(lambda step: made.batch(step, plan()), ahead=ahead, workers=workers)
    try:
        assert torch.get_num_threads() == threads
        assert all(same(batches.get(step), maker(loaded).batch(step, plan())) for step in range(10))
        assert same(batches.get(3), maker(loaded).batch(3, plan()))  # back, as a replayed step
    finally:
        batches.close()


def test_a_new_plan_is_not_answered_with_old_batches() -> None:
    made: list[int] = []
    batches = Ahead(lambda step: made.append(step), ahead=2)  # type: ignore[arg-type, func-returns-value]
    batches.get(0)
    batches.forget()
    batches.get(1)
    batches.close()
    assert made.count(1) >= 1
    assert made[-1] >= 1
    assert sorted(set(made)) == [0, 1, 2, 3]


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def broken(step: int) -> Batch:
        raise ValueError(f"step {step}")

    batches = Ahead(broken, ahead=1)
    with pytest.raises(ValueError, match="step 0"):
        batches.get(0)
    batches.close()
