"""Budget, plan, schedule and pace: pure arithmetic, and a simulated run against the clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenets.errors import UsageError
from mobilenets.train import Budget, find_recipe
from mobilenets.train.pace import Pace, check_due, replanned
from mobilenets.train.plan import LONGEST_WARMUP, lr_at, plan_steps, scaled_side, turn_at
from mobilenets.train.recipe import Cosine, Exponential

RECIPE = replace(find_recipe("photos"), batch=32, warmup_epochs=5, augmentation=find_recipe("finetune").augmentation)


@pytest.mark.parametrize("wrong", [{}, {"epochs": 1, "minutes": 1.0}, {"epochs": 0}, {"minutes": 0.0}])
def test_budget_is_one_positive_length(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Budget(**wrong)


def test_learning_rate_rises_then_falls_to_the_end_of_its_curve() -> None:
    plan = plan_steps(RECIPE, images=640, parts=1, epochs=50)
    rates = [lr_at(RECIPE, plan, step) for step in range(plan.steps)]
    top = rates.index(max(rates))
    assert plan.steps == 1000
    assert top in (99, 100)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[0] < 0.01 * RECIPE.lr
    assert 0 < rates[-1] < 1e-5 * RECIPE.lr
    assert max(rates) > 0.999 * RECIPE.lr
    floored = replace(RECIPE, schedule=Cosine(floor=0.1))
    assert lr_at(floored, plan, 999) == pytest.approx(0.1 * RECIPE.lr, rel=1e-3)


def test_exponential_is_the_papers_staircase() -> None:
    recipe = replace(RECIPE, schedule=Exponential(rate=0.5, every_epochs=2), warmup_epochs=0)
    plan = plan_steps(recipe, images=320, parts=1, epochs=8)
    assert [lr_at(recipe, plan, 10 * epoch) / recipe.lr for epoch in range(8)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
        0.125,
        0.125,
    ]


def test_short_runs_warm_up_for_a_fifth_at_most() -> None:
    assert plan_steps(RECIPE, images=640, parts=1, epochs=3).warmup == LONGEST_WARMUP


@pytest.mark.parametrize(("images", "parts", "batch"), [(640, 1, 32), (20, 1, 20), (21, 2, 20), (7, 4, 4)])
def test_batch_shrinks_to_few_images_in_equal_parts(images: int, parts: int, batch: int) -> None:
    assert plan_steps(RECIPE, images=images, parts=parts, epochs=1).batch == batch


def test_too_few_images_for_the_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="equal parts"):
        plan_steps(RECIPE, images=3, parts=4, epochs=1)


@given(
    total=st.integers(1, 500),
    changes=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 800)), max_size=6),
)
def test_progress_never_jumps_however_often_a_run_is_replanned(total: int, changes: list[tuple[int, int]]) -> None:
    plan = plan_steps(RECIPE, images=64, parts=1, steps=total)
    for step, until in sorted(changes):
        if step < plan.steps and until > step:
            before = [plan.progress(s) for s in range(step + 1)]
            plan = plan.replanned(step, until)
            assert [plan.progress(s) for s in range(step + 1)] == pytest.approx(before)
    values = [plan.progress(s) for s in range(plan.steps + 1)]
    assert values == sorted(values)
    assert values[0] == 0.0
    assert values[-1] == pytest.approx(1.0)


def test_sides_take_equal_turns() -> None:
    recipe = replace(RECIPE, side_ratios=(0.5, 0.75, 1.0))
    plan = plan_steps(recipe, images=320, parts=1, epochs=9)
    assert [turn_at(recipe, plan, step) for step in (0, 29, 30, 59, 60, 89)] == [0, 0, 1, 1, 2, 2]
    assert [scaled_side((128, 160), ratio) for ratio in (0.5, 0.75, 1.0, 0.1)] == [
        (64, 80), (96, 128), (128, 160), (32, 32),
    ]  # fmt: skip


def simulate(step_s: object, *, minutes: float, guess_s: float, evaluation_s: float, images: int = 640) -> float:
    """Seconds that a run in minutes takes when step number s takes step_s(s), first guessed as guess_s each."""
    pace = Pace([guess_s], evaluation_s, closing_s=2 * evaluation_s)
    plan = plan_steps(RECIPE, images=images, parts=1, epochs=1)
    plan = replace(plan, evaluate_every=pace.evaluate_every(plan.steps_per_epoch))
    steps = pace.steps_in(60 * minutes, plan, progress=0.0)
    every = plan.evaluate_every
    plan = replace(plan_steps(RECIPE, images=images, parts=1, steps=steps), evaluate_every=every)
    clock, step = 0.0, 0
    while step < plan.steps:
        clock += step_s(step)
        pace.observe(0, step_s(step))
        step += 1
        if plan.evaluates_after(step):
            clock += evaluation_s
            pace.observe_evaluation(evaluation_s)
        if check_due(plan, step):
            plan = replanned(plan, pace, step=step, minutes=minutes, elapsed_s=clock)
    return clock + 2 * evaluation_s


STEADY = {"steady": lambda s: 0.1, "half as fast as guessed": lambda s: 0.2, "twice as fast": lambda s: 0.05}
UNSTEADY = {"slower from step 1000": lambda s: 0.1 if s < 1000 else 0.17, "jitter": lambda s: 0.07 if s % 2 else 0.15}


@pytest.mark.parametrize("name", [*STEADY, *UNSTEADY])
@pytest.mark.parametrize("evaluation_s", [0.1, 3.0])
def test_a_run_in_minutes_ends_in_time(name: str, evaluation_s: float) -> None:
    minutes = 4.0
    took = simulate((STEADY | UNSTEADY)[name], minutes=minutes, guess_s=0.1, evaluation_s=evaluation_s)
    assert 0.96 * 60 * minutes <= took <= 1.03 * 60 * minutes


def test_without_replanning_a_slow_machine_would_overrun() -> None:
    """The twin that the rule exists for: the same run by its first plan."""
    pace = Pace([0.1], 0.1, 0.2)
    plan = plan_steps(RECIPE, images=640, parts=1, epochs=1)
    assert 0.2 * pace.steps_in(240.0, plan, progress=0.0) > 1.5 * 240.0


def test_evaluations_take_a_tenth_at_most() -> None:
    pace = Pace([0.1], evaluation_s=5.0)
    every = pace.evaluate_every(10)
    assert 0.1 * every * 10 * 0.1 + 1e-9 >= 5.0
    assert Pace([0.1], evaluation_s=0.01).evaluate_every(10) == 1


def test_rate_of_mixed_sides_counts_what_remains() -> None:
    pace = Pace([1.0, 3.0])
    assert [pace.mean_step_s(p) for p in (0.0, 0.25, 0.5, 0.9)] == pytest.approx(
        [2.0, (0.25 * 1 + 0.5 * 3) / 0.75, 3, 3]
    )
