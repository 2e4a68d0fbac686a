"""What a run holds from its first line to its last: pictures, network, averages, plan, counters; and their checkpoint.

The order of the run itself is in loop.py.
"""

import logging
import math
import os
from collections.abc import Callable
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn

from ..data import Dataset, load_pictures
from ..errors import BadData
from ..files import write_atomic
from ..records import EpochRow, Preprocess
from ..tasks import Task, decoding
from .averaging import Averaged
from .batches import Ahead, BatchMaker, batch_files
from .distributed import World
from .draws import class_weights, layer_seed
from .evaluation import Judge
from .losses import Losses
from .norms import batch_norms
from .optimizers import build_optimizer, set_lr
from .outputs import HeldOut
from .pace import Pace
from .plan import Plan, lr_at, turn_at
from .recipe import Recipe
from .run_folder import Best, RunFolder
from .state import Progress, Scaler, is_finite, load_progress, save_progress
from .step import Compute, TrainStep

log = logging.getLogger(__name__)

FEW = 8
"""Batches smaller than this give batch norm poor statistics."""
AHEAD, FEW_CORES = 2, 4
"""Batches that are made before they are asked for; none of them where the step itself fills so few cores."""
SAVING_SHARE = 0.01
"""Checkpoints take at most this share of a run: a large network on a slow disk is saved less often."""


