"""The main job, `fit`: from a folder of images to a verified model file, read as the list of its steps.

Each step is a room's own work; here they are called in order and hand values on. `train_run` is the first half alone.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .codec import from_json, to_json
from .data import Dataset, check_data, open_dataset, read_split, without_files
from .errors import BadData, UsageError
from .files import write_atomic
from .packing import TASK, FitResult, Request, Trained, finish, first_filled, judge, run_warnings, write_model
from .planning import (
    AUTO,
    Balance,
    OnEvent,
    Plan,
    Wish,
    intent,
    make_plan,
    network_words,
    progress,
    replayed_plan,
    say,
)
from .records import DataHealth, Training
from .specs import Network
from .starting import Start, open_start, started_network

if TYPE_CHECKING:
    from torch import nn

    from .train import Logger

BENCH_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run came to; its weights are best.safetensors in the folder `run`."""

    run: str
    network: str
    training: Training
    warnings: tuple[str, ...]


def fit(
    data: str | Path | None = None,
    *,
    network: Network = AUTO,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    in_channels: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    max_latency_ms: float | None = None,
    max_mb: float | None = None,
    recipe: str | None = None,
    balance: Balance | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = AUTO,
    threads: int = 1,
    photos: bool = True,
    resume: str | Path | None = None,
    config: str | Path | None = None,
    weights: str | Path | None = None,
    loggers: "Sequence[Logger]" = (),
    on_event: OnEvent | None = None,
) -> FitResult:
    """Train a MobileNet on labelled images, prove its exported file, time it, write model file and report.

    Args:
        data: what `open_dataset` takes: a folder, a .csv, "digits". May be left out with `resume`.
        network: a name, a .json spec, a Spec, or "auto": by the data and the minutes; with max_latency_ms or max_mb
            (megabytes of the file) the best published network that is fast and small enough here.
        alpha, resolution_px (h, w), in_channels: of a named network; 1 channel reads pictures as grey.
        epochs, minutes: how long to train, one of the two; by default the recipe's epochs, or 10 minutes for photos
            whose network is chosen here. Minutes are the training's; all else comes on top.
        recipe: a name of train.RECIPES, by default what suits the data. balance: "none", "loss" or "sampler".
        out: the run's folder, new; by default runs/NAME. threads: of the runtime when it is timed.
        photos: False keeps the user's pictures out of golden vectors and report.
        resume: the folder of a run to be taken up where it stopped, as it was configured.
        config: a run's config.json, to be replayed on `data`.
        weights: what training begins with: a model file, a published file, "hf-hub:OWNER/NAME" or "pretrained" (see
            `starting.open_start`); network and preprocessing are then theirs. By default training begins from scratch:
            nothing is downloaded that was not asked for.

    Raises: VerifyFailed where the exported file does not answer as the trained network does; BudgetMissed;
        NonFiniteLoss; BadData, UsageError, UnknownName, MissingRuntime. After a KeyboardInterrupt the run can be
        resumed.
    """
    if _processes() > 1:
        raise UsageError(
            "fit runs in one process",
            hint="torchrun ... -m mobilenets train DATA -o RUN, then: mobilenets fit --resume RUN",
        )
    wish = Wish(
        network, alpha, resolution_px, in_channels, epochs, minutes, max_latency_ms, max_mb, recipe, balance, seed,
        None if weights is None else str(weights),
    )  # fmt: skip
    trained = _train(
        data, wish, out=out, device=device, threads=threads, photos=photos, resume=resume, config=config,
        loggers=loggers, on_event=on_event,
    )  # fmt: skip
    from .deploy import bench_models, export_model, require_verified, source_of

    say(on_event, "calibrate", "calibrating probabilities and answering the test pictures")
    judgement = judge(trained)
    say(on_event, "export", "exporting to ONNX and verifying the file on image files")
    model = write_model(trained, judgement)
    split = first_filled(trained.dataset, ("val", "test", "train"))
    exported = export_model(model, source=source_of(model, network=trained.network), data=trained.dataset, split=split)
    verification = require_verified(exported.verification)
    say(on_event, "bench", "timing the exported file in ONNX Runtime")
    bench = bench_models(
        [exported.model.path], threads=tuple(dict.fromkeys((trained.request.threads, 2))), max_seconds=BENCH_SECONDS
    )
    say(on_event, "report", "writing the report")
    return finish(trained, exported.model, judgement, verification, bench)


def train_run(
    data: str | Path | None = None,
    *,
    network: Network = AUTO,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    in_channels: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    recipe: str | None = None,
    balance: Balance | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = AUTO,
    resume: str | Path | None = None,
    config: str | Path | None = None,
    weights: str | Path | None = None,
    loggers: "Sequence[Logger]" = (),
    on_event: OnEvent | None = None,
) -> TrainResult:
    """Only the training of `fit`, with the same arguments: a run's folder with its weights and its record."""
    if _processes() > 1 and network == AUTO and resume is None and config is None and weights is None:
        raise UsageError("several processes need the network by name", hint="say --network; mobilenets list has them")
    named = None if weights is None else str(weights)
    wish = Wish(network, alpha, resolution_px, in_channels, epochs, minutes, None, None, recipe, balance, seed, named)
    trained = _train(
        data, wish, out=out, device=device, threads=1, photos=True, resume=resume, config=config, loggers=loggers,
        on_event=on_event,
    )  # fmt: skip
    return TrainResult(str(trained.run), network_words(trained.plan.spec), trained.training, run_warnings(trained))


