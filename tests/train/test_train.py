"""Whole runs of a tiny network: what they leave behind, and what makes them stop."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import PLAIN, RECIPE, SIDE, tiny_network
from train.conftest import same_weights

from mobilenets.codec import from_json
from mobilenets.data import Dataset
from mobilenets.errors import NonFiniteLoss, UsageError
from mobilenets.records import EpochRow, Preprocess, Training
from mobilenets.tasks import task
from mobilenets.train import Budget, StepEvent, predict_outputs, read_config, recipe_spec, train
from mobilenets.train.state import TINY, is_finite, load_weights, save_weights

Run = Callable[..., tuple[torch.nn.Module, Training]]


def arrays(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_a_run_learns_and_leaves_its_folder(run_tiny: Run, dataset: Dataset, tmp_path: Path) -> None:
    events: list[StepEvent] = []
    network, training = run_tiny(recipe=replace(PLAIN, ema=0.9), epochs=15, on_step=events.append)
    outputs, targets, files = predict_outputs(network, dataset.test, Preprocess(size_px=(SIDE, SIDE)))
    assert (outputs.argmax(1) == targets).mean() >= 7 / 9  # by chance: once in 160
    assert len(files) == 9
    assert (training.stopped, training.epochs, training.steps, training.batch) == ("done", 15, 45, 8)
    assert [row.epoch for row in training.history] == list(range(1, 16))
    outputs, targets, _ = predict_outputs(network, dataset.val, Preprocess(size_px=(SIDE, SIDE)))
    assert training.best_metric == pytest.approx((outputs.argmax(1) == targets).mean())  # of the weights returned
    assert training.best_metric >= max(row.metric for row in training.history)
    assert [event.step for event in events] == list(range(1, 46))
    assert {event.of for event in events} == {45}
    assert events[-1].eta_s < events[3].eta_s
    run = tmp_path / "run"
    assert {p.name for p in run.iterdir()} == {
        "config.json", "split.json", "results.csv", "best.safetensors", "last.safetensors", "training.json",
    }  # fmt: skip
    assert from_json(Training, (run / "training.json").read_text()) == training
    with (run / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [row.step for row in training.history]
    best = arrays(run / "best.safetensors")
    assert all(torch.equal(best[key], value) for key, value in network.state_dict().items())
    assert not network.training
    assert all(p.is_contiguous() for p in network.parameters())


def test_the_configuration_replays_the_run(run_tiny: Run, dataset: Dataset, tmp_path: Path) -> None:
    network, _ = run_tiny("one")
    config = read_config(tmp_path / "one" / "config.json")
    assert config.recipe == RECIPE
    assert config.network is not None
    torch.manual_seed(0)
    again = task(config.task).build(config.network, dataset.labels)
    train(
        again,
        task(config.task),
        dataset,
        preprocess=config.preprocess,
        recipe=config.recipe,
        budget=config.budget,
        run=tmp_path / "two",
        seed=config.seed,
        device=config.device,
    )
    assert same_weights(network, again)
    other, _ = run_tiny("three", seed=1)
    assert not same_weights(network, other)


def test_a_run_folder_is_never_overwritten(run_tiny: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run_tiny(epochs=1)
    before = (tmp_path / "run" / "best.safetensors").read_bytes()
    with pytest.raises(UsageError, match="not overwritten"):
        run_tiny(epochs=1)
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not overwritten"):
        run_tiny("file", epochs=1)


class StopAt:
    """Presses Ctrl-C while step `step` is told."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, event: StepEvent) -> None:
        if event.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("recipe", [RECIPE, PLAIN], ids=lambda r: r.name)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    run_tiny: Run, tmp_path: Path, step: int, recipe: object
) -> None:
    left_alone, whole = run_tiny("alone", recipe=recipe)
    _, stopped = run_tiny("stopped", recipe=recipe, on_step=StopAt(step))
    assert stopped.stopped == "interrupted"
    assert stopped.steps == step + 1  # the step under way is finished
    assert not (tmp_path / "stopped" / "training.json").exists()
    resumed, ended = run_tiny("stopped", recipe=recipe, resume=True)
    assert same_weights(left_alone, resumed)
    for name in ("best", "last"):
        one, two = (arrays(tmp_path / run / f"{name}.safetensors") for run in ("alone", "stopped"))
        assert all(torch.equal(one[key], two[key]) for key in one)

    def figures(row: EpochRow) -> tuple[float, ...]:
        return row.epoch, row.step, row.lr, row.train_loss, row.train_metric, row.val_loss, row.metric

    assert [figures(row) for row in ended.history] == [figures(row) for row in whole.history]
    again, read = run_tiny("stopped", recipe=recipe, resume=True)  # a finished run is only read
    assert read == ended
    assert same_weights(again, resumed)


