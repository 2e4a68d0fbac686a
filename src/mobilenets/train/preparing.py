"""From what a caller asked to a session at its first step, or at the step where an earlier run was stopped."""

import copy
from dataclasses import replace
from functools import partial
from time import perf_counter

import torch
from torch import nn

from ..codec import from_json, to_json
from ..errors import UsageError
from ..specs import Spec
from .batches import Ahead
from .distributed import World
from .evaluation import GAP_IMAGES, RECOMPUTE_IMAGES
from .norms import batch_norms, train_mode
from .optimizers import build_optimizer
from .outputs import forward_all
from .pace import Pace
from .plan import Budget, Plan, plan_steps
from .probe import fit_head
from .recipe import Recipe
from .run_folder import Best, RunFolder
from .session import FEW, Material, Session, ahead, workers
from .state import Progress, read_progress
from .step import Compute, TrainStep
from .timing import candidates, compute_key, fastest_step, remembered, synchronise

PROBES = 3
"""Steps of each training side that the rate of a run in minutes is first measured by."""


def check_network(network: nn.Module, recipe: Recipe) -> Spec | None:
    """The spec that `network` was built from, if any.

    Raises: UsageError where it was built with other dropout or drop path than the recipe asks for: these are the
    network's (`recipe_spec(spec, recipe)` gives the spec to build).
    """
    spec = getattr(network, "spec", None)
    if not isinstance(spec, Spec):
        spec = None
    for what, asked, found in (
        ("dropout", recipe.dropout, None if spec is None else spec.head.dropout),
        ("drop path", recipe.drop_path, None if spec is None else spec.drop_path),
    ):
        if asked is not None and asked != found:
            raise UsageError(
                f"recipe {recipe.name} asks for {what} {asked}, the network has {found}",
                hint="build it from recipe_spec(spec, recipe)",
            )
    return spec


def prepare(
    network: nn.Module,
    material: Material,
    *,
    recipe: Recipe,
    budget: Budget,
    folder: RunFolder,
    seed: int,
    world: World,
    checkpoint_s: float,
) -> Session:
    """The session of a new run, or of the state in `folder`. Whatever timing chose comes from the leading process."""
    started = perf_counter()
    network.to(world.device)
    # The leading process alone looks for a state: before long it writes one.
    resumed = world.agreed(world.leads and folder.state.is_file())
    notes = [] if resumed else _head_notes(network, material, recipe, seed=seed)
    world.same_start([*network.parameters(), *network.buffers()])
    if recipe.start_shares and not resumed:
        notes.append(_keep_start(network, material, folder))
    train_mode(network, recipe)
    if resumed:
        progress = read_progress(folder.state)
    else:
        begun = to_json(_begun(network, material, recipe, budget, world, started)) if world.leads else ""
        progress = from_json(Progress, world.told(begun))
    session = Session(
        network,
        material,
        recipe=recipe,
        plan=progress.plan,
        compute=progress.compute,
        pace=Pace(list(progress.step_s), progress.evaluation_s, progress.closing_s),
        folder=folder,
        seed=seed,
        world=world,
        checkpoint_s=checkpoint_s,
        started=started,
    )
    if resumed:
        session.restore(progress)
    else:
        session.notes += notes + _first_notes(
            material, recipe, session.plan, session.compute, norms=len(batch_norms(network)), world=world
        )
        session.save()
    return session


def _head_notes(network: nn.Module, material: Material, recipe: Recipe, *, seed: int) -> list[str]:
    """Fit the head where the recipe says so (every process for itself, alike), and what came of it."""
    if recipe.head != "fitted":
        return []
    probe = fit_head(
        network, material.pictures, material.preprocess, seed=seed, batch=material.judge.batch,
        mirrored=recipe.augmentation.flip,
    )  # fmt: skip
    found = "" if probe.top1 != probe.top1 else f"; cross-validated top1 {probe.top1:.3f}"
    return [f"head fitted to the embeddings of {probe.pictures} pictures, strength {probe.strength:g}{found}"]


def _keep_start(network: nn.Module, material: Material, folder: RunFolder) -> str:
    """Write the weights that training begins with, judged on val."""
    loss, metric = material.judge(network, material.held_out)
    folder.keep(folder.start, network, Best(0, 0, metric, loss))
    return f"before the first step: {material.judge.task.metric} on val {metric:.4f}"