# --- the first half: data, plan, training ---------------------------------------------------------------------------


def _train(
    data: str | Path | None,
    wish: Wish,
    *,
    out: str | Path | None,
    device: str,
    threads: int,
    photos: bool,
    resume: str | Path | None,
    config: str | Path | None,
    loggers: "Sequence[Logger]",
    on_event: OnEvent | None,
) -> Trained:
    """Health check, choice, training; or the same run taken up."""
    from .tasks import task
    from .train import train

    start = None if resume is not None else _start(wish, on_event)
    dataset = _dataset(data, wish, resume=resume)
    say(on_event, "data", f"checking {len(dataset.samples)} pictures of {len(dataset.labels)} classes")
    health = check_data(dataset, on_progress=progress(on_event, "data"))
    _require_trainable(health)
    dataset = without_files(dataset, health.unreadable)
    if resume is not None:
        run, (request, plan) = Path(resume), _resumed(Path(resume))
    else:
        plan = (
            replayed_plan(Path(config), dataset, start)
            if config
            else make_plan(dataset, health, wish, device, on_event, start)
        )
        run = Path(out) if out is not None else _free_folder(dataset.name)
        request = _request(str(data), plan, start, photos=photos, threads=threads)
        _begin(run, request)
    say(on_event, "train", intent(plan, dataset))
    for change in request.changes:
        say(on_event, "train", change)
    built = _built(plan, dataset, start or _start_again(run, request))
    training = train(
        built,
        task(TASK),
        dataset=dataset,
        preprocess=plan.preprocess,
        recipe=plan.recipe,
        budget=plan.budget,
        run=run,
        seed=plan.seed,
        device=device,
        resume=resume is not None,
        on_step=on_event,
        loggers=loggers,
    )
    if training.stopped == "interrupted":
        raise KeyboardInterrupt
    return Trained(run, request, plan, dataset, health, built, training)


def _processes() -> int:
    """How many torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _built(plan: Plan, dataset: Dataset, start: Start | None) -> "nn.Module":
    """The network with the weights that training begins with, or drawn from the seed."""
    import torch

    from .tasks import task

    if start is not None:
        return started_network(start, plan.spec, dataset, plan.preprocess, seed=plan.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return task(TASK).build(plan.spec, dataset.labels)


def _start(wish: Wish, on_event: OnEvent | None) -> Start | None:
    if wish.weights is None:
        return None
    say(on_event, "weights", f"opening {wish.weights}")
    return open_start(wish.weights, network=wish.network, alpha=wish.alpha)


def _start_again(run: Path, request: Request) -> Start | None:
    """The weights of a run that was stopped before its first checkpoint; later ones lie in the run's folder."""
    from .train import has_state

    if not request.weights or has_state(run):
        return None
    start = open_start(request.weights, network=AUTO, alpha=None)
    if request.origin is not None and start.origin.sha256 != request.origin.sha256:
        raise UsageError(f"{request.weights}: is not the file that {run} began with", hint="begin a new run")
    return start


def _request(data: str, plan: Plan, start: Start | None, *, photos: bool, threads: int) -> Request:
    plain = Request(data, photos, threads, plan.candidates, plan.reason)
    if start is None:
        return plain
    return replace(plain, weights=start.source, origin=start.origin, changes=plan.changes)


def _dataset(data: str | Path | None, wish: Wish, *, resume: str | Path | None) -> Dataset:
    if resume is not None:
        return read_split(Path(resume) / "split.json")
    if data is None:
        raise UsageError("fit needs data: a folder of images, a .csv, or digits", hint="to try: mobilenets fit digits")
    return open_dataset(str(data), seed=wish.seed)


def _require_trainable(health: DataHealth) -> None:
    """A leak is a warning here (the report shows it); a class without training images ends the job."""
    empty = [c.label for c in health.counts if not c.train]
    if empty:
        raise BadData(
            f"{health.data}: {len(empty)} of {health.classes} classes have no training image, the first {empty[0]!r}",
            hint=f"mobilenets data check {shlex.quote(health.data)}",
        )


def _begin(run: Path, request: Request) -> None:
    from .train.distributed import leads
    from .train.run_folder import REQUEST, is_occupied

    if not leads():
        return  # torchrun started several: the leading process writes
    if is_occupied(run):
        raise UsageError(
            f"{run}: exists already and is not overwritten",
            hint=f"go on with it: --resume {shlex.quote(str(run))}; or name another folder with -o",
        )
    write_atomic(run / REQUEST, to_json(request) + "\n")


def _resumed(run: Path) -> tuple[Request, Plan]:
    from .train import read_config
    from .train.run_folder import REQUEST

    file = run / REQUEST
    if not file.is_file():
        raise UsageError(f"{run}: holds no run that could be resumed ({REQUEST} is missing)")
    request = from_json(Request, file.read_text("utf-8"), where=str(file))
    config = read_config(run)
    if config.network is None:
        raise UsageError(f"{run}: its network is no spec, so it can't be built again")
    plan = Plan(
        config.network, config.preprocess, config.recipe, config.budget, config.seed, request.candidates, request.reason
    )
    return request, plan


def _free_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3 ... that is not there yet."""
    base = Path("runs", name or "fit")
    if not base.exists():
        return base
    return next(p for n in range(2, 100_000) if not (p := base.with_name(f"{base.name}-{n}")).exists())