def test_a_resumed_run_that_differs_is_refused(run_tiny: Run, tmp_path: Path) -> None:
    run_tiny(on_step=StopAt(2))
    for change, place in (
        ({"recipe": replace(RECIPE, lr=0.1)}, "recipe.lr"),
        ({"epochs": 4}, "budget.epochs"),
        ({"seed": 5}, "seed"),
    ):
        with pytest.raises(UsageError, match=place):
            run_tiny(resume=True, **change)
    with pytest.raises(UsageError, match="configuration"):
        run_tiny("nowhere", resume=True)


def test_a_resumed_run_forgets_rows_past_its_checkpoint(run_tiny: Run, tmp_path: Path) -> None:
    run_tiny(on_step=StopAt(3))
    results = tmp_path / "run" / "results.csv"
    results.write_text(results.read_text() + "2,6,1.0,0,0,0,0,0,12345\n")
    run_tiny(resume=True)
    assert "12345" not in results.read_text()
    assert [line.split(",")[1] for line in results.read_text().splitlines()] == ["step", "3", "6", "9"]


class Poisoned:
    """Classification whose loss is NaN from the `step`-th training step on."""

    name = metric = "classification"

    def __init__(self, step: int) -> None:
        self.left = step
        self.own = task("classification")
        self.name, self.metric = self.own.name, self.own.metric

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, **more: object) -> torch.Tensor:
        loss = self.own.loss(outputs, targets, **more)
        if outputs.requires_grad:
            self.left -= 1
            if self.left < 0:
                return loss * float("nan")
        return loss


def test_a_nan_stops_the_run_and_names_the_files(run_tiny: Run, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match="step 5: the loss is nan") as caught:
        run_tiny(used_task=Poisoned(4))
    named = (tmp_path / "run" / "bad_batch.txt").read_text().split()
    assert len(named) == 8
    assert named[0] in str(caught.value)
    assert set(named) <= {str(sample.file) for sample in dataset.train}
    resumed, _ = run_tiny(resume=True)  # the checkpoint is from before
    assert is_finite(resumed)
    left_alone, _ = run_tiny("alone")
    assert same_weights(resumed, left_alone)


def test_an_infinite_update_is_not_saved(run_tiny: Run, tmp_path: Path) -> None:
    huge = replace(PLAIN, lr=1e38, warmup_epochs=0, optimizer=replace(PLAIN.optimizer, eps=1e-20))
    with pytest.raises(NonFiniteLoss):
        run_tiny(recipe=huge, epochs=2, checkpoint_s=0.0)
    state = arrays(tmp_path / "run" / "resume.safetensors")
    assert all(torch.isfinite(value).all() for key, value in state.items() if key.startswith("network/"))


def test_early_stop_waits_for_its_patience(run_tiny: Run) -> None:
    stuck = replace(PLAIN, lr=1e-12, patience=2)
    _, training = run_tiny(recipe=stuck, epochs=40)
    assert training.stopped == "early stop"
    first_best = max(training.history, key=lambda row: row.metric).epoch
    assert training.epochs == first_best + 2 < 40


def test_minutes_are_kept(run_tiny: Run) -> None:
    _, training = run_tiny(recipe=PLAIN, epochs=None, minutes=0.1)
    assert training.stopped == "done"
    assert 3.0 < training.seconds < 1.2 * 6.0  # a busy machine; the rule itself is tested with a clock of its own
    assert training.history[-1].lr < 0.1 * PLAIN.lr
    assert training.history[-1].step == training.steps


