"""The training loop: `train` from the first line to the last, one loop for every task, device and number of processes.

What the steps of it do stands in its own files: recipes (recipe.py, recipes.py), schedule and budget (plan.py,
pace.py), batches (draws.py, augment.py, batches.py), the optimisation step (step.py), its timing (timing.py), averages
(averaging.py), batch norm (norms.py), evaluation (evaluation.py), checkpoints (state.py, run_folder.py).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ..codec import encode, from_json, to_json
from ..data import Dataset
from ..records import Preprocess, Training
from ..tasks import Task
from .distributed import joined
from .evaluation import (
    GAP_IMAGES,
    RECOMPUTE_IMAGES,
    gap_notes,
    mode_gap,
    training_sample,
    with_recomputed_statistics,
)
from .loggers import Logger, OnStep, StepEvent
from .memory import kept_memory
from .norms import batch_norms, run_momentum
from .pace import check_due, replanned
from .plan import Budget, Plan
from .preparing import check_network, prepare
from .recipe import Recipe
from .run_folder import Best, RunConfig, RunFolder, listing
from .session import Material, Session
from .start import settle_share
from .stopping import StopRequest, stop_requests

log = logging.getLogger(__name__)

Stopped = Literal["done", "early stop", "interrupted"]
CHECKPOINT_S = 30.0


def train(
    network: nn.Module,
    task: Task,
    dataset: Dataset,
    *,
    preprocess: Preprocess,
    recipe: Recipe,
    budget: Budget,
    run: Path,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    on_step: OnStep | None = None,
    loggers: Sequence[Logger] = (),
    checkpoint_s: float = CHECKPOINT_S,
) -> Training:
    """Train `network` on `dataset.train` by `recipe` within `budget`; afterwards it holds the best weights, eval mode.

    The run's folder `run` gets config.json, split.json, results.csv, best.safetensors, last.safetensors, and the state
    that `resume=True` goes on from: saved every `checkpoint_s` seconds (rarer where saving takes more than 1 % of the
    time), on Ctrl-C or SIGTERM, and at the end. A run of so many epochs that was killed at any moment and resumed ends
    on a CPU with the weights, to the bit, of the run left alone (same machine, versions, threads).

    A budget in minutes counts from the first timing to the last evaluation; loading the pictures comes before. Its plan
    of steps follows the measured rate by the rule in pace.py.

    Under torchrun every process calls this with the same arguments; the folder must be one that all of them see.

    Args:
        network: with freshly initialised or pretrained weights, built from `recipe_spec(spec, recipe)`. Without
            `resume` they are where training starts; with it they are overwritten.
        preprocess: what the network will be fed; pictures are augmented to its size, val goes through it exactly.
        device: "auto", "cpu", "cuda" or "mps".
        on_step, loggers: hear of every step and evaluation, in the leading process.

    Returns: the record. stopped: "done", "early stop", or "interrupted" (Ctrl-C between the first and the last step:
        the state is saved, the network holds its latest weights). A run that had ended already is only read.

    Raises: UsageError for a folder in use or a resumed run that was begun otherwise, NonFiniteLoss, BadData,
        MissingRuntime. A second Ctrl-C, or one while pictures are loaded, raises KeyboardInterrupt.
    """
    spec = check_network(network, recipe)
    with joined(device) as world, torch.random.fork_rng(devices=[]), kept_memory():
        config = RunConfig(
            task=task.name,
            data=str(dataset.root),
            preprocess=preprocess,
            recipe=recipe,
            budget=budget,
            seed=seed,
            device=world.device.type,
            processes=world.size,
            listing=listing(dataset),
            network=spec,
        )
        folder = RunFolder(run, config, dataset, resume=resume, leads=world.leads)
        if (training := folder.finished()) is not None:
            folder.load_best(network)
            network.eval()
            return training
        material = Material(task, dataset, preprocess=preprocess, recipe=recipe, seed=seed, world=world)
        session = prepare(
            network,
            material,
            recipe=recipe,
            budget=budget,
            folder=folder,
            seed=seed,
            world=world,
            checkpoint_s=checkpoint_s,
        )
        try:
            with stop_requests() as request, run_momentum(network, recipe, steps=session.plan.legs[0].until):
                stopped = take_steps(session, budget, request, on_step=on_step, loggers=loggers)
                if stopped != "interrupted":
                    close_run(session, network, preprocess)
        finally:
            session.close()
            for logger in loggers:
                logger.close()
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        training = record(session, stopped, spec.name if spec is not None else type(network).__name__)
        if stopped != "interrupted":
            folder.finish(training)
        return training


def take_steps(
    session: Session, budget: Budget, request: StopRequest, *, on_step: OnStep | None, loggers: Sequence[Logger]
) -> Stopped:
    """The loop itself: step after step to the end of the plan, an evaluation where one is due, a checkpoint."""
    listeners = [*([on_step] if on_step is not None else []), *(logger.on_step for logger in loggers)]
    while session.step < session.plan.steps:
        if out_of_patience(session):
            return "early stop"
        stop = session.advance(wants_stop=request.asked)
        if session.plan.evaluates_after(session.step):
            row = session.evaluate()
            if session.world.leads:
                for logger in loggers:
                    logger.on_epoch(row)
        if session.world.leads:
            tell(session, listeners, request)
        if stop:
            session.save()
            return "interrupted"
        if budget.minutes is not None and check_due(session.plan, session.step):
            session.change_plan(agreed_plan(session, budget.minutes))
        session.save_if_due()
    session.save()
    return "early stop" if out_of_patience(session) else "done"


def out_of_patience(session: Session) -> bool:
    """Whether the recipe's patience has run out since the metric was first as good as it ever was."""
    history = session.history
    if session.recipe.patience is None or not history:
        return False
    best = max(history, key=lambda row: row.metric)  # the first of equals
    return history[-1].epoch - best.epoch >= session.recipe.patience


