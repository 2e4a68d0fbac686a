"""`mobilenets train`: only the training of `fit`."""

from pathlib import Path

from . import options
from .progress import follow
from .shell import Shell
from .text import facts
from .training import Balance, resumable, run_options, tell_plan


@options.command(
    "train",
    example="mobilenets train photos/ --network mobilenetv3_small --alpha 0.5 --epochs 20",
    python="mobilenets.train_run('photos/', network='mobilenetv3_small', alpha=0.5, epochs=20)",
)
@run_options
def train_command(
    shell: Shell,
    data: str | None,
    network: str,
    alpha: float | None,
    weights: str | None,
    resolution_px: tuple[int, int] | None,
    in_channels: int | None,
    epochs: int | None,
    minutes: float | None,
    recipe: str | None,
    balance: Balance | None,
    seed: int,
    device: str,
    out: Path | None,
    resume: Path | None,
    config: Path | None,
    dry_run: bool,
) -> None:
    """Train a network on DATA: a run folder with its weights (best and last), its configuration and results.csv.

    Under torchrun each process takes its part of every batch. Ctrl-C stops at no loss.
    """
    from ..fitting import train_run
    from ..report import figures

    if dry_run:
        wish = (network, alpha, resolution_px, in_channels, epochs, minutes, None, None, recipe, balance, seed, weights)
        tell_plan(shell, data, wish, device=device, resume=resume, config=config)
        return
    with resumable("train", resume or out), follow(shell) as on_event:
        result = train_run(
            data,
            network=network,
            alpha=alpha,
            weights=weights,
            resolution_px=resolution_px,
            in_channels=in_channels,
            epochs=epochs,
            minutes=minutes,
            recipe=recipe,
            balance=balance,
            seed=seed,
            out=out,
            device=device,
            resume=resume,
            config=config,
            on_event=on_event,
        )
    from ..train.distributed import leads  # loads torch, which train_run has asked for by then

    if not leads():
        return  # torchrun started several: one of them answers
    for warning in result.warnings:
        shell.note(f"warning: {warning}")
    training = result.training
    lines = facts(
        (
            ("network", result.network),
            ("best", f"{figures.percent(training.best_metric)} on val, epoch {training.best_epoch}"),
            ("trained", f"{figures.plural(training.epochs, 'epoch')} in {figures.duration(training.seconds)}"),
            ("run", result.run),
        )
    )
    shell.answer(result, lines)
