"""What a run tells while it goes: events, the protocol of those who listen, and three services behind it.

TensorBoard, Weights & Biases and MLflow are optional; each is imported when it is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import MissingRuntime
from ..records import EpochRow

EVERY = 10
"""Steps between two points that a service gets."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One step done. step: steps done of `of`; epoch from 1; loss of this step's batch; eta_s: seconds to the end."""

    epoch: int
    step: int
    of: int
    loss: float
    lr: float
    images_per_s: float
    eta_s: float


OnStep = Callable[[StepEvent], None]


class Logger(Protocol):
    """One who listens to a run. Called by the leading process only, from the thread that trains."""

    def on_step(self, event: StepEvent) -> None: ...

    def on_epoch(self, row: EpochRow) -> None: ...

    def close(self) -> None: ...


Service = Literal["tensorboard", "wandb", "mlflow"]


def open_logger(service: Service, run: Path) -> Logger:
    """The logger of a service for the run in folder `run`, named after it. Raises MissingRuntime with how to get it."""
    match service:
        case "tensorboard":
            return _TensorBoard(run)
        case "wandb":
            return _Wandb(run)
        case "mlflow":
            return _Mlflow(run)


def _missing(package: str) -> MissingRuntime:
    return MissingRuntime(f"{package} is not installed", hint=f"pip install {package}")


def _step_values(event: StepEvent) -> dict[str, float]:
    return {"train/loss": event.loss, "train/lr": event.lr, "train/images_per_s": event.images_per_s}


def _epoch_values(row: EpochRow) -> dict[str, float]:
    return {
        "epoch/train_loss": row.train_loss,
        "epoch/train_metric": row.train_metric,
        "epoch/val_loss": row.val_loss,
        "epoch/val_metric": row.metric,
    }


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard") from error
        self._writer: Any = SummaryWriter(log_dir=str(run / "tensorboard"))

    def on_step(self, event: StepEvent) -> None:
        if event.step % EVERY == 0:
            for name, value in _step_values(event).items():
                self._writer.add_scalar(name, value, event.step)

    def on_epoch(self, row: EpochRow) -> None:
        for name, value in _epoch_values(row).items():
            self._writer.add_scalar(name, value, row.step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, run: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb") from error
        self._run: Any = wandb.init(name=run.name, dir=str(run), resume="allow")

    def on_step(self, event: StepEvent) -> None:
        if event.step % EVERY == 0:
            self._run.log(_step_values(event), step=event.step)

    def on_epoch(self, row: EpochRow) -> None:
        self._run.log(_epoch_values(row), step=row.step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, run: Path) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise _missing("mlflow") from error
        self._mlflow: Any = mlflow
        mlflow.start_run(run_name=run.name)

    def on_step(self, event: StepEvent) -> None:
        if event.step % EVERY == 0:
            self._mlflow.log_metrics(_step_values(event), step=event.step)

    def on_epoch(self, row: EpochRow) -> None:
        self._mlflow.log_metrics(_epoch_values(row), step=row.step)

    def close(self) -> None:
        self._mlflow.end_run()