def tell(session: Session, listeners: Sequence[OnStep], request: StopRequest) -> None:
    """The step just done, to all who listen; one of them may ask to stop by raising KeyboardInterrupt."""
    plan, pace = session.plan, session.pace
    event = StepEvent(
        epoch=session.epoch,
        step=session.step,
        of=plan.steps,
        loss=session.losses.latest,
        lr=session.last_lr,
        images_per_s=session.images_per_s,
        eta_s=pace.seconds_left(plan, session.step),
    )
    try:
        for listener in listeners:
            listener(event)
    except KeyboardInterrupt:
        request.asked = True


def agreed_plan(session: Session, minutes: float) -> Plan:
    """The plan by pace.py's rule, as the leading process's clock has it."""
    plan = replanned(session.plan, session.pace, step=session.step, minutes=minutes, elapsed_s=session.elapsed_s)
    return plan if session.world.size == 1 else from_json(Plan, session.world.told(to_json(plan)))


def close_run(session: Session, network: nn.Module, preprocess: Preprocess) -> None:
    """Put the best weights into `network`, give them statistics of their own where val says so, look at the gaps."""
    material, folder = session.material, session.folder
    session.world.agreed(False)  # nobody reads before the leading process has written
    folder.load_best(network)
    network.eval()
    if session.recipe.start_shares and session.best is not None:
        session.best = settle_share(session, network, session.best)
    best = session.best
    learns_statistics = session.recipe.norm_statistics == "live" and session.recipe.backbone_lr > 0
    if batch_norms(network) and learns_statistics and best is not None and best.metric == best.metric:
        sample = training_sample(material.pictures, preprocess, images=RECOMPUTE_IMAGES, seed=session.seed)
        with_recomputed_statistics(network, sample, batch=session.plan.batch, device=session.world.device)
        loss, metric = material.judge(network, material.held_out)
        again = Best(best.epoch, best.step, metric, loss, recomputed=True)
        session.world.agreed(False)
        if again.beats(best):
            session.notes.append(f"batch-norm statistics computed anew: val {best.metric:.4f} -> {metric:.4f}")
            session.best = again
            folder.keep(folder.best, network, again)
        else:
            folder.load_best(network)
    few = training_sample(material.pictures, preprocess, images=GAP_IMAGES, seed=session.seed)
    by_batch, running = mode_gap(network, few, judge=material.judge)
    train_metric = session.history[-1].train_metric if session.history else float("nan")
    val_metric = session.best.metric if session.best is not None else float("nan")
    name = material.judge.task.metric
    session.notes += gap_notes(by_batch, running, train=train_metric, val=val_metric, metric=name)


def record(session: Session, stopped: Stopped, name: str) -> Training:
    """How the run went."""
    plan, best = session.plan, session.best
    notes = list(session.notes)
    if len(plan.legs) > 1:
        first = plan.legs[0].until
        notes.append(f"plan laid out anew {len(plan.legs) - 1} times to end in time: {first} steps became {plan.steps}")
    recipe = encode(session.recipe)
    assert isinstance(recipe, dict)
    return Training(
        network=name,
        recipe=recipe,
        epochs=session.epoch,
        steps=session.step,
        seconds=session.elapsed_s,
        batch=plan.batch,
        memory_format=session.compute.memory_format,
        precision=session.compute.precision,
        timings={
            **session.compute.timings,
            "load_s": session.material.load_s,
            "step_s": session.pace.step_s[-1],
            "evaluation_s": session.pace.evaluation_s,
        },
        best_epoch=0 if best is None else best.epoch,
        best_metric=float("nan") if best is None else best.metric,
        stopped=stopped,
        history=tuple(session.history),
        notes=tuple(notes),
    )