class Material:
    """The data of a run as this process needs it, made once: training pictures, val, batches, loss, judge."""

    def __init__(
        self, task: Task, dataset: Dataset, *, preprocess: Preprocess, recipe: Recipe, seed: int, world: World
    ) -> None:
        start = perf_counter()
        self.pictures = load_pictures(dataset.train, side_px=stored_side_px(preprocess, recipe))
        if not len(self.pictures):
            raise BadData(f"{dataset.name}: no training picture could be read")
        self.preprocess = preprocess
        self.held_out = HeldOut(dataset.val[world.rank :: world.size], preprocess)
        self.val_images = len(dataset.val)
        self.load_s = perf_counter() - start
        classes = len(dataset.labels)
        self.maker = BatchMaker(
            self.pictures,
            recipe,
            preprocess=preprocess,
            classes=classes,
            seed=seed,
            rank=world.rank,
            world=world.size,
        )
        weights = None
        if recipe.balance == "loss":
            counts = torch.bincount(torch.from_numpy(self.pictures.targets), minlength=classes)
            weights = torch.from_numpy(class_weights(counts.numpy())).to(world.device)
        self.loss: Callable[[object, Tensor], Tensor] = partial(
            task.loss, label_smoothing=recipe.label_smoothing, class_weights=weights
        )
        self.judge = Judge(task, decoding(task.name), dataset.labels, world, max(32, recipe.batch // world.size))


def stored_side_px(preprocess: Preprocess, recipe: Recipe) -> int:
    """How large training pictures are kept: the shorter side that a crop of mean area, and the evaluation's crop, need
    to be cut from without being enlarged."""
    side = max(preprocess.size_px) * max(1.0, *recipe.side_ratios)
    mean_area = sum(recipe.augmentation.scale) / 2
    return math.ceil(side * max(1.0 / preprocess.crop_ratio, 1.0 / math.sqrt(mean_area)))


class Session:
    """A run between two steps. `step` counts the steps done."""

    def __init__(
        self,
        network: nn.Module,
        material: Material,
        *,
        recipe: Recipe,
        plan: Plan,
        compute: Compute,
        pace: Pace,
        folder: RunFolder,
        seed: int,
        world: World,
        checkpoint_s: float,
        started: float,
    ) -> None:
        self.material, self.recipe, self.plan, self.compute, self.pace = material, recipe, plan, compute, pace
        self.folder, self.seed, self.world = folder, seed, world
        self.step = 0
        self.history: list[EpochRow] = []
        self.notes: list[str] = []
        self._vote = torch.zeros(1, device=world.device)
        self.train_step = TrainStep(
            network,
            material.loss,
            build_optimizer(network, recipe),
            compute=compute,
            micro_batches=recipe.micro_batches,
            clip_norm=recipe.clip_norm,
            share=self._share if world.size > 1 else None,
            statistics=[
                s for norm in batch_norms(network) for s in (norm.running_mean, norm.running_var) if s is not None
            ],
        )
        self.averaged = Averaged(network, recipe.ema)
        self.losses = Losses(world.device, files_of=self._files_of, told=self._write_files)
        self.best: Best | None = None
        self.batches = Ahead(
            lambda step: material.maker.batch(step, self.plan), ahead=ahead(world.device), workers=workers()
        )
        self._before_s, self._since = 0.0, started
        self._checkpoint_s, self._saved_at, self._save_took_s = checkpoint_s, perf_counter(), 0.0

    # --- steps ----------------------------------------------------------------------------------------------------

    def advance(self, *, wants_stop: bool) -> bool:
        """Take the next step; whether any process wants to stop."""
        start = perf_counter()
        turn = turn_at(self.recipe, self.plan, self.step)
        batch = self.batches.get(self.step)
        set_lr(self.train_step.optimizer, lr_at(self.recipe, self.plan, self.step))
        self._vote.fill_(float(wants_stop))
        first = self.world.rank * self.recipe.micro_batches
        seeds = [layer_seed(self.seed, self.step, first + part) for part in range(self.recipe.micro_batches)]
        loss = self.train_step(batch.images, batch.targets, seeds=seeds)
        self.averaged.update(self.step)
        self.step += 1
        self.losses.add(self.step, loss, self.train_step.outputs, batch.truth)
        self.pace.observe(turn, perf_counter() - start)
        return bool(self._vote.item()) if self.world.size > 1 else wants_stop

    @property
    def last_lr(self) -> float:
        """The learning rate of the last step done."""
        return lr_at(self.recipe, self.plan, max(0, self.step - 1))

    @property
    def images_per_s(self) -> float:
        """Training images of all processes, at the running rate."""
        return self.plan.batch / self.pace.step_s[turn_at(self.recipe, self.plan, max(0, self.step - 1))]

    @property
    def elapsed_s(self) -> float:
        """Seconds of the run so far, those before it was resumed included, the loading of pictures not."""
        return self._before_s + perf_counter() - self._since

    @property
    def epoch(self) -> int:
        """The epoch of the last step done, from 1."""
        return max(1, -(-self.step // self.plan.steps_per_epoch))

    def change_plan(self, plan: Plan) -> None:
        if plan != self.plan:
            log.info("step %d: %d steps planned instead of %d", self.step, plan.steps, self.plan.steps)
            self.plan = plan
            self.batches.forget()

    def _share(self, tensors: list[Tensor]) -> None:
        self.world.average([self._vote, *tensors])

    def _files_of(self, step: int) -> tuple[str, ...]:
        return batch_files(self.material.pictures, self.material.maker.rows(step - 1, self.plan))

    def _write_files(self, files: tuple[str, ...]) -> str:
        if self.world.leads:
            write_atomic(self.folder.path / "bad_batch.txt", "".join(f"{file}\n" for file in files))
        return f" (all of them: {self.folder.path / 'bad_batch.txt'})"

    # --- evaluation -----------------------------------------------------------------------------------------------

    def evaluate(self) -> EpochRow:
        """Measure the averaged weights on val, keep them as last and, if so, as best; write results.csv."""
        self.losses.look()
        if not is_finite(self.train_step.network):
            self.losses.refuse(self.step, "its update left weights that are no numbers")
        start = perf_counter()
        val_loss, metric = self.material.judge(self.averaged.network, self.material.held_out)
        outputs, truth = self.losses.answers()
        row = EpochRow(
            epoch=self.epoch,
            step=self.step,
            seconds=self.elapsed_s,
            lr=self.last_lr,
            train_loss=self.losses.mean(),
            train_metric=self.material.judge.metric(outputs, truth),
            val_loss=val_loss,
            metric=metric,
            images_per_s=self.images_per_s,
        )
        self.history.append(row)
        self.losses.begin_again()
        now = Best(row.epoch, row.step, metric, val_loss)
        self.folder.keep(self.folder.last, self.averaged.network, now)
        # Without pictures in val (a metric of NaN) the newest weights are the best there are.
        if now.follows(self.best):
            self.best = now
            self.folder.keep(self.folder.best, self.averaged.network, now)
        self.folder.write_results(tuple(self.history))
        self.pace.observe_evaluation(perf_counter() - start)
        return row

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def save_if_due(self) -> None:
        """A checkpoint, if the last one is old enough."""
        wait = max(self._checkpoint_s, self._save_took_s / SAVING_SHARE)
        if self.world.leads and perf_counter() - self._saved_at >= wait:
            self.save()

    def save(self) -> None:
        """A checkpoint of this moment. Raises NonFiniteLoss rather than save weights that are no numbers."""
        self.losses.look()
        if not is_finite(self.train_step.network):
            self.losses.refuse(self.step, "its update left weights that are no numbers")
        if not self.world.leads:
            return
        start = perf_counter()
        scaler = self.train_step.scaler
        kept = None if scaler is None else scaler.state_dict()
        progress = Progress(
            step=self.step,
            plan=self.plan,
            compute=self.compute,
            elapsed_s=self.elapsed_s,
            loss_sum=self.losses.sum,
            loss_steps=self.losses.steps,
            history=tuple(self.history),
            notes=tuple(self.notes),
            threads=torch.get_num_threads(),
            step_s=tuple(self.pace.step_s),
            evaluation_s=self.pace.evaluation_s,
            closing_s=self.pace.closing_s,
            scaler=None if kept is None else Scaler(float(kept["scale"]), int(kept["_growth_tracker"])),
            torch_version=torch.__version__,
        )
        save_progress(
            self.folder.state, progress, step=self.train_step, averaged=self.averaged, recent=self.losses.tensors()
        )
        self._saved_at = perf_counter()
        self._save_took_s = self._saved_at - start

    def restore(self, progress: Progress) -> None:
        """Go on from a state whose plan, pace and compute this session was made with."""
        recent = load_progress(self.folder.state, step=self.train_step, averaged=self.averaged)
        self.losses.restore(progress.loss_sum, progress.loss_steps, recent)
        if self.train_step.scaler is not None and progress.scaler is not None:
            state = self.train_step.scaler.state_dict()
            state |= {"scale": progress.scaler.scale, "_growth_tracker": progress.scaler.growth_tracker}
            self.train_step.scaler.load_state_dict(state)
        self.step, self._before_s = progress.step, progress.elapsed_s
        self.history, self.notes = list(progress.history), list(progress.notes)
        self.best = self.folder.best_so_far()
        for what, was, now in (
            ("threads", progress.threads, torch.get_num_threads()),
            ("torch", progress.torch_version, torch.__version__),
        ):
            if was != now:
                self.notes.append(f"resumed with {what} {now}, begun with {was}: results may differ in the last bits")
        self.folder.write_results(tuple(self.history))

    def close(self) -> None:
        self.batches.close()


def ahead(device: torch.device) -> int:
    """How many batches to make ahead on `device`.

    Where the step fills the cores itself, threads beside it cost it more than they save: V3-Small, 112 px, batch 32 on
    two cores of an EPYC (Zen 3) took 210 ms in turn and 232 ms side by side.
    """
    return 0 if device.type == "cpu" and len(os.sched_getaffinity(0)) <= FEW_CORES else AHEAD


def workers() -> int:
    """Threads that make batches: half of the cores, at most 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // 2))