def test_minutes_go_on_where_they_stopped(run_tiny: Run) -> None:
    _, first = run_tiny(recipe=PLAIN, epochs=None, minutes=0.1, on_step=StopAt(20))
    _, second = run_tiny(recipe=PLAIN, epochs=None, minutes=0.1, resume=True)
    assert (first.stopped, second.stopped) == ("interrupted", "done")
    assert first.seconds < second.seconds < 1.2 * 6.0
    assert (second.memory_format, second.precision) == (first.memory_format, first.precision)


def test_without_val_best_is_the_last(run_tiny: Run, dataset: Dataset, tmp_path: Path) -> None:
    network, training = run_tiny(data=replace(dataset, val=()))
    assert training.best_epoch == 3
    assert any("no pictures in val" in note for note in training.notes)
    last = arrays(tmp_path / "run" / "last.safetensors")
    assert all(torch.equal(last[key], value) for key, value in network.state_dict().items())


def test_balance_by_loss_and_by_sampler_train(run_tiny: Run, dataset: Dataset) -> None:
    few = replace(dataset, train=dataset.train[:10] + dataset.train[16:])
    for balance in ("loss", "sampler"):
        _, training = run_tiny(balance, recipe=replace(PLAIN, balance=balance), data=few, epochs=15)
        assert max(row.train_metric for row in training.history) > 0.6  # val is nine pictures: too few to ask of


def test_recipes_dropout_must_be_the_networks(run_tiny: Run) -> None:
    asked = replace(PLAIN, dropout=0.4)
    with pytest.raises(UsageError, match=r"dropout 0\.4"):
        run_tiny(recipe=asked)
    assert recipe_spec(tiny_network().spec, asked).head.dropout == 0.4


def test_small_batches_and_few_pictures_are_noted(run_tiny: Run) -> None:
    _, training = run_tiny(recipe=replace(PLAIN, batch=4), epochs=1)
    assert any("below 8" in note for note in training.notes)
    _, training = run_tiny("large", recipe=replace(PLAIN, batch=500), epochs=1)
    assert training.batch == 24
    assert any("batch of 24 instead of 500" in note for note in training.notes)


def test_statistics_that_never_settle_are_found_and_cured(run_tiny: Run) -> None:
    """Training mode right, eval mode by chance: a momentum of 1e-4 leaves the statistics where they began."""
    _, training = run_tiny(recipe=replace(PLAIN, norm_momentum=1e-4), epochs=15)
    assert training.best_metric > max(row.metric for row in training.history) + 1 / 9  # val is nine pictures
    assert any("computed anew" in note for note in training.notes)


def test_the_callers_random_numbers_are_left_alone(run_tiny: Run) -> None:
    torch.manual_seed(3)
    tiny_network(seed=0)
    wanted = torch.rand(1)
    run_tiny(epochs=1)
    assert torch.equal(torch.rand(1), wanted)


def test_tiny_weights_are_saved_as_zero(tmp_path: Path) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.classifier.weight[0, :3] = torch.tensor([1e-40, -1e-25, 1e-10])
    norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.running_var[0] = 1e-25
    save_weights(tmp_path / "w.safetensors", network, header="{}")
    saved = arrays(tmp_path / "w.safetensors")
    assert saved["classifier.weight"][0, :3].tolist() == [0.0, 0.0, pytest.approx(1e-10)]
    key = next(k for k in saved if k.endswith("running_var"))
    assert saved[key][0] > 0.0  # statistics are not weights
    assert TINY < 1e-15


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from mobilenets.errors import CheckpointMismatch

    tensors = dict(tiny_network().state_dict())
    tensors["classifier.weight"] = torch.zeros(4, 4)
    with pytest.raises(CheckpointMismatch, match=r"classifier\.weight: the network wants"):
        load_weights(tiny_network(), tensors)


def test_a_run_is_written_in_plain_text_and_tensors(run_tiny: Run, tmp_path: Path) -> None:
    run_tiny(on_step=StopAt(2))
    for file in (tmp_path / "run").iterdir():
        if file.suffix == ".safetensors":
            arrays(file)
        elif file.suffix == ".json":
            json.loads(file.read_text())
        else:
            assert file.suffix == ".csv"


def test_budget_and_recipe_are_values(run_tiny: Run) -> None:
    _, training = run_tiny(epochs=1)
    assert training.recipe["lr"] == RECIPE.lr
    assert Budget(epochs=1) == Budget(epochs=1)