def _begun(
    network: nn.Module, material: Material, recipe: Recipe, budget: Budget, world: World, began: float
) -> Progress:
    """The state before the first step: how steps are computed, how fast that is, how many there will be.

    began: when the run's minutes began.
    """
    images, parts = len(material.pictures), world.size * recipe.micro_batches
    plan = plan_steps(recipe, images=images, parts=parts, epochs=budget.epochs or recipe.epochs)
    compute = _compute(network, material, recipe, plan)
    pace = Pace([max(compute.timings.values(), default=1.0)] * len(recipe.side_ratios))
    if budget.minutes is not None:
        pace = _pace(network, material, recipe, plan, compute)
        plan = replace(plan, evaluate_every=pace.evaluate_every(plan.steps_per_epoch))
        left = 60.0 * budget.minutes - (perf_counter() - began)
        steps = pace.steps_in(left, plan, progress=0.0)
        new = plan_steps(recipe, images=images, parts=parts, steps=steps)
        plan = replace(new, evaluate_every=plan.evaluate_every)
    return Progress(
        step=0,
        plan=plan,
        compute=compute,
        elapsed_s=0.0,
        loss_sum=0.0,
        loss_steps=0,
        history=(),
        notes=(),
        threads=torch.get_num_threads(),
        step_s=tuple(pace.step_s),
        evaluation_s=pace.evaluation_s,
        closing_s=pace.closing_s,
    )


def _compute(network: nn.Module, material: Material, recipe: Recipe, plan: Plan) -> Compute:
    """Memory format and precision: the recipe's, or by timing on this machine a batch of the run's last side."""
    device = next(network.parameters()).device
    among = candidates(device, recipe)
    batch = material.maker.batch(plan.steps - 1, plan)
    return remembered(
        compute_key(network, batch.images, recipe=recipe, among=among),
        lambda: fastest_step(
            network,
            batch.images,
            batch.targets,
            loss=material.loss,
            optimizer=partial(build_optimizer, recipe=_harmless(recipe)),
            among=among,
            train_mode=partial(train_mode, recipe=recipe),
        ),
    )


def _pace(network: nn.Module, material: Material, recipe: Recipe, plan: Plan, compute: Compute) -> Pace:
    """How fast steps, evaluations and the closing work are, by doing some on a copy of the network."""
    own = copy.deepcopy(network)
    train_mode(own, recipe)
    step = TrainStep(
        own,
        material.loss,
        build_optimizer(own, _harmless(recipe)),
        compute=compute,
        micro_batches=recipe.micro_batches,
    )
    turns = len(recipe.side_ratios)
    seconds = []
    batches = Ahead(lambda step: material.maker.batch(step, plan), ahead=ahead(step.device), workers=workers())
    try:
        for turn in range(turns):
            first = min(plan.steps - 1, int(plan.steps * (turn + 0.5) / turns))
            times = []
            for place in range(first, first + PROBES + 1):
                start = perf_counter()
                batch = batches.get(place)
                step(batch.images, batch.targets)
                synchronise(step.device)
                times.append(perf_counter() - start)
            seconds.append(sum(times[1:]) / PROBES)  # the first one is warm-up
    finally:
        batches.close()
    start = perf_counter()
    forward_all(own, material.held_out, batch=material.judge.batch, device=step.device)
    evaluation_s = perf_counter() - start
    if held := len(material.held_out):
        image_s = evaluation_s / held
    else:
        image_s = seconds[-1] / plan.batch
    looked_at = min(RECOMPUTE_IMAGES, len(material.pictures)) + 2 * min(GAP_IMAGES, len(material.pictures))
    judged = 1 + len(recipe.start_shares)
    return Pace(seconds, evaluation_s, closing_s=1.5 * looked_at * image_s + judged * evaluation_s)


def _harmless(recipe: Recipe) -> Recipe:
    """`recipe` at a rate at which no number of steps harms the copies that are timed."""
    return replace(recipe, lr=1e-9)


def _first_notes(
    material: Material, recipe: Recipe, plan: Plan, compute: Compute, *, norms: int, world: World
) -> list[str]:
    """What a reader of the record should know before the first step."""
    notes = [f"steps computed in {compute.memory_format}, {compute.precision}"]
    if compute.by_pairs:
        notes.append(f"weight gradients of {len(compute.by_pairs)} depthwise layers computed by pairs of positions")
    if plan.batch != recipe.batch:
        notes.append(f"batch of {plan.batch} instead of {recipe.batch}: there are {len(material.pictures)} pictures")
    part = plan.batch // (world.size * recipe.micro_batches)
    if part < FEW and norms and recipe.norm_statistics == "live":
        notes.append(f"batch norm sees {part} pictures at a time; below {FEW} its statistics are poor: freeze them")
    for split, unreadable in (("train", material.pictures.unreadable), ("val", material.held_out.unreadable)):
        if unreadable:
            notes.append(f"{len(unreadable)} files of {split} could not be read, the first: {unreadable[0].file}")
    if not len(material.held_out) and world.size == 1:
        notes.append("there are no pictures in val: best is the last")
    return notes
